"""Step folders and the completion marker that makes one count.

Invariants: a step without a marker is not done; the marker appears at once and as the last thing;
a finished step whose content differs from its marker is an error, never a silent reuse.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.orchestration.fingerprints import canonical, hash_file
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.provenance import capture_provenance, now
from ccx_ray.storage.publishing import publish_folder, publish_json

MARKER = "_complete.json"
WORK = ".work"
"""Folder of what a step needs only until it is complete."""
WHOLE_FILE_LIMIT = 64 * 2**20
"""Larger files are hashed in 16 evenly spread blocks of 1 MiB, so that a check stays seconds."""


class StepFolders:
    """The folders of one study's steps below ``<storage>/<study>/``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def final(self, step: Step) -> Path:
        return self.root / step.folder_name

    def is_done(self, step: Step) -> bool:
        return (self.final(step) / MARKER).is_file()

    def marker(self, step: Step) -> dict[str, Any]:
        """The provenance of a finished step."""
        marker: dict[str, Any] = json.loads((self.final(step) / MARKER).read_text("utf-8"))
        return marker

    def begin(self, step: Step) -> Path:
        """The folder to work in: fresh and aside, or, for a resumable step, where it stood."""
        folder = self.final(step) if step.resumable else self._aside(step)
        if not step.resumable and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def complete(self, step: Step, *, counts: Mapping[str, Any], started: str) -> None:
        """Publish the work folder under its final name and write the marker."""
        final = self.final(step)
        if not step.resumable:
            publish_folder(self._aside(step), final)
        publish_json(
            final / MARKER,
            {
                "step": step.name,
                "kind": step.kind,
                "fingerprint": step.fingerprint,
                "identity": canonical(step.identity),
                "upstream": {s.name: s.fingerprint for s in (*step.upstream, *step.follows)},
                "started": started,
                "finished": now(),
                "counts": dict(counts),
                "files": describe_files(final),
                **capture_provenance(),
            },
        )
        shutil.rmtree(final / WORK, ignore_errors=True)

    def verify(self, step: Step) -> None:
        """Compare a finished step's files with its marker.

        Raises:
            UserError: a file is missing, added or different.
        """
        final = self.final(step)
        expected, found = self.marker(step)["files"], describe_files(final)
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                state = "missing" if name not in found else (
                    "not of this step" if name not in expected else "changed since it was written"
                )  # fmt: skip
                raise UserError(
                    f"{final / name}: {state}, so step {step.name} cannot be reused; "
                    f"restore the file, or delete {final} to compute the step again"
                )

    def _aside(self, step: Step) -> Path:
        return self.root / f".{step.folder_name}.partial"


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Relative name -> size in bytes and hash, of every file below ``folder`` but the marker."""
    return {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARKER and not _hidden(path.relative_to(folder))
    }


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _digest(path: Path) -> str:
    size = path.stat().st_size
    if size <= WHOLE_FILE_LIMIT:
        return hash_file(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in range(16):
            file.seek(block * (size - 2**20) // 15)
            digest.update(file.read(2**20))
    return f"sampled:{digest.hexdigest()}"
