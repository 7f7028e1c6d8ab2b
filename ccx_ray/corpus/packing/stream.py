"""The training stream: rows of one length, in an order that ``(seed, epoch)`` alone decides.

Global row ``g`` is row ``g mod rows`` of epoch ``g div rows``; optimizer step ``s`` consumes the
global rows ``[s * B, (s + 1) * B)`` and rank ``r`` the r-th contiguous slice of them, whatever the
number of workers and whatever was killed. Epoch 0 is the physical order, which was shuffled when
the stream was prepared; later epochs permute the row groups and the rows within each, so that
random access stays by row group.

Invariant: both readers, Parquet in this process and Ray Data tasks ahead of it, give the same
batches.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.parts import one_array
from ccx_ray.corpus.tokenizing.tokens import DOCUMENTS, REPLAY
from ccx_ray.errors import UserError

Ints = npt.NDArray[np.int64]
Batch = npt.NDArray[np.int32]

DESCRIPTION = "stream.json"
REPLAYED_DOCUMENTS = "replayed.parquet"
ROW_FILES = "rows-*.parquet"
OPEN_FILES = 16
"""Row files that a stream keeps open; the others are opened anew when they are asked for."""
TASKS_PER_PREFETCH = 1024
"""Reading tasks of one Ray Data execution; the next one starts when it is used up."""
ROWS_PER_RAY_TASK = 2048
"""Of one rank: a task must be worth its scheduling, and prefetching holds a few of them."""
CPUS_OF_A_READER = 0.1
"""Reading waits for storage and must not compete with the training that it feeds."""


SEGMENT = ("document", "start", "length")


def flat_segments(lists: pa.ListArray) -> list[Ints]:
    """Of the segments of some rows: the row among them, document, start and length."""
    flat = pc.list_flatten(lists)
    columns = [pc.list_parent_indices(lists), *(pc.struct_field(flat, name) for name in SEGMENT)]
    return [column.to_numpy() for column in columns]


def _tables(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield pa.Table.from_batches([batch])


def row_file_path(folder: Path, number: int) -> Path:
    """Where a file of rows stands."""
    return folder / f"rows-{number:05d}.parquet"


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A prepared stream; opening reads its description alone, and a file is opened when a row of it
    is asked for."""

    folder: Path
    rows: int
    sequence_length: int
    seed: int
    row_group_size: int
    rows_per_file: int
    """Whole row groups; the last file may hold fewer rows."""
    eos_id: int
    pad_id: int
    vocabulary_size: int
    fingerprint: str
    """Hash of the rows and of what decides their order."""
    counts: dict[str, Any] = field(repr=False)
    _open_files: dict[int, pq.ParquetFile] = field(default_factory=dict, repr=False, compare=False)
    """In the order in which they were last used."""
    _orders: dict[int, Ints] = field(default_factory=dict, repr=False, compare=False)
    _ids: dict[int, Batch] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path) -> "Stream":
        """Open a stream folder.

        Raises:
            UserError: it is none.
        """
        path = folder / DESCRIPTION
        if not path.is_file():
            raise UserError(f"stream: {str(folder)!r} has no {DESCRIPTION}; give a stream folder")
        description = json.loads(path.read_text("utf-8"))
        names = {field.name for field in fields(cls)} & description.keys()
        return cls(folder=folder, **{name: description[name] for name in names})

    def row_order(self, epoch: int) -> Ints:
        """[rows] physical rows in the order in which ``epoch`` consumes them."""
        if epoch == 0:
            return np.arange(self.rows, dtype=np.int64)
        random = np.random.default_rng((self.seed, epoch))
        starts = self._group_starts
        groups = random.permutation(len(starts) - 1)
        return np.concatenate(
            [starts[g] + random.permutation(starts[g + 1] - starts[g]) for g in groups]
        )

    def physical_rows(self, first_row: int, last_row: int) -> Ints:
        """Physical rows of the global rows ``[first_row, last_row)``."""
        parts = [np.zeros(0, np.int64)]
        while first_row < last_row:
            epoch, begin = divmod(first_row, self.rows)
            end = min(self.rows, begin + last_row - first_row)
            parts.append(self._cached_order(epoch)[begin:end])
            first_row += end - begin
        return np.concatenate(parts)

    def read(self, physical_rows: Ints) -> Batch:
        """[n, L] the ids of some rows, in the order asked for."""
        ids = np.empty((len(physical_rows), self.sequence_length), np.int32)
        for group, at, inside in self._by_group(physical_rows):
            ids[at] = self._group_ids(group)[inside]
        return ids

    def segments(self, physical_rows: Ints) -> pa.Table:
        """The segments of some rows: row (position in the request), document, start, length."""
        parts = [[np.zeros(0, np.int64)] * 4]
        for group, at, inside in self._by_group(physical_rows):
            lists = self._read_group(group, "segments").take(pa.array(inside))
            row, *columns = flat_segments(lists)
            parts.append([at[row], *columns])
        segments = [np.concatenate(column) for column in zip(*parts, strict=True)]
        # Stable: the segments of a row stay in the order of its tokens.
        order = np.argsort(segments[0], kind="stable")
        names = ("row", *SEGMENT)
        return pa.table({n: column[order] for n, column in zip(names, segments, strict=True)})

    def documents(self) -> pa.Table:
        """What the segments' document numbers mean: index, id, language, source, part."""
        return pa.concat_tables(self.document_batches())

    def document_batches(self) -> Iterator[pa.Table]:
        """``documents`` in pieces: those of the language's tokens, then the replayed ones, whose
        table is that of the base language's tokens."""
        first = 0
        for table in _tables(self.folder / DOCUMENTS):
            yield table
            first += table.num_rows
        if (self.folder / REPLAYED_DOCUMENTS).is_file():
            for replayed in _tables(self.folder / REPLAYED_DOCUMENTS):
                table = replayed.filter(pc.equal(replayed["part"], "monolingual"))
                numbered = table.set_column(0, "index", pc.add(table["index"], first))
                part = pa.array([REPLAY] * table.num_rows, pa.string())
                yield numbered.set_column(table.schema.get_field_index("part"), "part", part)

    def row_file(self, number: int) -> pq.ParquetFile:
        """One of ``rows-*.parquet``; of the files that are open the one used longest ago is closed
        where there would be too many."""
        file = self._open_files.pop(number, None)
        if file is None:
            if len(self._open_files) == OPEN_FILES:
                self._open_files.pop(next(iter(self._open_files))).close()
            file = pq.ParquetFile(row_file_path(self.folder, number))
        self._open_files[number] = file
        return file

    @cached_property
    def _group_starts(self) -> Ints:
        """[row groups + 1] first physical row of each, and the number of rows."""
        return np.append(np.arange(0, self.rows, self.row_group_size, dtype=np.int64), self.rows)

    def _cached_order(self, epoch: int) -> Ints:
        """The order of the epoch in use; the one before is forgotten."""
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = self.row_order(epoch)
        return self._orders[epoch]

    def _by_group(self, physical_rows: Ints) -> Iterator[tuple[int, Ints, Ints]]:
        """(row group, positions in the request, rows inside the group)."""
        groups = np.searchsorted(self._group_starts, physical_rows, side="right") - 1
        for group in np.unique(groups).tolist():
            at = np.flatnonzero(groups == group)
            yield group, at, physical_rows[at] - self._group_starts[group]

    def _read_group(self, group: int, column: str) -> pa.Array:
        file_number, number = divmod(group, self.rows_per_file // self.row_group_size)
        file = self.row_file(file_number)
        return one_array(file.read_row_group(number, columns=[column])[column])

    def _group_ids(self, group: int) -> Batch:
        """[rows of the group, L]; the last two groups are kept, as steps run through them."""
        if group not in self._ids:
            if len(self._ids) > 1:
                del self._ids[next(iter(self._ids))]
            flat = self._read_group(group, "input_ids").flatten().to_numpy()
            self._ids[group] = flat.reshape(-1, self.sequence_length)
        return self._ids[group]


def read_batches(
    stream: Stream,
    *,
    first_row: int,
    rows_per_step: int,
    rank: int,
    world_size: int,
    reader: Literal["direct", "ray"],
) -> Iterator[Batch]:
    """The batches of one rank, for ever: epochs follow one another, also within a step.

    Args:
        first_row: global row of the first step, for resuming.
        rows_per_step: of all ranks together.
        reader: ``direct`` reads Parquet in this process and starts anywhere within milliseconds;
            ``ray`` reads in Ray Data tasks ahead of the consumer and starts within seconds.

    Yields:
        [rows_per_step / world_size, L] int32.
    """
    assert rows_per_step % world_size == 0, "the study spec and the trainer refuse such sizes"
    share = rows_per_step // world_size
    begin = first_row + rank * share
    if reader == "ray":
        steps = max(1, ROWS_PER_RAY_TASK // share)
        yield from _prefetch(stream, begin=begin, stride=rows_per_step, rows=share, steps=steps)
    while reader == "direct":
        yield stream.read(stream.physical_rows(begin, begin + share))
        begin += rows_per_step


def _prefetch(stream: Stream, *, begin: int, stride: int, rows: int, steps: int) -> Iterator[Batch]:
    """Batches of ``rows`` global rows at ``begin``, ``begin + stride``, ... for ever, read ahead;
    ``steps`` of them by one task."""
    from ccx_ray.orchestration.ray_tasks import tables_in_order

    folder, length = stream.folder, stream.sequence_length

    def read(number: int, first: int) -> Iterator[pa.Table]:
        local = Stream.open(folder)
        begins = (first + (number * steps + step) * stride for step in range(steps))
        wanted = [local.physical_rows(at, at + rows) for at in begins]
        ids = local.read(np.concatenate(wanted))
        yield pa.table({"ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), length)})

    while True:
        for table in tables_in_order(
            TASKS_PER_PREFETCH, partial(read, first=begin), num_cpus=CPUS_OF_A_READER
        ):
            flat = table["ids"].combine_chunks().flatten().to_numpy()
            yield from flat.reshape(-1, rows, length)
        begin += TASKS_PER_PREFETCH * steps * stride
