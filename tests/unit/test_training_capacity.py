"""Who gets how many workers of a cluster, and what a training's files say about its workers."""

from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.study.spec import RuntimeSpec
from ccx_ray.study.training_spec import TrainingRuntime
from ccx_ray.training.capacity import (
    Share,
    check_evaluators,
    group_size,
    read_share,
    sharing_the_cluster,
    workers_that_fit,
)
from ccx_ray.training.notices import Notice, NoticeBoard, drop_save_request, request_save
from ccx_ray.training.restart_log import (
    FailureBudget,
    note_group_start,
    read_group_starts,
    read_incidents,
)


@pytest.mark.parametrize(
    ("nodes", "demand", "reserved", "expected"),
    [
        ([{"CPU": 2}], {"CPU": 0.75}, [{"CPU": 0.5}], 2),
        ([{"CPU": 1.5}, {"CPU": 1.5}], {"CPU": 1.0}, [], 2),  # 3 CPUs, but on no node two workers
        ([{"CPU": 8, "GPU": 1}, {"CPU": 1}], {"CPU": 1, "GPU": 1}, [], 1),
        ([{"CPU": 8, "GPU": 8}], {"CPU": 4, "GPU": 1}, [], 2),
        ([{"CPU": 4, "GPU": 4}], {"CPU": 1, "GPU": 1}, [{"CPU": 1, "GPU": 0.5}] * 2, 2),
        ([{"CPU": 1}], {"CPU": 1, "GPU": 0}, [], 1),
        ([{"CPU": 1}], {"CPU": 2}, [], 0),
        ([], {"CPU": 1}, [], 0),
    ],
)
def test_workers_are_counted_node_by_node(
    nodes: list[dict[str, float]],
    demand: dict[str, float],
    reserved: list[dict[str, float]],
    expected: int,
) -> None:
    assert workers_that_fit(nodes, demand, reserved=reserved) == expected


@pytest.mark.parametrize("capacity", [0, 1, 5, 8])
@pytest.mark.parametrize("trainings", [1, 2, 3, 16])
def test_shares_add_up_to_the_cluster(capacity: int, trainings: int) -> None:
    shares = [Share(trainings=trainings, position=i).of(capacity) for i in range(trainings)]
    assert sum(shares) == capacity
    assert max(shares) - min(shares) <= 1


def test_a_group_has_an_allowed_size_within_its_share() -> None:
    counts = (1, 2, 4)
    assert [group_size(counts, share) for share in (0, 1, 2, 3, 4, 9)] == [1, 1, 2, 2, 4, 4]
    assert [group_size(counts, 4, failed_starts=n) for n in (0, 1, 2, 3)] == [4, 2, 1, 1]


def test_trainings_that_come_and_go_change_the_shares_of_the_others(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert read_share(first) == Share()
    with sharing_the_cluster(first):
        with sharing_the_cluster(second):
            assert (read_share(first).of(3), read_share(second).of(3)) == (2, 1)
        assert read_share(first).of(3) == 3


def test_failures_and_preemptions_have_budgets_of_their_own(tmp_path: Path) -> None:
    budget = FailureBudget.of(TrainingRuntime(max_failures=1, max_preemptions=2), tmp_path)
    assert budget.charge("preemption", "node gone")
    assert budget.charge("failure", "OSError: no space")
    assert budget.charge("preemption", "node gone")
    assert not budget.charge("failure", "ValueError: bad row")
    assert str(budget.exhausted("ko-bridge-s0")) == (
        "ko-bridge-s0: training failed for good: ValueError: bad row (max_failures: 1)"
    )
    assert not budget.charge("preemption", "node gone")
    assert "max_preemptions: 2" in str(budget.exhausted("ko-bridge-s0"))
    again = FailureBudget.of(TrainingRuntime(max_failures=1, max_preemptions=2), tmp_path)
    assert again.charge("failure", "a new start has a whole budget")
    assert len(read_incidents(tmp_path)) == 6


def test_the_timeline_of_workers_outlives_a_torn_line(tmp_path: Path) -> None:
    """As after a power cut in the middle of a write."""
    note_group_start(tmp_path, workers=2, resumed_from=0)
    path = tmp_path / ".ray" / "workers.jsonl"
    path.write_bytes(path.read_bytes() + b'{"time": 17')
    note_group_start(tmp_path, workers=1, resumed_from=40)
    starts = [(start.workers, start.resumed_from) for start in read_group_starts(tmp_path)]
    assert starts == [(2, 0), (1, 40)]


def test_a_save_is_asked_for_once_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccx_ray.training.notices.LOOK_SECONDS", 0.0)
    boards = [NoticeBoard(tmp_path, rank=rank, is_leaving=lambda: False) for rank in (0, 1)]
    request_save(tmp_path)
    assert [board.read() for board in boards] == [Notice.SAVE, Notice.NONE]
    assert boards[0].read() is Notice.NONE
    drop_save_request(tmp_path)
    assert boards[0].read() is Notice.NONE
    request_save(tmp_path)
    assert boards[0].read() is Notice.SAVE


def test_every_rank_of_a_node_that_goes_away_says_so(tmp_path: Path) -> None:
    board = NoticeBoard(tmp_path, rank=1, is_leaving=lambda: True)
    assert board.read() is Notice.LEAVE


TWO_CORES = {"CPU": 2.0}


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        ({"cpus_per_evaluator": 3.0}, "an evaluator takes 3 CPU, and the largest node has 2 CPU"),
        ({"gpus_per_evaluator": 1.0}, "takes 0.5 CPU and 1 GPU, and the largest node has 2 CPU"),
        ({"evaluators": 3}, "3 of 0.5 CPU leave room for 0 workers of a trial"),
    ],
)
def test_evaluators_that_fit_nowhere_or_leave_no_room_are_refused_on_a_fixed_cluster(
    evaluation: dict[str, float], expected: str
):
    with pytest.raises(UserError, match=r"^runtime\.evaluation: ") as error:
        check_evaluators(
            RuntimeSpec.model_validate({"evaluation": evaluation}), [TWO_CORES], may_grow=False
        )
    assert expected in str(error.value)


def test_evaluators_that_fit_are_accepted():
    check_evaluators(RuntimeSpec(), [TWO_CORES], may_grow=False)


def test_a_cluster_that_may_grow_only_warns(
    caplog: pytest.LogCaptureFixture,
):
    runtime = RuntimeSpec.model_validate({"evaluation": {"gpus_per_evaluator": 1.0}})
    check_evaluators(runtime, [TWO_CORES], may_grow=True)
    assert "waits for nodes that are large enough" in caplog.text
