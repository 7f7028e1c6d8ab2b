"""Who gets how many workers of a cluster, and what a training's files say about its workers."""

from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.study.spec import RuntimeSpec
from ccx_ray.study.training_spec import TrainingRuntime
from ccx_ray.training.capacity import (
    check_evaluators,
    fair_share,
    group_size,
    read_share,
    sharing_the_cluster,
    workers_that_fit,
)
from ccx_ray.training.run_time_files import (
    GROUPS,
    INCIDENTS,
    FailureBudget,
    NoticeBoard,
    drop_save_request,
    log_restart,
    read_restarts,
    request_save,
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
    shares = [fair_share(capacity, trainings=trainings, position=i) for i in range(trainings)]
    assert sum(shares) == capacity
    assert max(shares) - min(shares) <= 1


def test_a_group_has_an_allowed_size_within_its_share() -> None:
    counts = (1, 2, 4)
    assert [group_size(counts, share) for share in (0, 1, 2, 3, 4, 9)] == [1, 1, 2, 2, 4, 4]
    assert [group_size(counts, 4, failed_starts=n) for n in (0, 1, 2, 3)] == [4, 2, 1, 1]


def test_trainings_that_come_and_go_change_the_shares_of_the_others(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert fair_share(3, **read_share(first)) == 3
    with sharing_the_cluster(first):
        with sharing_the_cluster(second):
            assert [fair_share(3, **read_share(folder)) for folder in (first, second)] == [2, 1]
        assert fair_share(3, **read_share(first)) == 3


def test_failures_and_preemptions_have_budgets_of_their_own(tmp_path: Path) -> None:
    budget = FailureBudget(TrainingRuntime(max_failures=1, max_preemptions=2), tmp_path)
    assert budget.charge("preemption", "node gone")
    assert budget.charge("failure", "OSError: no space")
    assert budget.charge("preemption", "node gone")
    assert not budget.charge("failure", "ValueError: bad row")
    assert str(budget.exhausted("ko-bridge-s0")) == (
        "ko-bridge-s0: training failed for good: ValueError: bad row (max_failures: 1)"
    )
    assert not budget.charge("preemption", "node gone")
    assert "max_preemptions: 2" in str(budget.exhausted("ko-bridge-s0"))
    again = FailureBudget(TrainingRuntime(max_failures=1, max_preemptions=2), tmp_path)
    assert again.charge("failure", "a new start has a whole budget")
    assert len(read_restarts(tmp_path, INCIDENTS)) == 6


def test_the_timeline_of_workers_outlives_a_torn_line(tmp_path: Path) -> None:
    """As after a power cut in the middle of a write."""
    log_restart(tmp_path, GROUPS, workers=2, resumed_from=0)
    path = tmp_path / ".ray" / "workers.jsonl"
    path.write_bytes(path.read_bytes() + b'{"time": 17')
    log_restart(tmp_path, GROUPS, workers=1, resumed_from=40)
    starts = [(s["workers"], s["resumed_from"]) for s in read_restarts(tmp_path, GROUPS)]
    assert starts == [(2, 0), (1, 40)]


def test_a_save_is_asked_for_once_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccx_ray.training.run_time_files.LOOK_SECONDS", 0.0)
    boards = [NoticeBoard(tmp_path, rank=rank, is_leaving=lambda: False) for rank in (0, 1)]
    request_save(tmp_path)
    assert [board.read() for board in boards] == [(False, True), (False, False)]
    assert boards[0].read() == (False, False)
    drop_save_request(tmp_path)
    assert boards[0].read() == (False, False)
    request_save(tmp_path)
    assert boards[0].read() == (False, True)


def test_every_rank_of_a_node_that_goes_away_says_so(tmp_path: Path) -> None:
    board = NoticeBoard(tmp_path, rank=1, is_leaving=lambda: True)
    assert board.read() == (True, False)


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
    assert "waits for larger nodes" in caplog.text
