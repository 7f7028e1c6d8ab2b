"""Documents packed into rows of one length, with the origin of every token.

A *tape* is documents one behind the other, each followed by one closing token (end-of-text, or the
separator inside a bridge document). It is cut into rows of at most L tokens; what is missing in a
row is padding. Invariants: every token of the tape stands in exactly one row, in order; the
segments of a row name exactly the bytes of documents that its tokens spell, and closing tokens and
padding belong to no segment.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.packing.stream import row_file_path
from ccx_ray.corpus.tokenizing.encoding import Vocabulary
from ccx_ray.corpus.tokenizing.tokens import REPLAY, Excerpt, Ints, TokenCorpus, spans
from ccx_ray.storage.publishing import writing_aside

ROW_GROUP_SIZE = 256
"""Rows that are read together; at 2,048 tokens a group is 2 MB."""
TOKENS_PER_FILE = 8 * 2**20
"""One task of the preparation, which holds about 40 bytes a token in memory."""


@dataclass(frozen=True, kw_only=True)
class Tape:
    """Units, each a document and its closing token, and the rows that they are cut into."""

    documents: Ints
    """[units] document numbers."""
    closings: Ints
    """[units] token ids."""
    lengths: Ints
    """[units] tokens of the document, without the closing token."""
    bounds: Ints
    """[rows + 1] where on the tape each row begins, and where the last one ends; the last unit may
    reach beyond that and is then cut."""

    @property
    def rows(self) -> int:
        return len(self.bounds) - 1

    @property
    def tokens(self) -> int:
        return int(self.bounds[-1])

    @cached_property
    def ends(self) -> Ints:
        """[units] position after the closing token."""
        return np.cumsum(self.lengths + 1, dtype=np.int64)

    @property
    def cut_documents(self) -> int:
        """1 when the last document does not fit whole, else 0."""
        return int(len(self.ends) > 0 and self.ends[-1] - 1 > self.tokens)


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """The rows of several tapes, put into the order of the stream."""

    tapes: tuple[Tape, ...]
    order: Ints
    """[rows]: the row that stands at each position, counted through the tapes."""
    sequence_length: int
    seed: int
    counts: dict[str, Any]


def rows_per_file(sequence_length: int) -> int:
    """Rows that are packed by one task, whole row groups."""
    return max(1, TOKENS_PER_FILE // (sequence_length * ROW_GROUP_SIZE)) * ROW_GROUP_SIZE


def equal_bounds(tokens: int, sequence_length: int) -> Ints:
    """Bounds of full rows, the last one perhaps in part."""
    return np.append(np.arange(0, tokens, sequence_length, dtype=np.int64), tokens)


def cut_tape(tape: Tape, tokens: int, sequence_length: int) -> Tape:
    """The beginning of a tape: exactly ``tokens`` of them, where it has as many."""
    units = int(np.searchsorted(tape.ends, tokens, side="left")) + 1 if tokens else 0
    return Tape(
        documents=tape.documents[:units],
        closings=tape.closings[:units],
        lengths=tape.lengths[:units],
        bounds=equal_bounds(min(tokens, tape.tokens), sequence_length),
    )


def documents_in(tape: Tape, rows: Ints) -> Ints:
    """The documents of some rows; a document may come more than once."""
    first, units = _units_of(tape, rows)
    return tape.documents[spans(first, units)]


def _units_of(tape: Tape, rows: Ints) -> tuple[Ints, Ints]:
    """[rows] the first unit of each row, and how many units stand in it at least in part."""
    first, last = (
        np.searchsorted(tape.ends, position, side="right")
        for position in (tape.bounds[rows], tape.bounds[rows + 1] - 1)
    )
    return first, last - first + 1


class PackedRows(NamedTuple):
    """Rows as arrays; the segments of all rows, in the order of rows and of their tokens."""

    input_ids: npt.NDArray[np.int32]
    """[rows, L]"""
    segment_row: Ints
    """[segments] index into these rows, rising."""
    segment_document: Ints
    segment_start: Ints
    """[segments] first byte of the document."""
    segment_length: Ints
    """[segments] bytes."""
    segment_tokens: Ints


def pack_rows(
    tape: Tape,
    rows: Ints,
    excerpt: Excerpt,
    *,
    sequence_length: int,
    pad_id: int,
) -> PackedRows:
    """Some rows of a tape.

    Args:
        rows: which, in any order.
        excerpt: holds at least the documents of these rows.
    """
    first, units = _units_of(tape, rows)
    row = np.repeat(np.arange(len(rows), dtype=np.int64), units)
    unit = spans(first, units)
    # Where each unit begins and ends on the tape, cut to its row; the last position of a unit is
    # that of its closing token.
    row_begins, row_ends = tape.bounds[rows][row], tape.bounds[rows + 1][row]
    ends, lengths = tape.ends[unit], tape.lengths[unit]
    begins = ends - lengths - 1
    from_position = np.maximum(begins, row_begins)
    to_position = np.minimum(ends - 1, row_ends)
    in_row = from_position - row_begins + row * sequence_length

    input_ids = np.full(len(rows) * sequence_length, pad_id, np.int32)
    closed = ends <= row_ends
    input_ids[in_row[closed] + (ends - 1 - from_position)[closed]] = tape.closings[unit[closed]]
    text = np.flatnonzero(to_position > from_position)
    sizes = (to_position - from_position)[text]
    known = np.searchsorted(excerpt.documents, tape.documents[unit[text]])
    source = excerpt.starts[known] + (from_position - begins)[text]
    input_ids[spans(in_row[text], sizes)] = excerpt.tokens[spans(source, sizes)]

    before = excerpt.bytes_before
    start_bytes, end_bytes = (before[at].astype(np.int64) for at in (source, source + sizes))
    return PackedRows(
        input_ids=input_ids.reshape(len(rows), sequence_length),
        segment_row=row[text],
        segment_document=tape.documents[unit[text]],
        segment_start=start_bytes - before[excerpt.starts[known]],
        segment_length=end_bytes - start_bytes,
        segment_tokens=sizes,
    )


PARQUET_OF_ROWS: dict[str, Any] = {
    "compression": "lz4",
    "use_byte_stream_split": ["input_ids.list.element"],
    "use_dictionary": False,
    "write_statistics": False,
}
"""Ids whose bytes are told apart by significance compress as well by LZ4 as by zstd otherwise, and
are written at 340 MB/s instead of 210 on one core, and read at 840 instead of 600."""

SEGMENT = pa.struct([(name, pa.int64()) for name in ("document", "start", "length")])
PARTS = ("monolingual", "english", "target", REPLAY)


def rows_schema(sequence_length: int) -> pa.Schema:
    """The columns of ``rows-*.parquet``."""
    return pa.schema(
        [
            pa.field("input_ids", pa.list_(pa.int32(), sequence_length)),
            pa.field("segments", pa.list_(SEGMENT)),
        ]
    )


def file_numbers(plan: StreamPlan) -> range:
    """The files that a plan makes."""
    return range(-(-len(plan.order) // rows_per_file(plan.sequence_length)))


def write_rows(
    plan: StreamPlan, corpus: TokenCorpus, vocabulary: Vocabulary, folder: Path, number: int
) -> dict[str, Any]:
    """Write one file of rows; its content's hash and its token counts."""
    size = rows_per_file(plan.sequence_length)
    places = plan.order[number * size : (number + 1) * size]
    length = plan.sequence_length
    documents = [documents_in(tape, rows) for tape, rows, _ in _by_tape(plan, places) if len(rows)]
    excerpt = corpus.read(np.concatenate(documents), vocabulary.byte_lengths)
    content = hashlib.sha256()
    counts: Counter[str] = Counter()
    schema = rows_schema(length)
    with (
        writing_aside(row_file_path(folder, number)) as path,
        pq.ParquetWriter(path, schema, **PARQUET_OF_ROWS) as writer,
    ):
        for start in range(0, len(places), ROW_GROUP_SIZE):
            packed = _pack(plan, places[start : start + ROW_GROUP_SIZE], excerpt, vocabulary)
            for array in packed:
                content.update(array.tobytes())
            counts.update(_count_tokens(packed, corpus, vocabulary))
            writer.write_table(_table(packed, schema), row_group_size=ROW_GROUP_SIZE)
    return {"sha256": content.hexdigest(), "counts": dict(counts)}


