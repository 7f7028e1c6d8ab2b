"""Folders whose files lie in an object store or on another disk: pointers, upload, fetching.

The pointer is a local folder with nothing but ``remote.json``: the place of the files and their
manifest. Invariants: a visible pointer stands for a whole folder, because it is renamed into place
after the last file has arrived; and whatever lies there is named by a pointer here, a hidden one
while it is being written or deleted, so that nothing stays there unknown.
"""

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.storage.hashing import (
    MANIFEST,
    DamagedFolderError,
    Manifest,
    check_manifest,
    verify_folder,
)
from ccx_ray.storage.local_cache import cache_entry, partial
from ccx_ray.storage.object_stores import (
    ACCESS,
    RETRY_SECONDS,
    child_uri,
    local_path,
    one_line,
    open_store,
    refuse_credentials,
    retrying,
    scheme_of,
)
from ccx_ray.storage.publishing import publish_json, resolve_storage

POINTER = "remote.json"
CHECKPOINT_STORAGE = "runtime.checkpoint_storage"


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """The content of a pointer."""

    uri: str
    """``file://`` or an object store's."""
    files: Manifest
    """Empty while the files are on their way."""


def remote_storage_uri(storage: str) -> str:
    """The URI of ``runtime.checkpoint_storage``, a folder or an object store; touches nothing.

    Raises:
        UserError: the scheme is unknown, or the URI holds a credential.
    """
    if scheme_of(storage, CHECKPOINT_STORAGE) == "file":
        path = local_path(storage) or Path(storage).expanduser()
        return path.absolute().as_uri()
    refuse_credentials(storage, CHECKPOINT_STORAGE)
    return storage


def check_remote_storage(storage: str) -> None:
    """Write and delete a small object, before any compute is spent.

    Raises:
        UserError: that does not work, or what ``remote_storage_uri`` raises.
    """
    uri = remote_storage_uri(storage)
    if local_path(uri) is not None:
        resolve_storage(storage, CHECKPOINT_STORAGE)
        return
    try:
        store, path = open_store(child_uri(uri, ".writable"))
        with store.open_output_stream(path) as file:
            file.write(b"ccx_ray may write here\n")
        store.delete_file(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{CHECKPOINT_STORAGE}: {storage!r} cannot be written ({one_line(error)}); give the "
            f"URI of a place that may be written, and {ACCESS}"
        ) from None


def read_pointer(folder: Path) -> RemoteFolder | None:
    """What the pointer in ``folder`` says; None: the files are in ``folder`` itself.

    Raises:
        DamagedFolderError: there is a pointer, but it cannot be read.
    """
    try:
        content: Any = json.loads((folder / POINTER).read_text("utf-8"))
        refuse_credentials(content["uri"], str(folder / POINTER))
        return RemoteFolder(uri=content["uri"], files=check_manifest(content["files"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFolderError(f"{POINTER}: {error!r}") from None


def file_names(folder: Path) -> list[str]:
    """The names of the files in ``folder``, wherever they lie; nothing is fetched."""
    try:
        remote = read_pointer(folder)
    except DamagedFolderError as error:
        raise UserError(f"{folder}: is not what was written ({error}); restore the file") from None
    return sorted(remote.files) if remote else sorted(path.name for path in folder.iterdir())


def upload(local: Path, uri: str) -> None:
    """Copy the files of a folder to an object store, and see that all bytes have arrived."""
    from pyarrow import fs

    store, target = open_store(uri)
    for path in sorted(local.iterdir()):
        place = f"{target}/{path.name}"
        fs.copy_files(str(path), place, fs.LocalFileSystem(), store)
        size = store.get_file_info(place).size
        if size != path.stat().st_size:
            raise OSError(f"{path.name}: {size} bytes arrived of {path.stat().st_size}")


def delete_remote(uri: str) -> None:
    """Delete a folder's files where they lie; it may be gone already."""
    path = local_path(uri)
    if path is not None:
        shutil.rmtree(path, ignore_errors=not path.exists())
        return
    store, target = open_store(uri)
    with suppress(FileNotFoundError):
        store.delete_dir(target)


def read_unverified(folder: Path, name: str) -> bytes:
    """One small file of ``folder``, wherever it lies; errors as of ``fetch_folder``."""
    remote = read_pointer(folder)
    if remote is None:
        return (folder / name).read_bytes()
    store, target = open_store(remote.uri)
    with store.open_input_stream(f"{target}/{name}") as file:
        content: bytes = file.read()
    return content


def fetch_folder(
    folder: Path, *, verify: bool = True, retry_seconds: float = RETRY_SECONDS
) -> Path:
    """The path where the files of ``folder`` can be opened: their own, or that of a cached copy.

    A copy is verified whenever it is asked for, and stays until nobody has done so for an hour. Of
    several processes on a machine that ask at the same time one fetches.

    Args:
        verify: also hash the files of a folder that lies on a disk.

    Raises:
        DamagedFolderError: a file is missing or is not what was written.
        OSError: the store refuses, or did not answer for ``retry_seconds``.
    """
    remote = read_pointer(folder)
    place = local_path(remote.uri) if remote else folder
    if place is not None:
        if verify:
            verify_folder(place)
        return place
    assert remote is not None
    content = json.dumps([remote.uri, remote.files])
    with cache_entry(hashlib.sha256(content.encode()).hexdigest()[:32]) as entry:
        try:
            verify_folder(entry)
        except DamagedFolderError:  # or not there yet
            retrying(lambda: _download(remote, entry), what=str(folder), seconds=retry_seconds)
    return entry


def fetch_checkpoint(folder: Path) -> Path:
    """The path where a Hugging Face folder (or that of a pointer) can be opened, verified where it
    has a manifest; ``UserError`` when it is damaged or cannot be fetched."""
    ours = any((folder / name).is_file() for name in (POINTER, MANIFEST))
    try:
        return fetch_folder(folder) if ours else folder
    except DamagedFolderError as error:
        raise UserError(
            f"{folder}: is not what was written ({error}); restore the file, or delete the folder "
            "of the run to train again"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be fetched ({one_line(error)}); give {ACCESS}") from None


def _download(remote: RemoteFolder, entry: Path) -> None:
    from pyarrow import fs

    store, source = open_store(remote.uri)
    aside = partial(entry)
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(entry, ignore_errors=True)
    aside.mkdir()
    for name in remote.files:
        try:
            fs.copy_files(f"{source}/{name}", str(aside / name), store, fs.LocalFileSystem())
        except FileNotFoundError:
            raise DamagedFolderError(f"{name}: is not at {remote.uri}") from None
    publish_json(aside / MANIFEST, {"files": remote.files})
    verify_folder(aside)
    aside.rename(entry)
