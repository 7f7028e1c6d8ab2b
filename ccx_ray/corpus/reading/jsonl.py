"""JSON Lines, one JSON object a line, also in the layout of the MC2 corpus: record by record, and
many at a time as Arrow arrays, which is what the isolation works on.

JSON Lines whose lines are all in order are parsed by Arrow straight into arrays (370 to 590 MB/s on
one core, where Python objects between allow 100 to 250); a block in which anything is amiss is read
again record by record, so that the outcome is that of ``sources.read_shard``. A line that holds
several objects is rejected whole; fields within fields are called by dotted names
(``translation.en``); an id that is a number is called as the file spells it.

MC2 (github.com/luciusssss/mc2_corpus, README and ``scripts/*_to_json.py``; data set
pkupie/mc2_corpus on the hub) holds one file a language and collection, one JSON object a line with
three keys: ``title``, ``text``, ``url``. It has no ids, so its documents are called by their place;
the title is no part of the text and is left out, the url becomes the source.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from ccx_ray.corpus.parts import one_array
from ccx_ray.corpus.reading.lines import Lines, read_lines, shown
from ccx_ray.corpus.reading.record import (
    Fault,
    Fields,
    Reason,
    Record,
    Shard,
    record_of,
    show,
    value_at,
)
from ccx_ray.study.text_spec import SourceSpec


class RawBatch(NamedTuple):
    """Consecutive records of a shard, and the faults among them."""

    ids: pa.Array
    sources: pa.Array
    positions: npt.NDArray[np.int64]
    texts: tuple[pa.Array, ...]
    """One array a side."""
    faults: dict[int, Fault]
    """By row; the other arrays hold empty strings there."""


def assembled(entries: Sequence[Record | Fault], sides: int) -> RawBatch:
    """Records and faults of any format as one batch."""
    blank = ("",) * sides
    texts = [entry.texts if isinstance(entry, Record) else blank for entry in entries]
    return RawBatch(
        ids=pa.array([entry.id for entry in entries], pa.string()),
        sources=pa.array([e.source if isinstance(e, Record) else "" for e in entries], pa.string()),
        positions=np.array([entry.position for entry in entries], np.int64),
        texts=tuple(pa.array([t[side] for t in texts], pa.string()) for side in range(sides)),
        faults={row: entry for row, entry in enumerate(entries) if isinstance(entry, Fault)},
    )


def json_batches(shard: Shard, fields: Fields, record_bytes: int) -> Iterator[RawBatch]:
    """What ``read_jsonl`` yields, in batches of some MB."""
    for lines in read_lines(shard, record_bytes):
        batch = None if lines.fault else _parsed(lines, fields, shard)
        if batch is None:
            entries = list(_read_lines(lines, fields, shard))
            if not entries:
                continue
            batch = assembled(entries, len(fields.texts))
        yield batch
        if any(fault.ends_file for fault in batch.faults.values()):
            return


def _parsed(lines: Lines, fields: Fields, shard: Shard) -> RawBatch | None:
    """The lines parsed by Arrow, None where not every line is a valid record."""
    data = lines.data
    names = [fields.id or "", fields.source, *fields.texts]
    if not fields.id or len(set(names)) < len(names) or not _lines_in_braces(data):
        return None
    try:
        # Arrow takes bytes that are not UTF-8 for text, and passes over those of other fields.
        bounds = pa.py_buffer(np.array([0, len(data)], np.int64))
        pa.LargeStringArray.from_buffers(1, bounds, pa.py_buffer(data)).validate(full=True)
        table = pj.read_json(
            pa.BufferReader(data),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=pa.schema([(name, pa.string()) for name in names]),
                unexpected_field_behavior="ignore",
            ),
        )
    except pa.ArrowInvalid:
        return None
    # Every newline stands between two objects: as many objects as lines are one a line.
    if table.num_rows != lines.number:
        return None
    ids, sources, *texts = (one_array(table[name]) for name in names)
    if not all(pc.all(_not_blank(column)).as_py() for column in (ids, *texts)):
        return None
    return RawBatch(
        ids=ids,
        sources=pc.if_else(_not_blank(sources), sources, shard.file.name),
        positions=np.arange(lines.first, lines.first + lines.number, dtype=np.int64),
        texts=tuple(texts),
        faults={},
    )


def _lines_in_braces(data: bytes) -> bool:
    """Whether every line begins with a brace and ends with one, but for a carriage return."""
    if not data.startswith(b"{") or not data.endswith((b"}", b"}\r")):
        return False
    characters = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(characters == ord("\n"))
    ends = characters[newlines - 1]
    returns = ends == ord("\r")
    ends = np.where(returns, characters[newlines - 2], ends)
    return bool((ends == ord("}")).all() and (characters[newlines + 1] == ord("{")).all())


def _not_blank(texts: pa.Array) -> pa.Array:
    """In which texts there is something but white space."""
    blank = pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts))
    return pc.fill_null(pc.invert(blank), False)


def read_jsonl(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The records of a shard in order; blank lines are skipped.

    Measured on one core: 620 MB/s on documents of 6 kB, 170 MB/s on pairs of 290 bytes; 210 and 110
    where gzip has to be undone.
    """
    for batch in read_lines(shard, record_bytes):
        for found in _read_lines(batch, fields, shard):
            yield found
            if isinstance(found, Fault) and found.ends_file:
                return


