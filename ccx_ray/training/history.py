"""The record of every optimizer step of a training, and the seconds of its start-up.

Invariant: a history holds each step once, in order, from 1; it travels with the resume state, so a
restart continues it instead of beginning a second one.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path


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
