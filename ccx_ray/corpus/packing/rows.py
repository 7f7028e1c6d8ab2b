"""Documents packed into rows of one length, with the origin of every token.

A *tape* is documents one behind the other, each followed by one closing token (end-of-text, or the
separator inside a bridge document). It is cut into rows of at most L tokens; what is missing in a
row is padding. Invariants: every token of the tape stands in exactly one row, in order; the
segments of a row name exactly the bytes of documents that its tokens spell, and closing tokens and
padding belong to no segment.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.tokenizing.tokens import Excerpt, Ints, spans


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
