"""Bad steps: what is noticed, what is said, and what is skipped."""

import math

import pytest

from ccx_ray.study.training_spec import WatchSpec
from ccx_ray.training.history import (
    StepRecord,
    TrainingStoppedError,
    check_may_skip,
    count_updates,
    find_problem,
    history_after_skip,
)

WATCH = WatchSpec(spike_window=4, spike_nats=2.0)


def record(step: int, loss: float = 3.0, norm: float = 1.0) -> StepRecord:
    return StepRecord(
        step=step, loss=loss, learning_rate=1e-3, gradient_norm=norm, tokens=100,
        first_row=8 * (step - 1), last_row=8 * step, seconds=0.1, data_seconds=0.0,
        rows_checksum=step, workers=1,
    )  # fmt: skip


def usual(steps: int) -> list[StepRecord]:
    return [record(step + 1, loss=3.0 + 0.1 * (step % 2)) for step in range(steps)]


@pytest.mark.parametrize(
    ("loss", "norm", "field", "problem"),
    [
        (math.nan, 1.0, "non_finite", "loss nan"),
        (math.inf, 1.0, "non_finite", "loss inf"),
        (3.0, math.nan, "non_finite", "gradient norm nan"),
        (5.2, 1.0, "spike", "loss 5.2, the median of the last 4 is 3.05"),
    ],
)
def test_a_bad_step_is_named(loss: float, norm: float, field: str, problem: str) -> None:
    assert find_problem(usual(6), record(7, loss, norm), WATCH) == (field, problem)


def test_a_usual_step_is_not_bad() -> None:
    assert find_problem(usual(6), record(7, 5.0), WATCH) is None
    assert find_problem(usual(6), record(7, 0.5), WATCH) is None, "falling is no spike"


def test_the_first_steps_cannot_spike() -> None:
    assert find_problem(usual(3), record(4, 50.0), WATCH) is None
    assert find_problem([], record(1, math.inf), WATCH) is not None


def test_skipped_steps_are_no_measure() -> None:
    bad = find_problem(usual(6), record(7, 90.0), WATCH)
    assert bad is not None
    history = history_after_skip(usual(6), record(7, 90.0), bad[1], anchor=4)
    assert find_problem([*history, record(8, 90.0)], record(9, 90.0), WATCH) is not None


def test_the_history_tells_what_was_skipped_and_why() -> None:
    bad = find_problem(usual(6), record(7, math.nan), WATCH)
    assert bad is not None
    history = history_after_skip(usual(6), record(7, math.nan), bad[1], anchor=4)
    assert [r.step for r in history] == [1, 2, 3, 4, 5, 6, 7]
    assert [r.applied for r in history] == [True] * 4 + [False] * 3
    assert [r.problem for r in history if r.problem] == ["loss nan"]
    assert count_updates(history) == 4


def test_stop_says_where_and_what_to_change() -> None:
    bad = find_problem(usual(6), record(7, math.nan), WATCH)
    assert bad is not None
    with pytest.raises(TrainingStoppedError) as raised:
        check_may_skip(record(7), bad, WATCH, 0, name="ko-bridge-s0")
    assert str(raised.value).startswith(
        "ko-bridge-s0: step 7, rows 48 to 56: loss nan; trials.watch.non_finite is stop"
    )


def test_skips_are_limited() -> None:
    watch = WatchSpec(non_finite="skip", max_skips=2)
    bad = find_problem(usual(6), record(7, math.nan), watch)
    assert bad is not None
    check_may_skip(record(7), bad, watch, 1, name="base")
    with pytest.raises(TrainingStoppedError, match=r"after 2 skips; base\.watch\.max_skips"):
        check_may_skip(record(7), bad, watch, 2, name="base")
