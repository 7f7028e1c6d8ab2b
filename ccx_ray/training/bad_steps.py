"""Bad steps: non-finite losses and gradients, and loss spikes. Stop at them, or skip their rows.

Invariant: the verdict on a step depends on the losses before it and on nothing else, so a run that
was killed and resumed, and a run on another number of workers, judge alike.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import WatchSpec
from ccx_ray.training.history import StepRecord


class TrainingStoppedError(UserError):
    """A bad step that the study file says to stop at; starting again would meet it again."""


class BadStep(NamedTuple):
    """The problem of a step, and the field of ``WatchSpec`` that says whether to stop or skip."""

    field: str
    problem: str


def find_problem(
    history: Sequence[StepRecord], record: StepRecord, watch: WatchSpec
) -> BadStep | None:
    """What is wrong with a step; None: nothing.

    Args:
        history: the steps before it; those that were skipped do not count.
    """
    for name, value in (("loss", record.loss), ("gradient norm", record.gradient_norm)):
        if not math.isfinite(value):
            return BadStep("non_finite", f"{name} {value}")
    before = [step.loss for step in history if step.applied][-watch.spike_window :]
    if len(before) == watch.spike_window:
        usual = median(before)
        if record.loss - usual > watch.spike_nats:
            return BadStep(
                "spike",
                f"loss {record.loss:.4g}, the median of the last {len(before)} is {usual:.4g}",
            )
    return None


def check_may_skip(
    record: StepRecord, bad: BadStep, watch: WatchSpec, skips: int, *, name: str
) -> None:
    """Check that the study file says to skip this step, and allows one skip more.

    Args:
        skips: how often steps have been skipped so far.
        name: of the training, for the message.

    Raises:
        TrainingStoppedError: it says to stop, or too much was skipped.
    """
    field = f"{'base' if name == 'base' else 'trials'}.watch"
    where = f"{name}: step {record.step}, rows {record.first_row:,} to {record.last_row:,}"
    if getattr(watch, bad.field) == "stop":
        raise TrainingStoppedError(
            f"{where}: {bad.problem}; {field}.{bad.field} says stop: give skip to go back to the "
            "last checkpoint and on behind these rows, or lower optimizer.learning_rate"
        )
    if skips >= watch.max_skips:
        raise TrainingStoppedError(
            f"{where}: {bad.problem}, after {skips} skips; {field}.max_skips allows no more: "
            "lower optimizer.learning_rate or look at the rows"
        )


def history_after_skip(
    history: Sequence[StepRecord], record: StepRecord, bad: BadStep, *, anchor: int
) -> list[StepRecord]:
    """The history after going back to the state of step ``anchor`` and on behind ``record``."""
    return [
        *history[:anchor],
        *(replace(step, applied=False) for step in history[anchor:]),
        replace(record, applied=False, problem=bad.problem),
    ]


def count_updates(history: Sequence[StepRecord]) -> int:
    """Optimizer updates in the state after these steps; AdamW counts them."""
    return sum(step.applied for step in history)
