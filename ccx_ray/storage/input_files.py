"""Input files of a study by path, glob, folder or URI, on a local disk or in an object store.

Invariant: the same path finds the same files in the same order, and what a file is called never
holds a credential: those come from the environment alone.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

from ccx_ray.errors import UserError
from ccx_ray.storage.hashing import KnownHashes, sampled_sha256
from ccx_ray.storage.object_stores import (
    ACCESS,
    one_line,
    open_store,
    refuse_credentials,
    scheme_of,
)

GLOB = re.compile(r"[*?\[]")


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
        """The raw bytes; random access works."""
        if not self.is_remote:
            return Path(self.uri).open("rb")
        filesystem, path = self.filesystem()
        file: BinaryIO = filesystem.open_input_file(path)
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
            for all files below it but hidden ones; or the same as the URI of an object store. In a
            URI, ``?`` begins the options of the store, such as ``?region=eu-central-1``.
        root: what a local path is relative to.
        field: where the path was given, for the error.

    Raises:
        UserError: no file is found, the store is unknown or refuses, or the URI holds a credential.
    """
    if scheme_of(path, field) == "file":
        found = _local_files((root / Path(path.removeprefix("file://")).expanduser()).absolute())
    else:
        found = _remote_files(path, field)
    if not found:
        raise UserError(
            f"{field}: {path!r} is not an existing file, and no file matches it or lies below it; "
            "give a file, a folder or a glob"
        )
    return _with_distinct_names(sorted(found, key=lambda file: file.uri))


def _local_files(path: Path) -> list[InputFile]:
    if path.exists() or not GLOB.search(str(path)):  # a file's name may hold a bracket
        folder, found = path, path.rglob("*") if path.is_dir() else iter([path])
    else:
        fixed = next(number for number, part in enumerate(path.parts) if GLOB.search(part))
        folder = Path(*path.parts[:fixed])
        found = folder.glob(str(Path(*path.parts[fixed:])))
    return [
        InputFile(uri=str(file), name=file.name, size=file.stat().st_size)
        for file in found
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _remote_files(uri: str, field: str) -> list[InputFile]:
    from pyarrow import fs

    refuse_credentials(uri, field)
    bare = uri.split("?", 1)[0]
    ending = uri[len(bare) :]
    wild = GLOB.search(bare)
    start = (bare[: wild.start()].rpartition("/")[0] if wild else bare).rstrip("/")
    try:
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
    pattern = _pattern(bare[len(start) + 1 :]) if wild else re.compile(".*", re.DOTALL)
    found = []
    for info in infos:
        below = info.path[len(path) :].lstrip("/")
        hidden = not wild and any(part.startswith(".") for part in below.split("/"))
        if info.type == fs.FileType.File and not hidden and pattern.fullmatch(below):
            place = f"{start}/{below}" if below else start
            found.append(InputFile(uri=place + ending, name=info.base_name, size=info.size))
    return found


def _pattern(shape: str) -> re.Pattern[str]:
    """A glob of an object store: ``**`` crosses slashes, ``*`` does not."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\[[^\]]*\])", shape)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile(
        "".join(
            meaning.get(piece)
            or (piece.replace("[!", "[^", 1) if piece.startswith("[") else re.escape(piece))
            for piece in pieces
        )
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
