"""The history of a training: a record of every optimizer step, and the verdict on a bad one.

Invariants: a history holds each step once, in order, from 1; it travels with the resume state, so a
restart continues it. The verdict on a step depends on the losses before it and on nothing else, so
a run that was killed and resumed, and a run on another number of workers, judge alike.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import median

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import WatchSpec


class TrainingStoppedError(UserError):
    """A bad step that the study file says to stop at; starting again would meet it again."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One optimizer step, over all workers."""

    step: int
    """Counted from 1."""
    loss: float
    """Mean next-token cross-entropy in nats over ``tokens``, before the step's update."""
    learning_rate: float
    gradient_norm: float
    """Of all parameters together, before clipping."""
    tokens: int
    """Predicted tokens: neither a row's first token nor padding."""
    first_row: int
    last_row: int
    """The step consumed the global rows ``[first_row, last_row)``, as the stream counts them."""
    seconds: float
    """From the end of the step before, without what was spent on saving."""
    data_seconds: float
    """Of these, waiting for rows."""
    rows_checksum: int
    """Of what the rows held and where they stood, over all workers: equal for equal rows in the
    stream's order, however many workers read them."""
    workers: int
    applied: bool = True
    """False for a step that was skipped, so that its rows were not learnt from."""
    problem: str = ""
    """Why it was skipped, at the step that was bad itself."""


@dataclass(kw_only=True)
class StartupClock:
    """The seconds of a training's start-up, by part."""

    began: float
    """``time.time()`` of the driver, which may run on another node."""
    parts: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        """Note that part ``name`` has just ended; the parts add up to the whole."""
        self.parts[name] = time.time() - self.began - sum(self.parts.values())


def find_problem(
    history: Sequence[StepRecord], record: StepRecord, watch: WatchSpec
) -> tuple[str, str] | None:
    """What is wrong with a step after ``history``, where skipped steps do not count; None: nothing.

    Returns:
        The field of ``WatchSpec`` that says whether to stop or skip, and the problem.
    """
    for name, value in (("loss", record.loss), ("gradient norm", record.gradient_norm)):
        if not math.isfinite(value):
            return "non_finite", f"{name} {value}"
    before = [step.loss for step in history if step.applied][-watch.spike_window :]
    if len(before) == watch.spike_window and record.loss - median(before) > watch.spike_nats:
        usual = f"the median of the last {len(before)} is {median(before):.4g}"
        return "spike", f"loss {record.loss:.4g}, {usual}"
    return None


def check_may_skip(
    record: StepRecord, bad: tuple[str, str], watch: WatchSpec, skips: int, *, name: str
) -> None:
    """Check that the study file says to skip this step of the training ``name``, after ``skips``.

    Raises:
        TrainingStoppedError: it says to stop, or too much was skipped.
    """
    choice, problem = bad
    field = f"{'base' if name == 'base' else 'trials'}.watch"
    where = f"{name}: step {record.step}, rows {record.first_row:,} to {record.last_row:,}"
    if getattr(watch, choice) == "stop":
        raise TrainingStoppedError(
            f"{where}: {problem}; {field}.{choice} is stop; set it to skip to leave out "
            "these rows, or lower optimizer.learning_rate"
        )
    if skips >= watch.max_skips:
        raise TrainingStoppedError(
            f"{where}: {problem}, after {skips} skips; {field}.max_skips is reached; "
            "lower optimizer.learning_rate, or inspect the rows"
        )


def history_after_skip(
    history: Sequence[StepRecord], record: StepRecord, problem: str, *, anchor: int
) -> list[StepRecord]:
    """The history after going back to the state of step ``anchor`` and on behind ``record``."""
    undone = [replace(step, applied=False) for step in history[anchor:]]
    return [*history[:anchor], *undone, replace(record, applied=False, problem=problem)]


def count_updates(history: Sequence[StepRecord]) -> int:
    """Optimizer updates in the state after these steps; AdamW counts them."""
    return sum(step.applied for step in history)


def write_history(path: Path, records: Sequence[StepRecord]) -> None:
    """Write the records as Parquet, one row a step, columns as in ``StepRecord``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    schema = pa.schema([(column.name, types[column.type]) for column in fields(StepRecord)])  # type: ignore[index]
    table = pa.Table.from_pylist([asdict(record) for record in records], schema=schema)
    pq.write_table(table, path)


def read_history(path: Path) -> list[StepRecord]:
    """Read what ``write_history`` wrote."""
    import pyarrow.parquet as pq

    return [StepRecord(**row) for row in pq.read_table(path).to_pylist()]
