"""Errors of estimates whose sample is questions crossed with trainings, and what could be seen.

A claim about a training condition is about trainings that were not run as much as about questions
that were not asked, so both are samples: every training answers every question. The variance of an
estimate is the sum of three parts (between trainings, between clusters of questions, and the rest)
as in a two-way analysis of variance with both effects random (Clark 1973, "The
language-as-fixed-effect fallacy"), its degrees of freedom are Satterthwaite's (1946). With clusters
of more than one question it is the two-way cluster-robust variance of Cameron, Gelbach and Miller
(2011), the part of the intersection taken from doubly centred residuals.

Invariant: fewer than ``FEWEST_TRAININGS`` trainings give no interval and no test, because a t
distribution of one degree of freedom covers 89 to 97 % where 95 is said (benchmarks/inference.py).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from ccx_ray.analysis.statistics import UNKNOWN, Floats, Interval, Names, cluster_sums

FEWEST_TRAININGS = 3
POWER = 0.8
"""With this probability the smallest visible effect is significant."""


class Spreads(NamedTuple):
    """Standard deviations of the value of one cluster under one training."""

    trainings: float
    """Between trainings, of what is common to all questions."""
    clusters: float
    """Between clusters of questions, of what is common to all trainings."""
    rest: float


class Crossed(NamedTuple):
    """An interval and a test over clusters of questions crossed with trainings."""

    trainings: int
    clusters: int
    interval: Interval
    p_value: float
    """Two-sided, by the t distribution; NaN where there is no interval."""
    spreads: Spreads

    @property
    def is_claim(self) -> bool:
        """Whether there are trainings enough to say anything of others like them."""
        return self.trainings >= FEWEST_TRAININGS


class _Parts(NamedTuple):
    """Three estimates of variance of a mean, [trainings, clusters, both], as mean squares over the
    number of values."""

    trainings: float
    clusters: float
    rest: float


def mean_influences(values: Floats) -> Floats:
    """What every value adds to the error of the mean of all, [S, Q]; they sum to 0."""
    return np.asarray((values - values.mean()) / values.size)


def crossed(
    estimate: float,
    influences: Floats,
    *,
    confidence: float,
    clusters: Names | None = None,
    trainings: Sequence[int] | None = None,
) -> Crossed:
    """The interval and test of an estimate that is linear in its values.

    Args:
        influences: what the value of every training and question adds to the estimate's error,
            [S, Q], such as ``mean_influences``.
        clusters: of every question [Q]; each is its own where it is None.
        trainings: which rows are one training, [S], such as those that start from one base.
    """
    by_cluster = cluster_sums(influences.T, clusters)
    sums = cluster_sums(by_cluster.T, None if trainings is None else np.asarray(trainings))
    rows, columns = sums.shape
    if rows < 2 or columns < 2:
        return Crossed(rows, columns, UNKNOWN, math.nan, Spreads(*[math.nan] * 3))
    parts = _parts(sums)
    spreads = Spreads(
        math.sqrt(max(parts.trainings - parts.rest, 0.0) * rows),
        math.sqrt(max(parts.clusters - parts.rest, 0.0) * columns),
        math.sqrt(parts.rest * rows * columns),
    )
    if rows < FEWEST_TRAININGS:
        return Crossed(rows, columns, UNKNOWN, math.nan, spreads)
    variance, degrees = _variance(parts, rows, columns)
    if not variance > 0:
        return Crossed(rows, columns, UNKNOWN, 1.0 if estimate == 0 else 0.0, spreads)
    error = math.sqrt(variance)
    half = float(stats.t.ppf((1 + confidence) / 2, degrees)) * error
    p_value = float(2 * stats.t.sf(abs(estimate) / error, degrees))
    interval = Interval(estimate - half, estimate + half)
    return Crossed(rows, columns, interval, p_value, spreads)


def smallest_effect(
    spreads: Spreads, *, trainings: int, clusters: int, level: float
) -> tuple[float, float]:
    """The smallest effects that a design finds significant with probability ``POWER``.

    Args:
        level: of the two-sided test.

    Returns:
        Of the condition, over questions crossed with trainings (NaN for fewer than
        ``FEWEST_TRAININGS``), and of these very trainings, over questions alone; in the unit of the
        spreads.
    """
    if clusters < 2:
        return math.nan, math.nan
    rest = spreads.rest**2 / (trainings * clusters)
    parts = _Parts(spreads.trainings**2 / trainings + rest, spreads.clusters**2 / clusters + rest,
                   rest)  # fmt: skip
    alone = _detectable(math.sqrt(parts.clusters), clusters - 1, level)
    if trainings < FEWEST_TRAININGS:
        return math.nan, alone
    variance, degrees = _variance(parts, trainings, clusters)
    return _detectable(math.sqrt(variance), degrees, level), alone


def _detectable(error: float, degrees: float, level: float) -> float:
    """The effect whose t test has power ``POWER``, by the noncentral t distribution."""
    if not error > 0:
        return 0.0
    critical = stats.t.ppf(1 - level / 2, degrees)

    def missing(effect: float) -> float:
        upper = stats.nct.sf(critical, degrees, effect)
        lower = stats.nct.cdf(-critical, degrees, effect)
        return float(np.nan_to_num(upper) + np.nan_to_num(lower)) - POWER

    return float(optimize.brentq(missing, 0.0, 2 * critical + 20, xtol=1e-4)) * error


def _parts(sums: Floats) -> _Parts:
    """Of influences summed by training and cluster, [S, C]."""
    rows, columns = sums.shape
    by_row, by_column = sums.sum(axis=1), sums.sum(axis=0)
    centred = sums - by_row[:, None] / columns - by_column / rows + sums.sum() / sums.size
    return _Parts(
        float((by_row**2).sum()) * rows / (rows - 1),
        float((by_column**2).sum()) * columns / (columns - 1),
        float((centred**2).sum()) * sums.size / ((rows - 1) * (columns - 1)),
    )


def _variance(parts: _Parts, rows: int, columns: int) -> tuple[float, float]:
    """Variance of the estimate and its degrees of freedom; never less than that of the clusters
    alone, which is what is left where trainings do not differ."""
    variance = parts.trainings + parts.clusters - parts.rest
    if variance <= parts.clusters:
        return parts.clusters, columns - 1
    squares = (
        parts.trainings**2 / (rows - 1)
        + parts.clusters**2 / (columns - 1)
        + parts.rest**2 / ((rows - 1) * (columns - 1))
    )
    return variance, variance**2 / squares
