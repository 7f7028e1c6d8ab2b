"""Readers of a stream: Parquet in this process, or Ray Data tasks ahead of it; equal batches."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa

from ccx_ray.corpus.packing.stream import Batch, Stream

TASKS_PER_PREFETCH = 1024
"""Reading tasks of one Ray Data execution; the next one starts when it is used up."""
ROWS_PER_RAY_TASK = 2048
"""Of one rank: a task must be worth its scheduling, and prefetching holds a few of them."""
CPUS_OF_A_READER = 0.1
"""Reading waits for storage and must not compete with the training that it feeds."""


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
    """Batches of ``rows`` global rows at ``begin``, ``begin + stride``, ... for ever, read ahead.

    Args:
        steps: batches of one task.
    """
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
            TASKS_PER_PREFETCH, partial(read, first=begin), CPUS_OF_A_READER
        ):
            flat = table["ids"].combine_chunks().flatten().to_numpy()
            yield from flat.reshape(-1, rows, length)
        begin += TASKS_PER_PREFETCH * steps * stride
