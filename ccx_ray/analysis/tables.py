"""What an analysis is made of, and the tables that it makes.

A table is a list of rows with the same columns, in the order in which they are written to
``tables/<name>.csv``; docs/data-format.md says what each table holds. Numbers are plain Python
ones, and shares, not points; what cannot be computed is NaN or None.

Invariant: a number that is shown is a column of a table of ``Results``, so it stands in
``results.json`` too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import Trial

BASE_RUN = "base"
"""Name of the base's run, and of the condition of its rows; they stand at step 0."""
ONE_CURVE: Mapping[str, tuple[str, ...]] = {
    "transfers": ("language", "direction"),
    "transfer_by_group": ("language", "direction"),
    "contrasts": ("contrast", "language", "direction"),
    "accuracies": ("probe",),
    "consistencies": ("language",),
    "proficiencies": ("language",),
    "proficiency_differences": ("language", "direction"),
    "exposures": ("culture", "direction"),
    "exposure_parts": ("culture", "direction"),
}
"""Table -> the columns of what has a last checkpoint of its own."""


@dataclass(frozen=True, kw_only=True)
class AnalysisInputs:
    """A finished study, as far as it was run; the analysis says what is missing."""

    study: StudySpec
    trials: tuple[Trial, ...]
    evaluations: Mapping[str, Path]
    """Run name ("base", "ko-bridge-s0") -> evaluation folder with ``step-*.parquet`` and, where
    text is held out, ``perplexity-*.parquet``."""
    frequencies: Mapping[str, Path]
    """Culture -> frequency folder with ``questions.parquet``."""
    trainings: Mapping[str, Path]
    """Run name -> training folder with ``losses.parquet``."""
    markers: Mapping[str, Mapping[str, Any]]
    """Step name -> its completion marker."""
    audit: Path | None = None
    """The audit's folder with ``audit.json``."""
    exposures: Mapping[str, Path] = field(default_factory=dict)
    """Target language -> exposure folder with ``exposure.parquet``."""
    validation: Path | None = None
    """The folder of the tests of the frequency estimate: ``recall.parquet``, ``agreement.parquet``,
    ``planted.parquet``, ``validation.json``."""
    review: Path | None = None
    """The folder of what people said of retrieved documents: ``review.parquet``."""
    world: Path | None = None
    """The folder of the planted world with ``truth.parquet``, of a study that plants one."""
    interventions: Mapping[str, Path] = field(default_factory=dict)
    """Language of the text -> folder with ``interventions.parquet``, where any are planted."""
    control: Path | None = None
    """The folder of the newest analysis of the control study that this one names."""
    declared: Mapping[str, Any] | None = None
    """Of ``declaration.compare_declaration``; None where nothing was declared."""


class Row(SimpleNamespace):
    """One row of a table of results; its columns are attributes."""


class Results(SimpleNamespace):
    """The numbers of a report: its tables, lists of rows, are attributes; so is what is no table.

    ``facts``, a row, are the figures of the first paragraph; ``missing_trials`` the trials of the
    grid that were not evaluated, of which nothing is in the results; ``audit`` the statements of
    the audit; ``validated`` whether the estimate of frequency was tested at all; ``validation``
    is ``validation.json``.
    """

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Table name -> rows, with plain values."""
        others = ("facts", "missing_trials", "audit", "validated", "validation")
        return {
            name: [vars(row) for row in rows]
            for name, rows in vars(self).items()
            if name not in others
        }

    @property
    def units(self) -> str:
        """What intervals and tests of answers are over, in words."""
        clustered = any(row.clusters < row.questions for row in self.probes)
        return "clusters of questions" if clustered else "questions"

    def last(self, table: str, **values: object) -> list[Row]:
        """The rows of a table at the base and at the last checkpoints, over the seeds.

        Args:
            values: of columns of the rows that are wanted.
        """
        rows = [row for row in getattr(self, table) if getattr(row, "seed", None) is None]
        return [
            row
            for row in last_steps(rows, *ONE_CURVE[table])
            if all(getattr(row, column) == value for column, value in values.items())
        ]


def last_steps(rows: Sequence[Row], *columns: str) -> list[Row]:
    """The rows of the last checkpoint of what ``columns`` say; rows of the base are kept."""

    def key(row: Row) -> tuple[object, ...]:
        return tuple(getattr(row, column) for column in columns)

    last: dict[tuple[object, ...], int] = {}
    for row in rows:
        last[key(row)] = max(row.step, last.get(key(row), 0))
    return [
        row
        for row in rows
        if row.step == last[key(row)] or getattr(row, "condition", None) == BASE_RUN
    ]


def json_ready(value: Any) -> Any:
    """Plain JSON values; NaN and infinity, which JSON does not have, become null."""
    if isinstance(value, Row) or (is_dataclass(value) and not isinstance(value, type)):
        return json_ready(vars(value))
    if isinstance(value, Mapping):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
