"""Folders published at once with the hashes of their files, which lie there or elsewhere.

Where the files lie in an object store or on another disk, the folder is a pointer: it holds nothing
but ``remote.json``, the place of the files and their manifest. Invariants: under its own name a
folder is there with all its files and their manifest, or not at all; a visible pointer stands for a
whole folder, because it is renamed into place after the last file has arrived. What is being
written or deleted has a name that begins with a dot, and what a killed process left under such a
name is found and removed by ``remove_leftovers``, so that nothing stays anywhere unknown.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.storage.hashing import (
    MANIFEST,
    DamagedFolderError,
    Manifest,
    check_manifest,
    read_manifest,
    verify_folder,
    write_manifest,
)
from ccx_ray.storage.local_cache import cache_entry, partial_entry, scratch_folder
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

logger = logging.getLogger(__name__)

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
            f"{CHECKPOINT_STORAGE}: {storage!r} cannot be written ({one_line(error)}); give a "
            f"writable URI, and {ACCESS}"
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


def publish_verified(
    final: Path,
    fill: Callable[[Path], None],
    *,
    storage: str | None = None,
    retry_seconds: float = RETRY_SECONDS,
) -> None:
    """Publish a folder with the hashes of its files, replacing one of the same name.

    Args:
        fill: writes the files into the empty folder that it is given; called again when it fails
            for want of space.
        storage: a folder or an object store for the files, which then lie below
            ``<storage>/<name of the run's folder>/<name of the folder of final>/``, behind a
            pointer; None: they lie in ``final``.

    Raises:
        OSError: a disk or the store failed for ``retry_seconds``; nothing of the try is left.
    """
    aside = _hidden(final)
    attempt = partial(retrying, what=str(final), seconds=retry_seconds)
    try:
        if storage is None:
            attempt(lambda: _fill(aside, fill))
        else:
            _place_remotely(aside, final, fill, storage, attempt)
        attempt(lambda: _put_in_place(aside, final))
    except BaseException:
        _delete(aside)
        raise


def remove_published(folder: Path) -> None:
    """Remove a folder at once, and then its files, wherever they lie."""
    aside = _hidden(folder)
    folder.rename(aside)
    _delete(aside)


def remove_leftovers(parent: Path) -> None:
    """Delete what was being written into or removed from ``parent`` when its process died."""
    for path in sorted(parent.glob(".*")):
        _delete(path)


def _place_remotely(
    aside: Path,
    final: Path,
    fill: Callable[[Path], None],
    storage: str,
    attempt: Callable[[Callable[[], None]], Any],
) -> None:
    """Bring the files to their place, which a hidden pointer names before the first is there."""
    run, kind = final.parent.parent, final.parent.name
    if not re.fullmatch(r"\w[\w.-]*", run.name, re.ASCII):
        raise UserError(f"{run}: its name cannot be part of a URI; rename it")
    name = f"{final.name}-{uuid.uuid4().hex[:8]}"
    uri = child_uri(remote_storage_uri(storage), run.name, kind, name)

    def point(manifest: Manifest) -> None:
        aside.mkdir(parents=True, exist_ok=True)
        publish_json(aside / POINTER, {"uri": uri, "files": manifest})

    attempt(lambda: point({}))
    place = local_path(uri)
    with nullcontext(place) if place else scratch_folder() as folder:
        attempt(lambda: _fill(folder, fill))
        if place is None:
            attempt(lambda: _upload(folder, uri))
        manifest = read_manifest(folder / MANIFEST)
    attempt(lambda: point(manifest))


def _fill(folder: Path, fill: Callable[[Path], None]) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fill(folder)
        write_manifest(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # a full disk is somebody else's too
        raise


def _put_in_place(aside: Path, final: Path) -> None:
    if final.exists():
        remove_published(final)
    _bring_to_disk(aside)
    aside.rename(final)
    _bring_to_disk(final.parent)


def _bring_to_disk(folder: Path) -> None:
    """Make the names in a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hidden(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")


def _delete(aside: Path) -> None:
    """Delete a hidden folder; its pointer goes last, and stays when its files cannot be deleted."""
    try:
        with suppress(DamagedFolderError):
            remote = read_pointer(aside)
            if remote:
                _delete_remote(remote.uri)
        if aside.exists():
            shutil.rmtree(aside)
    except (OSError, ValueError) as error:
        logger.warning("%s: cannot be deleted yet: %s", aside, one_line(error))


def _upload(local: Path, uri: str) -> None:
    """Copy the files of a folder to an object store, and see that all bytes have arrived."""
    from pyarrow import fs

    store, target = open_store(uri)
    for path in sorted(local.iterdir()):
        place = f"{target}/{path.name}"
        fs.copy_files(str(path), place, fs.LocalFileSystem(), store)
        size = store.get_file_info(place).size
        if size != path.stat().st_size:
            raise OSError(f"{path.name}: only {size} of {path.stat().st_size} bytes arrived")


def _delete_remote(uri: str) -> None:
    """Delete a folder's files where they lie; it may be gone already."""
    path = local_path(uri)
    if path is not None:
        shutil.rmtree(path, ignore_errors=not path.exists())
        return
    store, target = open_store(uri)
    with suppress(FileNotFoundError):
        store.delete_dir(target)


def located_files(folder: Path) -> tuple[str, Manifest]:
    """URI of the files of a published folder, and their sizes and hashes; nothing is fetched.

    Raises:
        DamagedFolderError: the pointer or the list of files cannot be read.
    """
    remote = read_pointer(folder)
    if remote is not None:
        return remote.uri, remote.files
    return folder.as_uri(), read_manifest(folder / MANIFEST)


def file_names(folder: Path) -> list[str]:
    """The names of the files in ``folder``, wherever they lie; nothing is fetched."""
    try:
        remote = read_pointer(folder)
    except DamagedFolderError as error:
        raise UserError(f"{folder}: has changed ({error}); restore the file") from None
    return sorted(remote.files) if remote else sorted(path.name for path in folder.iterdir())


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
            f"{folder}: has changed ({error}); restore the file, or delete the "
            "folder of the run to train again"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be fetched ({one_line(error)}); give {ACCESS}") from None


def _download(remote: RemoteFolder, entry: Path) -> None:
    from pyarrow import fs

    store, source = open_store(remote.uri)
    aside = partial_entry(entry)
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(entry, ignore_errors=True)
    aside.mkdir()
    for name in remote.files:
        try:
            fs.copy_files(f"{source}/{name}", str(aside / name), store, fs.LocalFileSystem())
        except FileNotFoundError:
            raise DamagedFolderError(f"{name}: is missing at {remote.uri}") from None
    publish_json(aside / MANIFEST, {"files": remote.files})
    verify_folder(aside)
    aside.rename(entry)
