"""SHA-256 of files, whole or sampled, and folders that carry a manifest of their files' hashes.

Invariant: a folder with a manifest that verifies holds, byte for byte, what was written.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

from ccx_ray.storage.publishing import publish_json

SAMPLED_BLOCKS, BLOCK_BYTES = 16, 2**20
MANIFEST = "manifest.json"


class DamagedFolderError(Exception):
    """A folder that is not what was written; the message names the file and what is wrong."""


class FileEntry(TypedDict):
    """One file of a manifest."""

    bytes: int
    sha256: str


Manifest = dict[str, FileEntry]
"""By file name; a manifest's folder has no folders in it."""


def file_sha256(path: Path) -> str:
    """Of the whole content, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class KnownHashes:
    """SHA-256 of files, each read once as long as its size and time of change stay.

    Between runs they are kept in a JSON file; a change that keeps both is not seen then.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path  # of the JSON file; None keeps nothing
        self._known: dict[str, list[int | str]] = {}
        if path is not None and path.is_file():
            self._known = json.loads(path.read_text("utf-8"))
        self._kept = dict(self._known)

    def sha256(self, file: Path) -> str:
        """Of the whole content of ``file``, an absolute path."""
        state = file.stat()
        known = self._known.get(str(file))
        if known is None or known[:2] != [state.st_size, state.st_mtime_ns]:
            known = [state.st_size, state.st_mtime_ns, file_sha256(file)]
            self._known[str(file)] = known
        return str(known[2])

    def save(self) -> None:
        """Write what is new, into a folder that exists."""
        if self._path is not None and self._known != self._kept:
            publish_json(self._path, self._known)
            self._kept = dict(self._known)


def sampled_sha256(file: BinaryIO, size: int) -> str:
    """Of the size in bytes and of 16 evenly spread blocks of 1 MiB, as ``sampled:<digits>``."""
    digest = hashlib.sha256(str(size).encode())
    last = max(size - BLOCK_BYTES, 0)
    for start in sorted({block * last // (SAMPLED_BLOCKS - 1) for block in range(SAMPLED_BLOCKS)}):
        file.seek(start)
        digest.update(file.read(BLOCK_BYTES))
    return f"sampled:{digest.hexdigest()}"


def write_manifest(folder: Path) -> Manifest:
    """Hash every file of ``folder``, bring it to the disk, and list it in ``manifest.json``."""
    manifest: Manifest = {}
    for path in sorted(folder.iterdir()):
        sha256 = file_sha256(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        manifest[path.name] = {"bytes": path.stat().st_size, "sha256": sha256}
    publish_json(folder / MANIFEST, {"files": manifest})
    return manifest


def verify_folder(folder: Path) -> None:
    """Compare every file of ``folder`` with its manifest.

    Raises:
        DamagedFolderError: a file is missing, has another size or hash, or cannot be read.
    """
    for name, entry in read_manifest(folder / MANIFEST).items():
        path = folder / name
        try:
            size = path.stat().st_size
            if size != entry["bytes"]:
                raise DamagedFolderError(f"{name}: {size} bytes instead of {entry['bytes']}")
            sha256 = file_sha256(path)
        except OSError as error:
            raise DamagedFolderError(f"{name}: {error.strerror or error}") from None
        if sha256 != entry["sha256"]:
            raise DamagedFolderError(f"{name}: its SHA-256 has changed")


def read_manifest(path: Path) -> Manifest:
    """The files that ``path``, a JSON file with a manifest in it, lists.

    Raises:
        DamagedFolderError: it is missing, no JSON, or names a file outside of its folder.
    """
    try:
        return check_manifest(json.loads(path.read_text("utf-8"))["files"])
    except OSError as error:
        raise DamagedFolderError(f"{path.name}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFolderError(f"{path.name}: {error!r}") from None


def check_manifest(files: dict[str, dict[str, Any]]) -> Manifest:
    """``files`` with its types checked; ``ValueError`` and the like where it is no manifest."""
    for name in files:
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} is not a file name")
    return {
        name: {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
        for name, entry in files.items()
    }
