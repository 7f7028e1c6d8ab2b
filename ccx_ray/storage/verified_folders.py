"""Folders that carry the hashes of their files, so that damage is noticed before it is believed.

Invariant: a folder with a manifest that verifies holds, byte for byte, what was written.
"""

import json
import os
from pathlib import Path
from typing import TypedDict

from ccx_ray.storage.hashing import file_sha256
from ccx_ray.storage.publishing import publish_json

MANIFEST = "manifest.json"


class DamagedFolderError(Exception):
    """A folder that is not what was written; the message names the file and what is wrong."""


class FileEntry(TypedDict):
    """One file of a manifest."""

    bytes: int
    sha256: str


Manifest = dict[str, FileEntry]
"""By file name; a manifest's folder has no folders in it."""


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
    """Compare every file with the manifest.

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
            raise DamagedFolderError(f"{name}: another SHA-256 than when it was written")


def read_manifest(path: Path) -> Manifest:
    """The files that ``path``, a JSON file with a manifest in it, lists.

    Raises:
        DamagedFolderError: it is missing, no JSON, or names a file outside of its folder.
    """
    try:
        return check_manifest(json.loads(path.read_text("utf-8"))["files"])
    except OSError as error:
        raise DamagedFolderError(f"{path.name}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFolderError(f"{path.name}: {error!r}") from None


def check_manifest(files: object) -> Manifest:
    """Type-check what was read, and that no name leads out of the folder.

    Raises:
        ValueError: it is no manifest.
    """
    if not isinstance(files, dict):
        raise ValueError("no list of files")
    manifest: Manifest = {}
    for name, entry in files.items():
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} is no file name")
        manifest[name] = {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
    return manifest
