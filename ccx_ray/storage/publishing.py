"""The storage folder, and atomic writes of files and folders to a disk.

Invariant: a reader never sees half a file that was published here, nor half a folder: each is
written aside and renamed into place.
"""

import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from ccx_ray.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# Ray unpacks a job's working directory below a folder of this name and deletes it with the job.
RAY_WORKING_DIRECTORIES = "working_dir_files"


def storage_folder(uri: str, field: str = "runtime.storage") -> Path:
    """The absolute local or shared folder that ``--storage`` names; nothing is created.

    Raises:
        UserError: the scheme is not supported, the path is relative inside a Ray job, or it
            cannot be resolved.
    """
    parsed = urlparse(uri)
    if parsed.scheme not in ("", "file"):
        raise UserError(
            f"{field}: {uri!r}: only a folder or a file:// URI is supported; on a cluster "
            "give a folder that every node mounts"
        )
    try:
        path = Path(unquote(parsed.path) if parsed.scheme == "file" else uri).expanduser()
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:  # links that lead to each other, ~ of nobody
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{field}: {uri!r} is no path here ({reason}); give a folder that can be reached"
        ) from None
    if not path.is_absolute() and RAY_WORKING_DIRECTORIES in str(Path.cwd()):
        raise UserError(
            f"{field}: {uri!r} is relative and would be deleted with the Ray job; "
            "give an absolute path that every node mounts, such as /mnt/ccx_ray"
        )
    return resolved


def resolve_storage(uri: str, field: str = "runtime.storage") -> Path:
    """As ``storage_folder``, created where it is missing; ``UserError`` when it is not writable."""
    path = storage_folder(uri, field)
    try:
        path.mkdir(parents=True, exist_ok=True)
        trial = path / f".writable-{uuid.uuid4().hex}"
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        raise UserError(
            f"{field}: {str(path)!r} cannot be written ({error.strerror or error}); "
            "give a writable folder"
        ) from None
    return path


def publish_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either absent or whole, also after a power cut."""
    _write_aside(path, content).replace(path)


def publish_first(path: Path, content: bytes) -> bool:
    """As ``publish_bytes``, but what is there already stays; whether this content was the first.

    Of several processes that publish at once one is the first, except on a file system without
    hard links, where a later one may replace it in the same moment.
    """
    aside = _write_aside(path, content)
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError:
        if path.exists():
            return False
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return True


@contextmanager
def writing_aside(path: Path) -> Iterator[Path]:
    """Write a large file or a folder under a hidden name, and rename it into place at the end.

    The name is unique, so two processes that write the same path (the task of a killed driver that
    still runs, and the same task of the next driver) never write into one file. What earlier
    writers of this path left behind is deleted first; one of them that still runs fails then.

    Yields:
        where to write; there is nothing yet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".*"):
        if re.fullmatch(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}", left.name):
            _delete(left)
    aside = _aside(path)
    try:
        yield aside
        if aside.is_dir():
            publish_folder(aside, path)
        else:
            aside.replace(path)
    except BaseException:
        _delete(aside)
        raise


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def _delete(path: Path) -> None:
    """A file or a folder, which may be gone already."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write_aside(path: Path, content: bytes) -> Path:
    aside = _aside(path)
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return aside


def publish_json(path: Path, content: Any) -> None:
    """Write ``content`` as readable JSON, atomically."""
    publish_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def publish_link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no hard links."""
    with writing_aside(target) as path:
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)


def publish_parquet(path: Path, table: "pa.Table") -> None:
    """Write a table of moderate size as Parquet, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = pa.BufferOutputStream()
    pq.write_table(table, content, compression="zstd")
    publish_bytes(path, content.getvalue().to_pybytes())


def publish_folder(aside: Path, final: Path) -> None:
    """Rename a finished folder into place, replacing an unfinished one of the same name."""
    while True:
        if final.exists():
            shutil.rmtree(final)
        try:
            aside.rename(final)
            return
        except OSError as error:  # another process has put its own there meanwhile
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