def _by_tape(plan: StreamPlan, places: Ints) -> Iterator[tuple[Tape, Ints, Ints]]:
    """(tape, rows of it, their positions among ``places``)."""
    first = 0
    for tape in plan.tapes:
        size = tape.rows
        at = np.flatnonzero((places >= first) & (places < first + size))
        yield tape, places[at] - first, at
        first += size


def _pack(plan: StreamPlan, places: Ints, excerpt: Excerpt, vocabulary: Vocabulary) -> PackedRows:
    """The rows of one row group, on whichever tape they stand."""
    input_ids = np.empty((len(places), plan.sequence_length), np.int32)
    segments = []
    for tape, rows, at in _by_tape(plan, places):
        if len(rows):
            packed = pack_rows(
                tape,
                rows,
                excerpt,
                sequence_length=plan.sequence_length,
                pad_id=vocabulary.pad_id,
            )
            input_ids[at] = packed.input_ids
            segments.append(packed._replace(segment_row=at[packed.segment_row])[1:])
    columns = [np.concatenate(column) for column in zip(*segments, strict=True)]
    in_order = np.argsort(columns[0], kind="stable")
    return PackedRows(input_ids, *(column[in_order] for column in columns))


def _table(packed: PackedRows, schema: pa.Schema) -> pa.Table:
    rows, length = packed.input_ids.shape
    offsets = np.searchsorted(packed.segment_row, np.arange(rows + 1)).astype(np.int32)
    fields = (packed.segment_document, packed.segment_start, packed.segment_length)
    segments = pa.StructArray.from_arrays([pa.array(f) for f in fields], fields=list(SEGMENT))
    input_ids = pa.FixedSizeListArray.from_arrays(pa.array(packed.input_ids.ravel()), length)
    return pa.Table.from_arrays(
        [input_ids, pa.ListArray.from_arrays(pa.array(offsets), segments)], schema=schema
    )


def _count_tokens(
    packed: PackedRows, corpus: TokenCorpus, vocabulary: Vocabulary
) -> dict[str, int]:
    """Tokens by part of their document, and those that belong to no document."""
    document = packed.segment_document - corpus.monolingual
    part = np.where(document < 0, 0, 1 + document % 2)
    part[document >= 2 * corpus.pairs] = PARTS.index(REPLAY)
    text = np.bincount(part, weights=packed.segment_tokens, minlength=len(PARTS)).astype(int)
    ids = packed.input_ids
    padding, eos = (int((ids == i).sum()) for i in (vocabulary.pad_id, vocabulary.eos_id))
    return {
        **dict(zip(PARTS, text.tolist(), strict=True)),
        "end_of_text": eos,
        "separator": ids.size - int(text.sum()) - padding - eos,
        "padding": padding,
    }
