"""Which field, column or attribute holds what, and what its values must be to make a record."""

from typing import Any, NamedTuple

from ccx_ray.corpus.reading import faults
from ccx_ray.corpus.reading.record import SHOWN_CHARACTERS, Fault, Record
from ccx_ray.study.text_spec import SourceSpec


class Fields(NamedTuple):
    """The names of the fields of one source."""

    id: str | None
    """None where the format has no ids; records are called by their place then."""
    source: str
    texts: tuple[str, ...]


def fields_of(source: SourceSpec, sides: tuple[str, ...]) -> Fields:
    """The fields that a source names, or its format's own.

    Args:
        sides: ``("text",)``, or the language codes of a pair.
    """
    if len(sides) == 1:
        texts: tuple[str, ...] = (source.text_field or "text",)
    else:
        texts = (source.english_field or sides[0], source.target_field or sides[1])
    if source.format == "mc2":
        return Fields(source.id_field, "url", texts)
    if source.format == "wikipedia":
        return Fields(source.id_field or "id", "url", texts)
    return Fields(source.id_field or "id", "source", texts)


def record_of(
    name: Any, source: Any, position: int, texts: tuple[Any, ...], file: str
) -> Record | Fault:
    """A record of values as a parser gives them, or why they make none.

    Args:
        name: the id; a whole number is as good as a string.
        source: ``file``, the file's name, stands in where it is no text.
    """
    if name.__class__ is int:
        name = str(name)
    if not isinstance(name, str) or not name.strip():
        return Fault("", position, faults.NO_ID, show(texts))
    for text in texts:
        reason = ""
        if text is None:
            reason = faults.NULL_TEXT
        elif not isinstance(text, str):
            reason = faults.NOT_TEXT
        elif not text or text.isspace():
            reason = faults.BLANK_TEXT
        elif not _encodable(text):
            reason = faults.LONE_SURROGATE
        if reason:
            return Fault(_clean(name), position, reason, show(texts))
    if not _encodable(name):
        return Fault(_clean(name), position, faults.LONE_SURROGATE, show(texts))
    if not isinstance(source, str) or not source.strip() or not _encodable(source):
        source = file
    return Record(name, source, position, texts)


def limited(found: Record | Fault, record_bytes: int) -> Record | Fault:
    """The record, or a fault where its text is longer than is allowed."""
    if (
        isinstance(found, Record)
        and sum(len(t.encode("utf-8")) for t in found.texts) > record_bytes
    ):
        return Fault(found.id, found.position, faults.TOO_LONG, show(found.texts))
    return found


def show(values: tuple[Any, ...]) -> str:
    """What a person sees of a faulty record, the halves of a pair one below the other."""
    return _clean(
        "\n".join(
            value[:SHOWN_CHARACTERS]
            if isinstance(value, str)
            else "null"
            if value is None
            else repr(value)[:SHOWN_CHARACTERS]
            for value in values
        )
    )[:SHOWN_CHARACTERS]


def _clean(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
