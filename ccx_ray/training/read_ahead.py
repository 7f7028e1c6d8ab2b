"""Prefetching: a thread reads the rows of the next steps while one is computed.

Invariant: the batches and their order are those of the iterator underneath; an error in reading is
raised where the batch was due.
"""

import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

AHEAD = 2
"""Batches; at length 2,048 and 256 rows a step one has 4 MB a worker."""


class ReadRows(NamedTuple):
    """One rank's share of a step."""

    tokens_BT: torch.Tensor
    """int64, in pinned memory where a GPU will take it."""
    checksum: int
    """Sum over the rows of what each holds and where it stands: equal whoever read them."""


def row_checksum(row: np.ndarray, global_row: int) -> int:
    """CRC-32 of a row's tokens [L] int32, begun from its place in the stream."""
    return zlib.crc32(np.ascontiguousarray(row).data, global_row & 0xFFFFFFFF)


@contextmanager
def read_ahead(
    batches: Iterator[np.ndarray],
    *,
    steps: int,
    first_row: int,
    rows_per_step: int,
    pin_memory: bool,
) -> Iterator[Iterator[ReadRows]]:
    """The ``ReadRows`` of ``steps`` steps; a context, so that no thread outlives the training.

    Args:
        batches: [B, L] int32 each, one a step.
        first_row: global row of the first batch's first row.
        rows_per_step: how far the next batch's first row is from that.
    """

    def read(step: int) -> ReadRows:
        batch_BT = next(batches)
        row = first_row + step * rows_per_step
        checksum = sum(row_checksum(ids, row + i) for i, ids in enumerate(batch_BT))
        tokens_BT = torch.from_numpy(batch_BT.astype(np.int64))
        return ReadRows(tokens_BT.pin_memory() if pin_memory else tokens_BT, checksum)

    def rows() -> Iterator[ReadRows]:
        pending = deque(thread.submit(read, step) for step in range(min(AHEAD, steps)))
        for step in range(AHEAD, steps + AHEAD):
            due = pending.popleft().result()
            if step < steps:
                pending.append(thread.submit(read, step))
            yield due

    thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        yield rows()
    finally:
        thread.shutdown(cancel_futures=True)
