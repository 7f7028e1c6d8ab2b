"""Input files of a study by path, glob, folder or URI, on a local disk or in an object store.

Invariant: the same path finds the same files in the same order, and what a file is called never
holds a credential: those come from the environment alone.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from ccx_ray.errors import InputError, UserError
from ccx_ray.storage.hashing import KnownHashes, sampled_sha256
from ccx_ray.storage.object_stores import (
    ACCESS,
    one_line,
    open_store,
    refuse_credentials,
    scheme_of,
)

GLOB = re.compile(r"[*?\[]")
NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""How Python gives the bytes of a path that are not UTF-8."""
LEFT_OUT = ("_", ".")
"""What begins so is no text by the convention of data lakes (``_SUCCESS``, ``_metadata``,
``.part-0.crc``) and is read only where its own name, or a glob that begins so, asks for it."""


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One file. Picklable, so that it can be opened where it is read."""

    uri: str
    """An absolute local path, or the URI of an object."""
    name: str
    """Its last part; where several files found together share it, as much more as tells them
    apart."""
    size: int
    """In bytes."""

    @property
    def is_remote(self) -> bool:
        return "://" in self.uri

    def open(self) -> BinaryIO:
        """The raw bytes; random access works.

        Raises:
            InputError: the file is gone or may not be read.
        """
        try:
            if not self.is_remote:
                return Path(self.uri).open("rb")
            filesystem, path = self.filesystem()
            file: BinaryIO = filesystem.open_input_file(path)
        except OSError as error:
            raise unreadable(self.uri, error) from None
        return file

    def filesystem(self) -> tuple[Any, str]:
        """The ``pyarrow.fs.FileSystem`` that holds the file, and its path there."""
        from pyarrow import fs

        return open_store(self.uri) if self.is_remote else (fs.LocalFileSystem(), self.uri)

    def sha256(self, known: KnownHashes | None = None) -> str:
        """Hash of the content; of a remote object a sample, because reading all of it would cost
        as much as the study's work."""
        if self.is_remote:
            with self.open() as file:
                return sampled_sha256(file, self.size)
        return (known or KnownHashes()).sha256(Path(self.uri))


def find_files(path: str, *, root: Path, field: str) -> list[InputFile]:
    """The files that ``path`` names, sorted by where they are.

    Args:
        path: a file; a glob such as ``corpora/en/*.parquet`` (``**`` for any depth); a folder,
            for all files below it; or the same as the URI of an object store. A folder that a glob
            with an ending finds (``*.parquet``) is read whole. In a URI, ``?`` begins the options
            of the store, such as ``?region=eu-central-1``. Links are followed. Folders and globs
            leave out what ``LEFT_OUT`` says.
        root: what a local path is relative to.
        field: where the path was given, for the error.

    Raises:
        UserError: no file is found, a link leads nowhere, a folder may not be read, the store is
            unknown or refuses, or the URI holds a credential.
    """
    if scheme_of(path, field) == "file":
        try:
            bare = path.removeprefix("file://")
            local = (root / Path(bare).expanduser()).absolute()
            if bare != path and not local.exists():
                local = Path(unquote(bare.removeprefix("localhost")))
            found, left_out = _local_files(local, field)
        except (OSError, RuntimeError) as error:  # a name too long, ~ of nobody, a closed folder
            reason = getattr(error, "strerror", None) or str(error).rstrip(".")
            shown = path if len(path) < 80 else path[:77] + "..."
            raise UserError(
                f"{field}: {shown!r} is not a valid path ({reason}); give another"
            ) from None
    else:
        found, left_out = _remote_files(path, field)
    if not found:
        names = f", but {left_out} that begin with _ or ." if left_out else ""
        raise UserError(
            f"{field}: {path!r} is not an existing file, and no file matches it or is below it"
            f"{names}; give a file, a folder or a glob"
        )
    for file in found:
        if NOT_UTF8.search(file.uri):
            raise UserError(
                f"{field}: the name of {file.uri!r} is not UTF-8, and ids are made of names; "
                "rename it (convmv does)"
            )
    return _with_distinct_names(sorted(found, key=lambda file: file.uri))


def unreadable(uri: str, error: OSError) -> InputError:
    """A file that the system does not give."""
    reason = error.strerror or one_line(error)
    return InputError(f"{uri}: cannot be read ({reason}); check that it exists and is readable")


