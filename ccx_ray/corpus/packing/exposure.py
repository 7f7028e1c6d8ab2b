"""The exposure ledger: which documents, and how often, had been consumed by a step of a training.

Invariant: an answer is what counting the segments of the global rows ``[0, step * rows a step)``
gives, epoch by epoch in the order of each, whatever the number of workers and restarts.

The ledger is the matrix of bytes by document and physical row, kept sparse: 8 bytes a segment and
16 a document. Measured on one core: a stream of 1,000,000 rows, 3.7 million segments and 2.7
million documents opens in 1 to 2 s and holds 67 MB; 400 questions of 50 documents at 50 checkpoints
are then answered in 0.15 s, one by one, with their ids looked up.

**The length of a document** is the largest end of its segments anywhere in the stream. That is
exact for every document that stands in the stream whole, in whichever pass. Of one that the end of
the stream cuts and that is nowhere whole, only the beginning that is shown is known: its ``times``
are too high, 1.0 being all that this stream shows of it. ``Stream.counts`` says of how many that
can be true (``documents_cut_at_the_end``): of two in a trial's stream at most, of none in a base's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.packing.stream import ROW_FILES, Ints, Stream, flat_segments
from ccx_ray.corpus.parts import one_array
from ccx_ray.corpus.tokenizing.tokens import PARTS, spans

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_Bytes = tuple[Ints, Ints, Ints]
"""Document, row, and bytes of the document in the row."""

EPOCHS_REMEMBERED = 8
"""Whose orders are kept; 4 bytes a row each."""


class Exposures(NamedTuple):
    """What a training had consumed of some documents by some steps."""

    bytes: Ints
    """[documents, steps]"""
    times: npt.NDArray[np.float64]
    """[documents, steps] ``bytes`` by the document's length: 1.0 is once, in full."""
    first_step: Ints
    """[documents] the step that first touches it, however long the training; -1 for never."""


@dataclass(frozen=True, kw_only=True)
class ExposureLedger:
    """Answers for every training on one stream at one number of rows a step, of all workers."""

    stream: Stream
    rows_per_step: int
    lengths: Ints
    """[documents] bytes of each as it stands in the corpus, 0 where the stream never shows it."""
    _bytes: "csr_array" = field(repr=False)
    """[documents, rows] bytes of the document in the physical row."""
    _positions: dict[int, npt.NDArray[np.int32]] = field(default_factory=dict, repr=False)
    """Epoch -> [rows] the position of each physical row in it."""
    _indexes: dict[str, "PartIds"] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, stream: Stream, *, rows_per_step: int) -> "ExposureLedger":
        """Read the segments of the whole stream, file by file, and nothing of its tokens."""
        documents = sum(batch.num_rows for batch in stream.document_batches())
        lengths = np.zeros(documents, np.int64)

        def shown() -> Iterator[_Bytes]:
            for row, document, start, length in _segments(stream):
                np.maximum.at(lengths, document, start + length)
                yield document, row, length

        matrix = _matrix(shown(), documents, stream.rows)
        return cls(stream=stream, rows_per_step=rows_per_step, lengths=lengths, _bytes=matrix)

    @classmethod
    def of_spans(
        cls, stream: Stream, *, rows_per_step: int, documents: Ints, starts: Ints, lengths: Ints
    ) -> "ExposureLedger":
        """A ledger of spans of documents, whose documents are these spans in their order, in bytes;
        nothing is consumed of a span of document -1."""
        order = np.argsort(documents, kind="stable")
        of_span = documents[order]

        def shown() -> Iterator[_Bytes]:
            for row, document, start, length in _segments(stream):
                first = np.searchsorted(of_span, document, side="left")
                many = np.searchsorted(of_span, document, side="right") - first
                segment = np.repeat(np.arange(len(document)), many)
                span = order[spans(first, many)]
                begins = np.maximum(start[segment], starts[span])
                ends = np.minimum((start + length)[segment], (starts + lengths)[span])
                shared = np.flatnonzero(ends > begins)
                yield span[shared], row[segment[shared]], (ends - begins)[shared]

        matrix = _matrix(shown(), len(documents), stream.rows)
        return cls(stream=stream, rows_per_step=rows_per_step, lengths=lengths, _bytes=matrix)

    def consumed(self, documents: Ints, steps: Ints) -> Exposures:
        """What had been consumed when each of the steps was complete.

        Args:
            documents: numbers as ``numbers`` gives them; of -1 nothing was consumed.
            steps: optimizer steps, from 1; 0 is before the training. In any order.

        Raises:
            IndexError: a number is not of this stream.
        """
        documents, steps = np.asarray(documents, np.int64), np.asarray(steps, np.int64)
        assert (steps >= 0).all(), "steps count from 1"
        known = np.flatnonzero(documents >= 0)
        begins = self._bytes.indptr[documents[known]].astype(np.int64)
        counts = self._bytes.indptr[documents[known] + 1] - begins
        ends = np.cumsum(counts)
        places = np.arange(counts.sum()) + np.repeat(begins - ends + counts, counts)
        member = np.repeat(known, counts)
        rows, sizes = self._bytes.indices[places], self._bytes.data[places]

        epochs, within = np.divmod(steps * self.rows_per_step, self.stream.rows)
        an_epoch = np.bincount(member, sizes, len(documents)).astype(np.int64)
        consumed = epochs * an_epoch[:, None]
        for epoch in np.unique(epochs[within > 0]).tolist():
            asked = np.flatnonzero(epochs == epoch)
            asked = asked[np.argsort(within[asked])]
            # Whatever stands at a position is consumed by the steps that end behind it.
            since = np.searchsorted(within[asked], self._position(epoch)[rows], side="right")
            shape = (len(documents), len(asked) + 1)
            added = np.bincount(member * shape[1] + since, sizes, shape[0] * shape[1])
            consumed[:, asked] += np.cumsum(added.astype(np.int64).reshape(shape), axis=1)[:, :-1]

        first_step = np.full(len(documents), -1, np.int64)
        shown = counts > 0
        first_row = self._bytes.indices[begins[shown]]
        first_step[known[shown]] = first_row // self.rows_per_step + 1
        lengths = np.zeros(len(documents), np.int64)
        lengths[known] = self.lengths[documents[known]]
        return Exposures(consumed, consumed / np.maximum(lengths, 1)[:, None], first_step)

    def consumed_documents(self, step: int) -> pa.Table:
        """Every document of which anything was consumed by a step, for people to read.

        Returns:
            index, id, language, part, times; in the order of the documents' numbers.
        """
        epoch, within = divmod(step * self.rows_per_step, self.stream.rows)
        sizes = self._bytes.data.astype(np.int64)
        sizes *= epoch + (self._position(epoch)[self._bytes.indices] < within)
        before = np.concatenate([[0], np.cumsum(sizes)])
        consumed = np.diff(before[self._bytes.indptr])
        documents = np.flatnonzero(consumed)
        columns = ["index", "id", "language", "part"]
        table = self.stream.documents().select(columns)
        times = consumed[documents] / np.maximum(self.lengths[documents], 1)
        return table.take(pa.array(documents)).append_column("times", pa.array(times))

    def numbers(self, ids: Sequence[str], *, part: str = "monolingual") -> Ints:
        """[ids] the numbers of documents by their ids in one part; -1 where there is none.

        The first question about a part reads its ids, which stay in memory.

        Raises:
            ValueError: there is no such part.
        """
        if part not in self._indexes:
            self._indexes[part] = PartIds.of(self.stream, part)
        return self._indexes[part].find(ids)

    def _position(self, epoch: int) -> npt.NDArray[np.int32]:
        if epoch not in self._positions:
            if len(self._positions) == EPOCHS_REMEMBERED:
                del self._positions[next(iter(self._positions))]
            position = np.empty(self.stream.rows, np.int32)
            position[self.stream.row_order(epoch)] = np.arange(self.stream.rows, dtype=np.int32)
            self._positions[epoch] = position
        return self._positions[epoch]


