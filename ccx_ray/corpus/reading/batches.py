"""Records as Arrow arrays, many at a time: what the isolation works on.

JSON Lines whose lines are all in order are parsed by Arrow straight into arrays (370 to 590 MB/s on
one core, where Python objects between allow 100 to 250); a block in which anything is amiss is read
again record by record, so that the outcome is that of ``sources.read_shard``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from ccx_ray.corpus.parts import one_array
from ccx_ray.corpus.reading.jsonl import read_json_lines
from ccx_ray.corpus.reading.lines import Lines, read_lines
from ccx_ray.corpus.reading.record import Fault, Fields, Record, Shard, fields_of
from ccx_ray.corpus.reading.sources import format_of, read_shard
from ccx_ray.study.text_spec import SourceSpec

Ints = npt.NDArray[np.int64]

CHARACTERS_PER_BATCH = 4 * 2**20
RECORDS_PER_BATCH = 16_384


class RawBatch(NamedTuple):
    """Consecutive records of a shard, and the faults among them."""

    ids: pa.Array
    sources: pa.Array
    positions: Ints
    texts: tuple[pa.Array, ...]
    """One array a side."""
    faults: dict[int, Fault]
    """By row; the other arrays hold empty strings there."""


def raw_batches(
    shard: Shard, source: SourceSpec, *, sides: tuple[str, ...], record_bytes: int
) -> Iterator[RawBatch]:
    """What ``sources.read_shard`` yields, in batches of some MB."""
    if not source.dataset and format_of(shard.file, source, "path") == "jsonl":
        yield from _json_batches(shard, fields_of(source, sides), record_bytes)
        return
    entries: list[Record | Fault] = []
    characters = 0
    for entry in read_shard(shard, source, sides=sides, record_bytes=record_bytes):
        entries.append(entry)
        if isinstance(entry, Record):
            characters += sum(map(len, entry.texts))
        if characters >= CHARACTERS_PER_BATCH or len(entries) == RECORDS_PER_BATCH:
            yield _assembled(entries, len(sides))
            entries, characters = [], 0
    if entries:
        yield _assembled(entries, len(sides))


def _json_batches(shard: Shard, fields: Fields, record_bytes: int) -> Iterator[RawBatch]:
    for lines in read_lines(shard, record_bytes):
        batch = None if lines.fault else _parsed(lines, fields, shard)
        if batch is None:
            entries = list(read_json_lines(lines, fields, shard))
            if not entries:
                continue
            batch = _assembled(entries, len(fields.texts))
        yield batch
        if any(fault.ends_file for fault in batch.faults.values()):
            return


def _parsed(lines: Lines, fields: Fields, shard: Shard) -> RawBatch | None:
    """The lines parsed by Arrow, None where not every line is a valid record."""
    data = lines.data
    names = [fields.id or "", fields.source, *fields.texts]
    table = _parse(data, names) if fields.id and len(set(names)) == len(names) else None
    # Fewer objects than lines: some are blank, or an object goes over several.
    if table is None or table.num_rows != lines.number:
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


def _parse(data: bytes, names: Sequence[str]) -> pa.Table | None:
    """JSON objects as a table of strings, None where anything in them is not as it must be."""
    try:
        # Arrow takes bytes that are not UTF-8 for text, and passes over those of other fields.
        _whole(data).validate(full=True)
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
    return table


def _whole(data: bytes) -> pa.Array:
    """The data as one string, without a copy."""
    offsets = np.array([0, len(data)], np.int64)
    return pa.LargeStringArray.from_buffers(1, pa.py_buffer(offsets), pa.py_buffer(data))


def _not_blank(texts: pa.Array) -> pa.Array:
    """In which texts there is something but white space."""
    blank = pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts))
    return pc.fill_null(pc.invert(blank), False)


def _assembled(entries: Sequence[Record | Fault], sides: int) -> RawBatch:
    blank = ("",) * sides
    texts = [entry.texts if isinstance(entry, Record) else blank for entry in entries]
    return RawBatch(
        ids=pa.array([entry.id for entry in entries], pa.string()),
        sources=pa.array([e.source if isinstance(e, Record) else "" for e in entries], pa.string()),
        positions=np.array([entry.position for entry in entries], np.int64),
        texts=tuple(pa.array([t[side] for t in texts], pa.string()) for side in range(sides)),
        faults={row: entry for row, entry in enumerate(entries) if isinstance(entry, Fault)},
    )
