"""Step folders and the completion marker that makes one count.

Invariants: a step without a marker is not done; the marker appears at once and as the last thing;
a finished step whose content differs from its marker is an error, never a silent reuse.

What a check finds: every start compares names, sizes and times of change, and reads what has
another time than when it was written. So files that are missing, added, cut, written to or replaced
are found at once; a change that keeps size and time, such as a rotten block of the disk, is found
by ``verify(..., every_byte=True)`` (``--verify``).
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.orchestration.fingerprints import canonical
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.provenance import capture_provenance, now
from ccx_ray.storage.hashing import file_sha256
from ccx_ray.storage.publishing import publish_folder, publish_json

MARKER = "_complete.json"
CHECKED = ".checked.json"
"""Times of change at which a file's content was found equal to the marker's, of a copied study."""
WORK = ".work"
"""Folder of what a step needs only until it is complete."""
HASHING_THREADS = 4

Description = dict[str, dict[str, Any]]


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
                "upstream": {s.name: s.fingerprint for s in step.before},
                "started": started,
                "finished": now(),
                "counts": dict(counts),
                "files": describe_files(final, times=True),
                **capture_provenance(),
            },
        )
        shutil.rmtree(final / WORK, ignore_errors=True)

    def verify(self, step: Step, *, every_byte: bool = False) -> None:
        """As ``verify_step`` of a finished step of this study."""
        verify_step(self.final(step), step.name, every_byte=every_byte)

    def _aside(self, step: Step) -> Path:
        return self.root / f".{step.folder_name}.partial"


def verify_step(folder: Path, name: str, *, every_byte: bool = False) -> None:
    """Compare a finished step's files with its marker; ``UserError`` for the first that is
    missing, added or different.

    Args:
        name: of the step.
        every_byte: read all of them, also where size and time of change are as they were.
    """
    expected: Description = json.loads((folder / MARKER).read_text("utf-8"))["files"]
    found = {file: path.stat() for file, path in _files(folder)}

    def damage(file: str, problem: str = "changed since it was written") -> UserError:
        return UserError(
            f"{folder / file}: {problem}, so step {name} cannot be reused; "
            f"restore the file, or delete {folder} to compute the step again"
        )

    for file in sorted(expected.keys() ^ found.keys()):
        raise damage(file, "missing" if file in expected else "not of this step")
    for file, state in found.items():
        if state.st_size != expected[file]["bytes"]:
            raise damage(file)
    checked = _read_checked(folder)
    suspect = [
        file
        for file, state in found.items()
        if every_byte
        or state.st_mtime_ns not in (expected[file].get("modified"), checked.get(file))
    ]
    for file, sha256 in _hashes(folder, suspect):
        if sha256 != expected[file]["sha256"]:
            raise damage(file)
    if suspect and not every_byte and os.access(folder, os.W_OK):
        times = {file: found[file].st_mtime_ns for file in suspect}
        publish_json(folder / CHECKED, {**checked, **times})


def describe_files(folder: Path, *, times: bool = False) -> Description:
    """Relative name -> size in bytes and SHA-256, of every file below ``folder`` but the marker;
    with ``times`` also the time of change in nanoseconds, as ``modified``."""
    states = {name: path.stat() for name, path in _files(folder)}
    return {
        name: {
            "bytes": states[name].st_size,
            "sha256": sha256,
            **({"modified": states[name].st_mtime_ns} if times else {}),
        }
        for name, sha256 in _hashes(folder, states)
    }


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder but the marker and hidden ones, by relative name, sorted."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and path.name != MARKER and not hidden:
            yield str(relative), path


def _hashes(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of files, read several at a time."""
    names = list(names)
    with ThreadPoolExecutor(max_workers=HASHING_THREADS) as pool:
        yield from zip(names, pool.map(lambda name: file_sha256(folder / name), names), strict=True)


def _read_checked(folder: Path) -> dict[str, int]:
    try:
        checked: dict[str, int] = json.loads((folder / CHECKED).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return checked
