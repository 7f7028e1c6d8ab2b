"""Prefetching: a thread reads the rows of the next steps while one is computed.

Invariant: the batches and their order are those of the iterator underneath; an error in reading is
raised where the batch was due.
"""

import queue
import threading
import zlib
from collections.abc import Iterator
from itertools import islice
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


class ReadAhead:
    """Iterates over ``ReadRows``; a context, so that no thread outlives the training."""

    def __init__(
        self,
        batches: Iterator[np.ndarray],
        *,
        steps: int,
        first_row: int,
        rows_per_step: int,
        pin_memory: bool,
    ) -> None:
        """
        Args:
            batches: [B, L] int32 each, one a step.
            steps: how many of them.
            first_row: global row of the first batch's first row.
            rows_per_step: how far the next batch's first row is from that.
        """
        self._batches = islice(batches, steps)
        self._first_row = first_row
        self._rows_per_step = rows_per_step
        self._pin_memory = pin_memory
        self._queue: queue.Queue[ReadRows | BaseException | None] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)

    def __enter__(self) -> Iterator[ReadRows]:
        self._thread.start()
        return self._iterate()

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        while self._thread.is_alive():
            # The reader may wait for room.
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.01)

    def _iterate(self) -> Iterator[ReadRows]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def _read(self) -> None:
        item: ReadRows | BaseException | None = None
        try:
            row = self._first_row
            for batch_BT in self._batches:
                checksum = sum(row_checksum(ids, row + i) for i, ids in enumerate(batch_BT))
                tokens_BT = torch.from_numpy(batch_BT.astype(np.int64))
                if self._pin_memory:
                    tokens_BT = tokens_BT.pin_memory()
                self._queue.put(ReadRows(tokens_BT, checksum))
                if self._closed.is_set():
                    return
                row += self._rows_per_step
        except BaseException as error:  # raised in the training, which waits for this batch
            item = error
        self._queue.put(item)