def _read_lines(batch: Lines, fields: Fields, shard: Shard) -> Iterator[Record | Fault]:
    """The records of some lines of a shard, up to a fault behind which nothing can be read."""
    if batch.fault:
        yield batch.as_fault()
        return
    file, prefix = shard.file.name, shard.id_prefix
    loads, id_field, source_field = orjson.loads, fields.id, fields.source
    single = len(fields.texts) == 1
    texts_of: Callable[[Any], Any] = itemgetter(*fields.texts)
    if any("." in field for field in fields.texts):
        single, texts_of = False, partial(_values, fields=fields.texts)
    for position, line in enumerate(batch.lines, batch.first):
        try:
            content = loads(line)
            texts = texts_of(content)
            texts = (texts,) if single else texts
            name = f"{prefix}{position}" if id_field is None else content[id_field]
            source = content.get(source_field, file)
        except (ValueError, LookupError, TypeError, AttributeError):
            if line.strip():
                found = _examine(line, fields, position, shard)
                yield found
                if isinstance(found, Fault) and found.ends_file:
                    return
            continue
        for text in texts:
            if text.__class__ is not str or not text or text.isspace():
                break
        else:
            if name.__class__ is source.__class__ is str and name.strip() and source.strip():
                yield Record(name, source, position, texts)
                continue
        if name.__class__ is float:
            name = _as_spelt(line, str(id_field))
        yield record_of(name, source, position, texts, file)


def _as_spelt(line: bytes | str, field: str) -> Any:
    """The value of a field, a number as it is spelt: a float holds no whole number of 67 bits."""
    return value_at(json.loads(line, parse_int=str, parse_float=str), field)


def _examine(line: bytes, fields: Fields, position: int, shard: Shard) -> Record | Fault:
    """Why a line that is not blank is no record, or the record that orjson refuses."""

    def fault(reason: str, *, name: str = "", ends_file: bool = False) -> Fault:
        return Fault(name, position, reason, shown(line), ends_file)

    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return fault(Reason.NOT_UTF8)
    try:  # orjson refuses lone surrogates, NaN and very deep nesting in fields that nobody asks for
        content = json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError):
        if position == 1 and not shard.start and text.lstrip().startswith("["):
            return fault(Reason.JSON_ARRAY, ends_file=True)
        return fault(Reason.SEVERAL_OBJECTS if _holds_several(text) else Reason.NOT_JSON)
    if not isinstance(content, dict):
        return fault(Reason.NOT_AN_OBJECT)
    name = f"{shard.id_prefix}{position}"
    if fields.id is not None:
        name = _value(content, fields.id)
        if isinstance(name, int | float):
            name = _as_spelt(text, fields.id)
    try:
        texts = _values(content, fields.texts)
    except LookupError:
        return fault(Reason.MISSING_FIELD, name=show((name,)) if isinstance(name, str) else "")
    return record_of(name, _value(content, fields.source), position, texts, shard.file.name)


def _whole(digits: str) -> int | float:
    """Python refuses to read whole numbers of more than 4,300 digits."""
    return int(digits) if len(digits) < 4300 else float(digits)


def _values(content: Mapping[str, Any], fields: Sequence[str]) -> tuple[Any, ...]:
    return tuple(value_at(content, field) for field in fields)


def _value(content: Mapping[str, Any], field: str) -> Any:
    try:
        return value_at(content, field)
    except LookupError:
        return None


def _holds_several(text: str) -> bool:
    """Whether another object follows the first; a byte order mark may stand between them, where
    files without a last newline were joined."""
    try:
        first, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and text.lstrip()[end:].lstrip(" \t\r\ufeff").startswith("{")
