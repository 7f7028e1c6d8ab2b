"""A stalled rank: noticed by those who wait for it, and named."""

import json
import os
import time
from pathlib import Path

import pytest

from ccx_ray.training.stall import (
    COMPUTING,
    EXIT_STALLED,
    RANKS,
    StallWatch,
    describe_stall,
    stall_note,
)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which the process was to be ended."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


def rank(number: int, step: int, at: str, *, since: float = 100.0, seen: float = 160.0) -> dict:
    return {"rank": number, "step": step, "at": at, "since": since, "seen": seen}


def test_the_rank_that_the_others_wait_for_is_named() -> None:
    ranks = [rank(0, 20, COMPUTING), rank(1, 20, "reading rows"), rank(2, 20, COMPUTING)]
    assert describe_stall(ranks, beat=1) == "rank 1 has been reading rows at step 20 for 60 s"


def test_a_rank_that_is_a_step_behind_is_named() -> None:
    ranks = [rank(0, 21, COMPUTING), rank(1, 20, "saving"), rank(2, 21, "reading rows")]
    assert describe_stall(ranks, beat=1) == "rank 1 has been saving at step 20 for 60 s"


def test_a_stopped_process_is_told_by_its_silence() -> None:
    ranks = [rank(0, 20, COMPUTING), rank(1, 20, COMPUTING, seen=120.0)]
    assert describe_stall(ranks, beat=1) == ("rank 1 has not moved for 40 s (step 20, computing)")


def test_where_nobody_can_be_told_apart_all_are_named() -> None:
    ranks = [rank(0, 20, COMPUTING), rank(1, 20, COMPUTING)]
    assert describe_stall(ranks, beat=1).count("has been computing at step 20") == 2


def test_a_stalled_process_is_ended_and_leaves_a_note(tmp_path: Path, ended: list[int]) -> None:
    (tmp_path / RANKS).mkdir()
    gone = rank(7, 1, "reading rows")
    (tmp_path / RANKS / "rank-00007.json").write_text(json.dumps(gone))
    watch = StallWatch(tmp_path, rank=0, workers=2, seconds=0.5)
    watch.at(3, "reading rows")
    deadline = time.monotonic() + 60
    while not ended:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    watch.stop()
    assert ended == [EXIT_STALLED]
    note = stall_note(tmp_path, seconds=60)
    assert note is not None and note.startswith("rank 0 has been reading rows at step 3")


def test_progress_is_no_stall(tmp_path: Path, ended: list[int]) -> None:
    watch = StallWatch(tmp_path, rank=0, workers=1, seconds=2.0)
    for step in range(30):
        watch.at(step, COMPUTING)
        time.sleep(0.1)
    watch.stop()
    assert not ended and stall_note(tmp_path, seconds=60) is None
