"""The local cache: copies of what lies in an object store, and files on their way to one.

Invariants: nobody else can read or write the folder; one process at a time makes an entry, and an
entry that is there under its own name is whole; what a killed process left is removed by the next.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ccx_ray.errors import UserError

UNUSED_SECONDS = 3600.0
"""Entries unused for so long are removed, or every checkpoint would stay on every node."""
PARTIAL, LOCK, WRITING = ".partial", ".lock", "writing-"


def cache_root() -> Path:
    """The folder, below the system's temporary one (``TMPDIR``), made when missing; refused when
    somebody else has made it, or may look into it."""
    root = Path(tempfile.gettempdir()) / f"ccx_ray-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    state = root.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise UserError(
            f"{root}: is accessible to other users; remove it, or set TMPDIR to another folder"
        )
    return root


@contextmanager
def cache_entry(key: str) -> Iterator[Path]:
    """The path of entry ``key``, there or to be made; other processes wait for it meanwhile."""
    root = cache_root()
    _remove_unused(root, but=key)
    with _lock(root, key):
        shutil.rmtree(root / (key + PARTIAL), ignore_errors=True)
        yield root / key
    with suppress(FileNotFoundError):
        os.utime(root / key)


def partial_entry(entry: Path) -> Path:
    """The path where ``entry`` is put together before it is renamed into place."""
    return entry.with_name(entry.name + PARTIAL)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder; the next process removes it when this one is killed."""
    with cache_entry(WRITING + uuid.uuid4().hex) as entry:
        folder = partial_entry(entry)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            entry.with_name(entry.name + LOCK).unlink(missing_ok=True)


@contextmanager
def _lock(root: Path, key: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of an entry, which the system takes back from a process that dies."""
    with (root / (key + LOCK)).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _remove_unused(root: Path, *, but: str) -> None:
    for folder in root.iterdir():
        key = folder.name.removesuffix(PARTIAL)
        if folder.suffix == LOCK or key == but:
            continue
        with _lock(root, key, wait=False) as ours, suppress(FileNotFoundError):
            age = time.time() - folder.stat().st_mtime
            if ours and (folder.suffix == PARTIAL or age > UNUSED_SECONDS):
                shutil.rmtree(folder, ignore_errors=True)
                if key.startswith(WRITING):  # of others, somebody may be waiting for the lock
                    (root / (key + LOCK)).unlink(missing_ok=True)
