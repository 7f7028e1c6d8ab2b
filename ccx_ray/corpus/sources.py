"""Reading the files of a study, record by record, without losing one in silence.

Invariant: every line that is not blank comes out, as a record or as a bad line that still holds
its text.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from ccx_ray.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One document, or one pair of parallel sentences."""

    id: str
    source: str
    texts: tuple[str, ...]
    """The text fields in the order in which they were asked for."""


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line that is no record; ``id`` says where it stands."""

    id: str
    source: str
    line: str


def check_source(path: Path, field: str) -> None:
    """Refuse a format that no reader knows.

    Raises:
        UserError: the name does not end in a known suffix.
    """
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{field}: {path.name!r} is not one of {', '.join(SUFFIXES)}")


def read_records(path: Path, text_fields: tuple[str, ...]) -> Iterator[Record | BadLine]:
    """The records of a JSON Lines file, plain or gzip, in their order.

    A record has an ``id`` and the text fields, all of them texts with content; ``source`` may be
    absent.
    """
    with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _parse(line, f"{path.name}:{number}", text_fields)


def _parse(line: bytes, place: str, text_fields: tuple[str, ...]) -> Record | BadLine:
    try:
        content = json.loads(line)
    except ValueError:
        content = None
    if isinstance(content, dict):
        values = [content.get(name) for name in ("id", *text_fields)]
        if all(isinstance(value, str) and value.strip() for value in values):
            name, *texts = cast("list[str]", values)
            return Record(id=name, source=str(content.get("source", "")), texts=tuple(texts))
    text = line.decode("utf-8", errors="replace").rstrip("\r\n")
    return BadLine(id=place, source=place.rpartition(":")[0], line=text)
