"""The headline of a study: one statistic a language and direction, declared before the trials.

Invariant: what the statistic is stands in the study (``analysis.headline``) and is part of what is
declared before the first trial (``analysis/declaration.py``); every other number is looked at
beside it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccx_ray.analysis.crossed import Spreads, smallest_effect
from ccx_ray.analysis.measures.transfer import (
    Answers,
    clusters_of,
    compare_answers,
    correct,
    headline_group,
    paired_answers,
    paired_cells,
    significance_level,
    transfer_row,
)
from ccx_ray.analysis.tables import Row
from ccx_ray.study.spec import Headline, StudySpec

STATISTICS: Mapping[Headline, str] = {
    "last": "transfer at the last checkpoint",
    "area": "mean transfer between the first and the last checkpoint",
}
"""Headline -> what it is, in words."""
WHOLE_PARTS = 500
"""The weights of checkpoints are whole parts of at most so many, so that answers stay whole numbers
and the permutation test exact."""


def headline_rows(study: StudySpec, answers: Answers) -> list[Row]:
    """The headline of every language and direction, in the columns of transfer; ``step`` is the
    last one.

    Further columns: ``statistic``, the ``expected`` sign (empty where none is declared), the three
    ``spreads`` and the smallest transfers that could be seen of the condition (``visible``; NaN of
    too few trainings) and of these very trainings (``question_visible``), as shares.
    """
    curves: dict[tuple[str, str], list[tuple[dict[str, Any], pd.DataFrame]]] = {}
    for place, cell in paired_cells(answers):
        one = (place["language"], place["direction"])
        curves.setdefault(one, []).append((place, cell[cell["headline"]]))
    level = significance_level(study) / max(1, len(curves))
    rows = [_headline_row(study, curve, level) for curve in curves.values()]
    correct(rows)
    return rows


def _headline_row(
    study: StudySpec, curve: Sequence[tuple[dict[str, Any], pd.DataFrame]], level: float
) -> Row:
    statistic = study.analysis.headline
    chosen = curve[-1:] if statistic == "last" else curve
    seeds = [
        seed
        for seed in chosen[-1][1]["seed"].unique().tolist()
        if all((cell["seed"] == seed).any() for _, cell in chosen)
    ]
    cells = [cell[cell["seed"].isin(seeds)] for _, cell in chosen]
    weights = checkpoint_weights([place["step"] for place, _ in chosen])
    answered = [paired_answers(cell, "published") for cell in cells]
    first, second = (
        np.tensordot(weights, np.stack([pair[side] for pair in answered]), axes=1)
        for side in (0, 1)
    )
    place = chosen[-1][0]
    step = str(place["step"]) if statistic == "last" else statistic
    names = ("transfer", place["probe"], step, "published")
    clusters = clusters_of(cells[-1])
    found = compare_answers(study, first, second, clusters, tuple(seeds), *names)
    visible, alone = visible_effects(found.spreads, found.trainings, found.clusters, level)
    expected = study.analysis.expected.get(place["language"])
    return transfer_row(
        found,
        **place,
        counting="published",
        group=headline_group(cells[-1]),
        statistic=STATISTICS[statistic],
        expected="" if expected is None else expected.of(place["direction"]),
        spreads=tuple(found.spreads),
        visible=visible,
        question_visible=alone,
    )


def visible_effects(
    spreads: Spreads, trainings: int, clusters: int, level: float
) -> tuple[float, float]:
    """The smallest visible transfers; NaN where the spreads are not known."""
    if any(map(math.isnan, spreads)):
        return math.nan, math.nan
    return smallest_effect(spreads, trainings=trainings, clusters=clusters, level=level)


def checkpoint_weights(steps: Sequence[int]) -> list[float]:
    """The weights of checkpoints in the mean of a curve, by the trapezoid rule; they sum to 1."""
    if len(steps) == 1:
        return [1.0]
    gaps = np.diff(steps)
    parts = np.append(gaps, 0) + np.append(0, gaps)
    parts //= np.gcd.reduce(parts)
    if parts.sum() > WHOLE_PARTS:
        parts = np.rint(parts * (WHOLE_PARTS / parts.sum()))
    return [float(part) for part in parts / parts.sum()]
