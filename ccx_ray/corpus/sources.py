"""Raw text in: JSON Lines, plain or gzip, read as a stream of records.

Invariant: every line that is not blank comes out, as a record or as a bad line that still holds
its text.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from ccx_ray.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A valid line: one document, or one pair of parallel sentences."""

    id: str
    source: str
    texts: tuple[str, ...]
    """The text fields in the order in which they were asked for."""


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line that is no valid record."""

    id: str
    """File name and line number, from 1."""
    source: str
    line: str


def read_records(path: Path, text_fields: tuple[str, ...]) -> Iterator[Record | BadLine]:
    """The records of a file in order.

    A valid record is a JSON object whose ``id`` and ``text_fields`` are strings that are not blank;
    ``source`` is the file's name where the record gives none.

    Raises:
        UserError: the file as a whole cannot be read, such as a broken gzip.
    """
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _parse(line, path, number, text_fields)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{str(path)!r} cannot be read to its end ({error}); "
            "give JSON Lines, plain or gzip-compressed"
        ) from None


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")


def _parse(line: bytes, path: Path, number: int, text_fields: tuple[str, ...]) -> Record | BadLine:
    try:
        content = json.loads(line)
        name, *texts = (content[field] for field in ("id", *text_fields))
        source = content.get("source", path.name)
        # A lone surrogate is valid JSON and no text: encoding it raises.
        if all(value.strip() and value.encode() for value in (name, source, *texts)):
            return Record(id=name, source=source, texts=tuple(texts))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # what is wrong stands in the rejected line itself
    raw = line.decode("utf-8", errors="replace").rstrip("\r\n")
    return BadLine(id=f"{path.name}:{number}", source=path.name, line=raw)