def _local_files(path: Path, field: str) -> tuple[list[InputFile], int]:
    """The files, and how many were left out for their names."""
    if path.exists() or not GLOB.search(str(path)):  # a file's name may hold a bracket
        if path.is_file():
            return [_local_file(path)], 0
        if path.is_symlink() and not path.exists():
            raise _broken_link(path, field)
        folder, shape = path, "**"
    else:
        fixed = next(
            number
            for number, part in enumerate(path.parts)
            if GLOB.search(part) and not Path(*path.parts[: number + 1]).exists()
        )
        folder, shape = Path(*path.parts[:fixed]), "/".join(path.parts[fixed:])
    pattern, depth = _pattern(shape), None if "**" in shape else shape.count("/")
    found, left_out = [], 0
    for below in _walk(folder, depth, pattern, field) if folder.is_dir() else ():
        if pattern.fullmatch(below):
            path = folder / below
            if _is_left_out(below, shape):
                left_out += 1
            elif path.is_symlink() and not path.exists():
                raise _broken_link(path, field)
            elif path.is_file():
                found.append(_local_file(path))
    return found, left_out


def _local_file(path: Path) -> InputFile:
    return InputFile(uri=str(path), name=path.name, size=path.stat().st_size)


def _broken_link(path: Path, field: str) -> UserError:
    return UserError(
        f"{field}: {str(path)!r} is a link to {str(path.readlink())!r}, which does not exist; "
        "fix or delete the link"
    )


def _walk(folder: Path, depth: int | None, pattern: re.Pattern[str], field: str) -> Iterator[str]:
    """The paths of what lies below a folder and is no folder, relative to it.

    Links to folders are followed, but not back into a folder that they lie in.

    Args:
        depth: how many folders deep; None for any number.
        pattern: of folders that are read whole.
    """
    waiting = [("", frozenset([folder.resolve()]))]
    while waiting:
        below, above = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(
                f"{field}: the folder {str(folder / below)!r} cannot be read ({error.strerror}); "
                "make it readable, or name the files"
            ) from None
        for entry in entries:
            path = below + entry.name
            if not Path(entry.path).is_dir():  # unlike its own method, of no link to itself
                yield path
            elif depth is None or path.count("/") < depth or pattern.fullmatch(path):
                real = Path(entry.path).resolve()
                if real not in above:
                    waiting.append((path + "/", above | {real}))


def _is_left_out(below: str, shape: str) -> bool:
    """Whether a part of the path begins with ``_`` or ``.`` and no part of the glob asks for it."""
    asking = [part for part in shape.split("/") if part.startswith(LEFT_OUT)]
    return any(
        part.startswith(LEFT_OUT) and not any(fnmatchcase(part, one) for one in asking)
        for part in below.split("/")
    )


def _remote_files(uri: str, field: str) -> tuple[list[InputFile], int]:
    from pyarrow import fs

    bare = uri.split("?", 1)[0]
    ending = uri[len(bare) :]
    wild = GLOB.search(bare)
    start = (bare[: wild.start()].rpartition("/")[0] if wild else bare).rstrip("/")
    try:
        refuse_credentials(uri, field)
        filesystem, path = open_store(start + ending)
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.File and not wild:
            infos = [info]
        else:
            infos = filesystem.get_file_info(
                fs.FileSelector(path, recursive=True, allow_not_found=True)
            )
    except (OSError, ValueError) as error:
        raise UserError(
            f"{field}: {uri!r} cannot be read ({one_line(error)}); give the object's URI, and "
            f"{ACCESS}"
        ) from None
    shape = bare[len(start) + 1 :] if wild else "**"
    pattern = _pattern(shape)
    found, left_out = [], 0
    for info in infos:
        below = info.path[len(path) :].lstrip("/")
        if info.type != fs.FileType.File or not pattern.fullmatch(below):
            continue
        if _is_left_out(below, shape):
            left_out += 1
            continue
        place = f"{start}/{below}" if below else start
        found.append(InputFile(uri=place + ending, name=info.base_name, size=info.size))
    return found, left_out


def _pattern(shape: str) -> re.Pattern[str]:
    """A glob: ``**`` crosses slashes, ``*`` and ``?`` do not; with an ending, it finds what lies
    below a folder of that ending too."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", shape)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(
            meaning.get(piece)
            or (piece.replace("[!", "[^", 1) if piece.startswith("[") else re.escape(piece))
            for piece in pieces
        )
        + ("(?:/.*)?" if re.search(r"\.\w+$", shape) else ""),
        re.DOTALL,
    )


def _with_distinct_names(files: list[InputFile]) -> list[InputFile]:
    """The files; those of equal names are named by their path below the folder that all share."""
    names = Counter(file.name for file in files)
    levels = zip(*(file.uri.split("/")[:-1] for file in files), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return [
        replace(file, name="/".join(file.uri.split("?")[0].split("/")[shared:]))
        if names[file.name] > 1
        else file
        for file in files
    ]
