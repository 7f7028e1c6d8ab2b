"""The order of a stream: a function of seed and epoch, whatever the workers, wherever it starts."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from ccx_ray.corpus.packing.stream import Stream, read_batches
from ccx_ray.errors import UserError
from tests.training_runs import write_stream

ROWS, BATCH = 100, 8


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """100 rows in row groups of 16: neither groups nor epochs end where steps do."""
    folder = tmp_path_factory.mktemp("stream") / "stream"
    return Stream.open(write_stream(folder, rows=ROWS))


def batches(stream: Stream, first_row: int = 0, *, rank: int = 0, world_size: int = 1):
    return read_batches(
        stream,
        first_row=first_row,
        rows_per_step=BATCH,
        rank=rank,
        world_size=world_size,
        reader="direct",
    )


def steps(stream: Stream, count: int, **where: int) -> list[np.ndarray]:
    return list(itertools.islice(batches(stream, **where), count))


def test_every_row_once_an_epoch(stream: Stream) -> None:
    everything = stream.read(np.arange(ROWS))
    assert len(np.unique(everything, axis=0)) == ROWS
    consumed = np.concatenate(steps(stream, 3 * ROWS // BATCH + 1))
    for epoch in range(3):
        rows = consumed[epoch * ROWS : (epoch + 1) * ROWS]
        assert sorted(map(bytes, rows)) == sorted(map(bytes, everything))
    assert np.array_equal(consumed[:ROWS], everything), "the first epoch is the physical order"


def test_epochs_differ_and_seeds_decide(stream: Stream, tmp_path: Path) -> None:
    orders = [stream.row_order(epoch).tolist() for epoch in range(4)]
    assert all(sorted(order) == list(range(ROWS)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert Stream.open(stream.folder).row_order(2).tolist() == orders[2]
    other = Stream.open(write_stream(tmp_path / "other", rows=ROWS, seed=1))
    assert other.row_order(2).tolist() != orders[2]


def test_later_epochs_keep_row_groups_together(stream: Stream) -> None:
    order = stream.row_order(1) // 16
    assert len([group for group, _ in itertools.groupby(order)]) == 7


def test_two_workers_see_what_one_sees(stream: Stream) -> None:
    alone = steps(stream, 30)
    shared = zip(*(steps(stream, 30, rank=r, world_size=2) for r in (0, 1)), strict=True)
    for one, two in zip(alone, shared, strict=True):
        assert one.shape == (BATCH, stream.sequence_length)
        assert one.dtype == np.int32
        assert np.array_equal(one, np.concatenate(two))


@pytest.mark.parametrize("step", [1, 5, 12, 13, 40])
def test_resuming_continues_where_it_stopped(stream: Stream, step: int) -> None:
    undisturbed = steps(stream, step + 10)[step:]
    fresh = Stream.open(stream.folder)
    for world_size in (1, 2):
        ranks = [
            steps(fresh, 10, first_row=step * BATCH, rank=r, world_size=world_size)
            for r in range(world_size)
        ]
        resumed = [np.concatenate(parts) for parts in zip(*ranks, strict=True)]
        assert all(np.array_equal(a, b) for a, b in zip(undisturbed, resumed, strict=True))


def test_a_batch_is_the_readers_own(stream: Stream) -> None:
    """Writing into one, as for a prefix or a mask, must not change what is read later."""
    first = next(batches(stream))
    before = first.copy()
    first[:] = -1
    assert np.array_equal(next(batches(stream)), before)


def test_a_folder_without_a_stream_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no stream\.json"):
        Stream.open(tmp_path)
