"""Accuracy under each condition at every checkpoint, and the base before any of them.

Invariant: the question is the unit of every standard error; seeds are averaged first.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccx_ray.analysis.measures.answers import COUNTINGS, Answers, by_run
from ccx_ray.analysis.measures.rows import Row, last_steps
from ccx_ray.analysis.statistics.intervals import standard_error
from ccx_ray.evaluation.results import SCORE_TYPES

Cell = tuple[dict[str, Any], pd.DataFrame]
"""What a cell's rows have in common, and its answers."""


def accuracy_rows(answers: Answers) -> list[Row]:
    """Accuracy of the base, of every trial and (``seed`` None) over the seeds, at every
    checkpoint."""
    rows = []
    for place, cell in cells(answers):
        if place["condition"] != "base":
            rows += [_row(place, int(seed), one) for seed, one in cell.groupby("seed", sort=False)]
        rows.append(_row(place, None, cell))
    return rows


def score_accuracy_rows(answers: Answers) -> list[Row]:
    """Accuracies over the seeds at the last checkpoint under every score.

    Each score chooses anew among the same options of the same questions, so rows differ by the
    score alone; those of the study's own score equal the headline's.
    """
    return [
        Row(**vars(row), score=kind)
        for kind in SCORE_TYPES
        for row in last_accuracies(accuracy_rows(answers.under(kind)))
    ]


def cells(answers: Answers, *, last_only: bool = False) -> Iterator[Cell]:
    """The answers to each probe under each condition at each checkpoint, all seeds together.

    Args:
        last_only: at the base and at the last checkpoint of the probe.
    """
    rows, names = answers.rows, ["language", "condition", "step", "probe"]
    if last_only:
        last = rows.groupby("probe")["step"].transform("max")
        rows = rows[(rows["step"] == last) | (rows["condition"] == "base")]
    for (language, condition, step, probe), cell in rows.groupby(names, sort=False):
        yield dict(zip(names, (language, condition, int(step), probe), strict=True)), cell


def last_accuracies(rows: Sequence[Row]) -> list[Row]:
    """Over the seeds: the base, and each condition at the last checkpoint of its probe."""
    return last_steps([row for row in rows if row.seed is None], "probe")


def accuracies(cell: pd.DataFrame) -> dict[str, Any]:
    """Accuracy in every counting with its standard error over questions, of one cell."""
    found = {"questions": cell["question"].nunique()}
    for counting in COUNTINGS:
        ending = "" if counting == "published" else f"_{counting.replace('-', '_')}"
        right = by_run(cell, counting).mean(axis=0)
        found[f"accuracy{ending}"] = float(right.mean())
        found[f"standard_error{ending}"] = standard_error(right)
    # Questions whose best score is shared, on average over the seeds.
    found["tied"] = float(np.mean(by_run(cell, "tied").sum(axis=1)))
    return found


def _row(place: dict[str, Any], seed: int | None, cell: pd.DataFrame) -> Row:
    columns = {"language": place["language"], "condition": place["condition"], "seed": seed}
    return Row(**{**columns, **place}, **accuracies(cell))
