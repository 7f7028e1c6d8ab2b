"""Noise of a checkpoint: how far accuracy and transfer move between neighbouring checkpoints and
between seeds, beside the transfer that is to be told from it.

A probe or a score whose transfer is no larger than what it moves from one checkpoint to the next
can tell nothing. Heineman et al. (2025, "Signal and Noise", allenai/signal-and-noise) choose
benchmarks so; the signal here is transfer, and the noise of trainings is there as well.

Invariants: a spread is a standard deviation (n - 1) within a training over its last ``LAST``
checkpoints, or within a condition over its seeds, pooled by the mean of the variances; what moves
steadily is not taken out, so a curve that still rises is noisy. NaN where there is one checkpoint,
or one seed.
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ccx_ray.analysis.measures.transfer import TRANSFER, Answers, cells, paired
from ccx_ray.analysis.statistics import Floats
from ccx_ray.analysis.tables import Row

LAST = 5
"""Checkpoints of a training that are compared, its last ones; as many as the source takes."""
HEADLINE = "headline"
"""Name of the group of the questions that transfer is measured over."""


def noise_rows(answers: Answers) -> list[Row]:
    """Of each language, direction and group of questions: ``checkpoints`` and ``seeds`` that were
    compared; spreads of the accuracy over checkpoints and seeds; ``transfer_last`` and
    ``transfer_mean`` (over the last checkpoints), the spreads of transfer over checkpoints
    (within a seed) and over seeds (at the last checkpoint, and of the mean over the last ones),
    and the absolute ratios of transfer to them.

    Ties are counted as published.
    """
    rows = []
    for place, cell in cells(paired(answers.rows, "probe", "step"), "language", "direction"):
        for group, asked in _groups(cell):
            accuracies = _accuracies(asked)  # [conditions, S, T]
            if accuracies.size:
                rows.append(Row(**place, group=group, **_spreads(accuracies)))
    return rows


def _groups(cell: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield HEADLINE, cell[cell["headline"]]
    names = cell["group"].unique().tolist()
    if names != [""]:
        yield from ((name, cell[cell["group"] == name]) for name in names)


def _accuracies(asked: pd.DataFrame) -> Floats:
    """Accuracies under both conditions of transfer, [2, S, T], at the last checkpoints that all
    seeds have."""
    by_run = asked.groupby(["condition", "seed", "step"])["published"].mean()
    shared = by_run.unstack("step").dropna(axis=1).iloc[:, -LAST:]
    return np.stack([shared.loc[condition].to_numpy() for condition in TRANSFER])


def _spreads(accuracies: Floats) -> dict[str, float | int]:
    transfers = accuracies[0] - accuracies[1]  # [S, T]
    last, mean = float(transfers[:, -1].mean()), float(transfers.mean())
    over_checkpoints = _spread(transfers, axis=1)
    over_seeds = _spread(transfers[:, -1], axis=0)
    means_over_seeds = _spread(transfers.mean(axis=1), axis=0)
    return {
        "seeds": transfers.shape[0],
        "checkpoints": transfers.shape[1],
        "accuracy": float(accuracies[:, :, -1].mean()),
        "accuracy_over_checkpoints": _spread(accuracies, axis=2),
        "accuracy_over_seeds": _spread(accuracies[:, :, -1], axis=1),
        "transfer_last": last,
        "transfer_mean": mean,
        "over_checkpoints": over_checkpoints,
        "over_seeds": over_seeds,
        "mean_over_seeds": means_over_seeds,
        "ratio_checkpoints": _ratio(last, over_checkpoints),
        "ratio_seeds": _ratio(last, over_seeds),
        "ratio_mean_seeds": _ratio(mean, means_over_seeds),
    }


def _spread(values: Floats, *, axis: int) -> float:
    """Standard deviation along an axis, pooled over the others; NaN of one value."""
    if values.shape[axis] < 2:
        return math.nan
    return float(np.sqrt(values.var(axis=axis, ddof=1).mean()))


def _ratio(effect: float, noise: float) -> float:
    """NaN where the noise is unknown, or there is none to divide by."""
    return abs(effect) / noise if noise > 0 else math.nan
