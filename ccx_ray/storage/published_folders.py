"""Publishing and removing folders atomically, on a local disk or behind a pointer.

Invariant: under its own name a folder is there with all its files and their manifest, or not at
all. What is being written or deleted has a name that begins with a dot, and what a killed process
left under such a name is found and removed by ``remove_leftovers``.
"""

import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.storage.hashing import (
    MANIFEST,
    DamagedFolderError,
    Manifest,
    read_manifest,
    write_manifest,
)
from ccx_ray.storage.local_cache import scratch_folder
from ccx_ray.storage.object_stores import RETRY_SECONDS, child_uri, local_path, one_line, retrying
from ccx_ray.storage.publishing import publish_json
from ccx_ray.storage.remote_folders import (
    POINTER,
    delete_remote,
    read_pointer,
    remote_storage_uri,
    upload,
)

logger = logging.getLogger(__name__)


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
            attempt(lambda: upload(folder, uri))
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
                delete_remote(remote.uri)
        if aside.exists():
            shutil.rmtree(aside)
    except (OSError, ValueError) as error:
        logger.warning("%s: cannot be deleted yet: %s", aside, one_line(error))
