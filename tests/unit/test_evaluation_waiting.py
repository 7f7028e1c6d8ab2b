"""The order in which checkpoints are scored, and what follows when an evaluator dies."""

from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path

import pytest

from ccx_ray.evaluation.evaluator import Evaluation, WaitingEvaluations
from ccx_ray.evaluation.following import coarse_first
from ccx_ray.study.spec import EvaluationRuntime


def evaluation(step: int, *, run: str = "ko-bridge-s0", priority: int = 0) -> Evaluation:
    return Evaluation(
        run=run,
        step=step,
        model_folder=Path("model"),
        probes=(),
        result=Path(f"{run}-{step}.parquet"),
        priority=priority,
    )


def drained(waiting: WaitingEvaluations) -> list[int]:
    """The steps in the order in which they are given out; each is done at once."""
    steps = []
    while (taken := waiting.take()) is not None:
        steps.append(taken.step)
        waiting.resolve(taken, None)
    return steps


@pytest.mark.parametrize(
    ("count", "by_priority"),
    [
        (0, []),
        (1, [[1]]),
        (2, [[2], [1]]),
        (3, [[3], [2], [1]]),
        (8, [[8], [4], [2, 6], [1, 3, 5, 7]]),
        (10, [[10], [5], [3, 8], [2, 4, 7, 9], [1, 6]]),
    ],
)
def test_the_end_comes_first_then_the_middle_then_the_quarters(
    count: int, by_priority: list[list[int]]
):
    steps = [60 * (place + 1) for place in range(count)]
    found = coarse_first(steps)
    assert found == {
        60 * place: priority for priority, places in enumerate(by_priority) for place in places
    }


@pytest.mark.parametrize("count", range(1, 200))
def test_every_step_has_a_priority_and_few_fill_the_curve_evenly(count: int):
    steps = list(range(1, count + 1))
    found = coarse_first(steps)
    assert sorted(found) == steps
    for priority in range(max(found.values())):
        outline = [0, *sorted(step for step in steps if found[step] <= priority)]
        gaps = {high - low for low, high in pairwise(outline)}
        assert max(gaps) - min(gaps) <= 1


def test_what_waits_is_given_out_by_priority_then_by_arrival():
    waiting = WaitingEvaluations(EvaluationRuntime())
    for step, priority in ((1, 2), (2, 1), (3, 2), (4, 0), (5, 1)):
        waiting.put(evaluation(step, priority=priority))
    assert drained(waiting) == [4, 2, 5, 1, 3]
    waiting.put(evaluation(6, priority=9))
    assert drained(waiting) == [6], "what has been done does not come back"


def test_what_was_begun_comes_first():
    waiting = WaitingEvaluations(EvaluationRuntime())
    late = evaluation(1, priority=9)
    waiting.put(late)
    assert waiting.take() is late
    waiting.put(evaluation(2, priority=0))
    waiting.died(late, "failure", "killed")
    assert drained(waiting) == [1, 2]


def test_a_submission_that_waits_or_runs_is_not_queued_again():
    waiting = WaitingEvaluations(EvaluationRuntime())
    future = waiting.put(evaluation(1))
    assert waiting.put(evaluation(1)) is future
    taken = waiting.take()
    assert waiting.put(evaluation(1)) is future
    assert waiting.take() is None
    assert taken is not None
    waiting.resolve(taken, None)
    assert future.result(timeout=0) is None


def dies(runtime: EvaluationRuntime, *deaths: str) -> Future[None]:
    """The future of an evaluation whose evaluator dies so, one death after another."""
    waiting = WaitingEvaluations(runtime)
    future = waiting.put(evaluation(60))
    for death in deaths:
        taken = waiting.take()
        assert taken is not None, "given up too early"
        waiting.died(taken, "preemption" if death == "preemption" else "failure", "signal 9")
    return future


def test_failures_and_lost_nodes_have_budgets_of_their_own():
    runtime = EvaluationRuntime(max_failures=2, max_preemptions=1)
    assert not dies(runtime, "failure", "preemption", "failure").done()
    failed = dies(runtime, "failure", "failure", "preemption", "failure")
    with pytest.raises(RuntimeError, match=r"step 60, died 3 times.*max_failures: 2\): signal 9"):
        failed.result(timeout=0)
    with pytest.raises(RuntimeError, match=r"its node was lost.*max_preemptions: 1\)"):
        dies(runtime, "preemption", "preemption").result(timeout=0)


def test_closing_cancels_what_has_not_begun_and_keeps_what_has():
    waiting = WaitingEvaluations(EvaluationRuntime())
    begun, unbegun = waiting.put(evaluation(1)), waiting.put(evaluation(2))
    taken = waiting.take()
    assert taken is not None
    waiting.close()
    assert unbegun.cancelled()
    assert not waiting.finished
    waiting.died(taken, "failure", "killed")
    assert waiting.take() is taken, "what has begun is brought to its end"
    waiting.resolve(taken, None)
    assert begun.result(timeout=0) is None
    assert waiting.finished


def test_when_nobody_is_left_to_run_it_what_ran_waits_again_uncharged():
    waiting = WaitingEvaluations(EvaluationRuntime(max_failures=0))
    future = waiting.put(evaluation(1))
    waiting.put(evaluation(2))
    assert waiting.take() is not None
    assert waiting.requeue_running()
    assert drained(waiting) == [1, 2]
    assert future.done()
    assert not waiting.requeue_running()


def test_when_the_evaluators_have_ended_nobody_waits_for_them():
    waiting = WaitingEvaluations(EvaluationRuntime())
    future = waiting.put(evaluation(1))
    waiting.abandon(OSError("no space left"))
    for raised in (lambda: future.result(timeout=0), lambda: waiting.put(evaluation(2))):
        with pytest.raises(RuntimeError, match="evaluators ended") as error:
            raised()
        assert "no space left" in str(error.value.__cause__)


def test_states_are_counted() -> None:
    waiting = WaitingEvaluations(EvaluationRuntime(max_failures=1))
    futures = [waiting.put(evaluation(step)) for step in (1, 2, 3, 4)]
    first, second, third = (waiting.take() for _ in range(3))
    assert first and second and third
    assert waiting.states() == {"waiting": 1, "running": 3, "done": 0, "failed": 0}
    waiting.resolve(first, None)
    waiting.resolve(second, RuntimeError("no such probe"))
    waiting.died(third, "failure", "killed")
    assert waiting.states() == {"waiting": 2, "running": 0, "done": 1, "failed": 1}
    assert [future.done() for future in futures] == [True, True, False, False]
