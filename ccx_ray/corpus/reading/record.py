"""What readers yield: records and faults; the fields that hold them, and shards of files.

Invariant: everything that stands in a file comes out of its reader, as a record or as a fault that
still shows the text; nothing is skipped in silence but blank lines.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from ccx_ray.storage.input_files import InputFile
from ccx_ray.study.text_spec import SourceSpec

ID_TYPES = (int, float, Decimal, UUID, date)
"""Types of ids beside strings: numbers but NaN, UUIDs, dates and times."""
SHOWN_CHARACTERS = 4096
"""Of a faulty record that are kept to be read; its file and position tell where the rest is."""


class Reason:
    """Why what stands in a file is no record; counted, and shown to people."""

    NOT_JSON = "not valid JSON"
    NOT_UTF8 = "not valid UTF-8"
    NOT_AN_OBJECT = "not a JSON object"
    MISSING_FIELD = "missing field"
    NULL_TEXT = "null text"
    NOT_TEXT = "text is not a string"
    BLANK_TEXT = "blank text"
    NO_ID = "no id"
    TOO_LONG = "record too long"
    MISSING_SIDE = "missing side"
    """A pair without one of its two halves."""
    REDIRECT = "redirect"
    NOT_AN_ARTICLE = "not an article"
    """A page of another namespace of a wiki."""
    TRUNCATED = "file ends in the middle"
    CORRUPT = "file is corrupt"
    EMPTY_FILE = "empty file"
    MISSING_COLUMN = "missing column"
    UNEVEN_FILES = "line without a counterpart"
    """One file of a Moses pair is longer than the other."""
    LONE_SURROGATE = "half of a surrogate pair"
    """JSON may escape one; no text can hold it."""
    WRONG_COLUMNS = "wrong number of columns"
    JSON_ARRAY = "JSON array instead of JSON Lines"
    UNREADABLE = "characters that cannot be read"
    """Bytes that the declared encoding does not have, or characters that XML forbids."""
    MALFORMED = "page that cannot be parsed"

    WINDOW = "zstd window larger than the memory allows"
    """2 GiB is the most that the library takes (``zstd --long=31``)."""
    DICTIONARY = "zstd dictionary that is not in the file"
    SEVERAL_OBJECTS = "several JSON objects on a line"

    BREAKS = frozenset({TRUNCATED, CORRUPT, WINDOW, DICTIONARY})
    """After these nothing more of a file can be read."""


class Record(NamedTuple):
    """One document, or one pair of parallel sentences."""

    id: str
    source: str
    """Where the text says that it comes from; the file's name where it does not."""
    position: int
    """Number of the line, row or page in its shard, from 1."""
    texts: tuple[str, ...]
    """Of a document its text; of a pair the English half and the target half."""


class Fault(NamedTuple):
    """What stands in a file and is no record."""

    id: str
    """Empty where none could be read."""
    position: int
    reason: str
    """One of the constants of ``Reason``."""
    text: str
    """At most ``SHOWN_CHARACTERS`` of it."""
    ends_file: bool = False
    """Nothing behind it could be read; it is the last thing that the reader yields."""


class Shard(NamedTuple):
    """What one task reads: a whole file, or a piece of one that can be read by itself."""

    file: InputFile
    start: int = 0
    """Where it begins, in the reader's own unit: bytes, row groups, streams."""
    stop: int | None = None
    """Where the next one begins; None at the end of the file."""
    unit: str = "line"
    """What ``position`` counts."""

    def place(self, position: int) -> str:
        """Where a record stands, for a person: ``line 17``, or ``line 17 from byte 67108864``."""
        where = f"{self.unit} {position}"
        return f"{where} from {self.start}" if self.start else where

    @property
    def id_prefix(self) -> str:
        """What records without an id are called by, before their position."""
        return f"{self.file.name}:{self.start}+" if self.start else f"{self.file.name}:"


class Fields(NamedTuple):
    """The names of the fields of one source."""

    id: str | None
    """None where the format has no ids; records are called by their place then."""
    source: str
    texts: tuple[str, ...]


def fields_of(source: SourceSpec, sides: tuple[str, ...]) -> Fields:
    """The fields that a source names, or its format's own; see ``TextSource.sides``."""
    if len(sides) == 1:
        texts: tuple[str, ...] = (source.text_field or "text",)
    else:
        texts = (source.english_field or sides[0], source.target_field or sides[1])
    return Fields(
        id=source.id_field or (None if source.format == "mc2" else "id"),
        source="url" if source.format in ("mc2", "wikipedia") else "source",
        texts=texts,
    )


def record_of(
    name: Any, source: Any, position: int, texts: tuple[Any, ...], file: str
) -> Record | Fault:
    """A record of values as a parser gives them, or why they make none.

    Args:
        name: the id; a number is as good as a string, and so are the 16 bytes of a UUID.
        source: ``file``, the file's name, stands in where it is no text.
    """
    if isinstance(name, ID_TYPES) and not isinstance(name, bool) and name == name:  # noqa: PLR0124
        name = str(name)
    elif isinstance(name, bytes) and len(name) == 16:
        name = str(UUID(bytes=name))
    if not isinstance(name, str) or not name.strip():
        return Fault("", position, Reason.NO_ID, show(texts))
    reason = next(filter(None, map(_reason, texts)), "")
    if not reason and not _encodable(name):
        reason = Reason.LONE_SURROGATE
    if reason:
        return Fault(_clean(name), position, reason, show(texts))
    if not isinstance(source, str) or not source.strip() or not _encodable(source):
        source = file
    return Record(name, source, position, texts)


def _reason(text: Any) -> str:
    """Why a value is no text of a record; empty where it is one."""
    if text is None:
        return Reason.NULL_TEXT
    if not isinstance(text, str):
        return Reason.NOT_TEXT
    if not text or text.isspace():
        return Reason.BLANK_TEXT
    return "" if _encodable(text) else Reason.LONE_SURROGATE


def value_at(content: Mapping[str, Any], field: str) -> Any:
    """The value of a field, or of a field within fields by its dotted name (``translation.en``).

    Raises:
        LookupError: there is none.
    """
    if field in content or "." not in field:
        return content[field]
    value: Any = content
    for name in field.split("."):
        if value is None:  # a null holds nulls
            return None
        if not isinstance(value, Mapping):
            raise LookupError(field)
        value = value[name]
    return value


def limited(found: Record | Fault, record_bytes: int) -> Record | Fault:
    """The record, or a fault where its text is longer than is allowed."""
    if (
        isinstance(found, Record)
        and sum(len(t.encode("utf-8")) for t in found.texts) > record_bytes
    ):
        return Fault(found.id, found.position, Reason.TOO_LONG, show(found.texts))
    return found


def show(values: tuple[Any, ...]) -> str:
    """What a person sees of a faulty record, the halves of a pair one below the other."""
    shown = ("null" if v is None else v if isinstance(v, str) else repr(v) for v in values)
    return _clean("\n".join(text[:SHOWN_CHARACTERS] for text in shown))[:SHOWN_CHARACTERS]


def _clean(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
