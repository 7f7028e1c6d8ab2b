"""The Ray Data reader of a stream: batches read ahead in tasks, in the same order."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from ccx_ray.corpus.packing.stream import Batch, Stream
from ccx_ray.orchestration.ray_tasks import tables_in_order

TASKS_PER_PREFETCH = 1024
"""Reading tasks of one Ray Data execution; the next one starts when it is used up."""
CPUS_OF_A_READER = 0.1
"""Reading waits for storage and must not compete with the training that it feeds."""


def prefetch(stream: Stream, *, begin: int, stride: int, rows: int, steps: int) -> Iterator[Batch]:
    """Batches of ``rows`` global rows at ``begin``, ``begin + stride``, ... for ever, read ahead.

    Args:
        steps: batches of one task.
    """

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
