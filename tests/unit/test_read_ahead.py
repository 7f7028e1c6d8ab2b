"""Rows read ahead: the same rows in the same order, errors where they are due, no thread left."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import pytest

from ccx_ray.training.read_ahead import ReadRows, read_ahead, row_checksum

ROWS = np.arange(6 * 4 * 5, dtype=np.int32).reshape(6, 4, 5)
"""Six steps of four rows of five tokens."""


def read(
    batches: Iterator[np.ndarray], steps: int = 6, first_row: int = 0
) -> AbstractContextManager[Iterator[ReadRows]]:
    return read_ahead(batches, steps=steps, first_row=first_row, rows_per_step=4, pin_memory=False)


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_batches_come_in_order_as_long_integers() -> None:
    with read(iter(ROWS)) as rows:
        found = [tokens_BT.numpy() for tokens_BT, _ in rows]
    np.testing.assert_array_equal(found, ROWS)
    assert found[0].dtype == np.int64


def test_the_checksum_of_a_step_does_not_depend_on_who_reads_which_rows() -> None:
    with read(iter(ROWS)) as rows:
        whole = [checksum for _, checksum in rows]
    halves = []
    for rank in range(2):
        share = (batch[2 * rank : 2 * rank + 2] for batch in ROWS)
        with read(share, first_row=2 * rank) as rows:
            halves.append([checksum for _, checksum in rows])
    assert [sum(both) for both in zip(*halves, strict=True)] == whole


def test_the_checksum_tells_other_tokens_and_other_places_apart() -> None:
    row = ROWS[0, 0]
    changed = row.copy()
    changed[3] += 1
    assert len({row_checksum(row, 7), row_checksum(row, 8), row_checksum(changed, 7)}) == 3


def test_an_error_is_raised_where_its_batch_was_due() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield ROWS[0]
        raise OSError("rows-00001.parquet: cannot be read")

    with read(broken()) as rows:
        np.testing.assert_array_equal(next(rows).tokens_BT.numpy(), ROWS[0])
        with pytest.raises(OSError, match="rows-00001"):
            next(rows)


def test_no_thread_is_left_when_the_training_ends_early() -> None:
    def endless() -> Iterator[np.ndarray]:
        while True:
            yield ROWS[0]

    with read(endless(), steps=1_000_000) as rows:
        next(rows)
        assert reader_threads()
    assert not reader_threads()