def _segments(stream: Stream) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Physical row, document, start and length of all segments, file by file."""
    first_row = 0
    for path in sorted(stream.folder.glob(ROW_FILES)):
        with pq.ParquetFile(path) as file:
            lists = one_array(file.read(columns=["segments"])["segments"])
        row, document, start, length = flat_segments(lists)
        yield row + first_row, document, start, length
        first_row += len(lists)
    assert first_row == stream.rows, "the description is written after all rows"


def _matrix(shown: Iterator[_Bytes], documents: int, rows: int) -> "csr_array":
    """[documents, rows] sums."""
    from scipy.sparse import coo_array

    empty = (np.zeros(0, np.int32),) * 3
    narrow = [tuple(column.astype(np.int32) for column in part) for part in shown]
    document, row, size = (np.concatenate(c) for c in zip(empty, *narrow, strict=True))
    return coo_array((size, (document, row)), shape=(documents, rows)).tocsr()


@dataclass(frozen=True, kw_only=True)
class PartIds:
    """The ids of one part of a stream's documents."""

    ids: pa.ChunkedArray
    numbers: Ints

    @classmethod
    def of(cls, stream: Stream, part: str) -> "PartIds":
        """
        Raises:
            ValueError: there is no such part.
        """
        if part not in PARTS:
            raise ValueError(f"part {part!r} must be one of {', '.join(PARTS)}")
        tables = (t.select(["index", "id", "part"]) for t in stream.document_batches())
        table = pa.concat_tables(t.filter(pc.equal(t["part"], part)) for t in tables)
        return cls(ids=table["id"], numbers=table["index"].to_numpy())

    def find(self, ids: Sequence[str]) -> Ints:
        """[ids] numbers, or -1; the ids of the part are searched through once."""
        place = {name: number for number, name in enumerate(dict.fromkeys(ids))}
        wanted = pc.index_in(self.ids, value_set=pa.array(place, pa.string()))
        found = np.full(len(place), -1, np.int64)
        found[wanted.drop_null().to_numpy()] = self.numbers[wanted.is_valid().to_numpy()]
        return found[[place[name] for name in ids]] if ids else found
