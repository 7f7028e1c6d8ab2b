"""Spearman's rank correlation over questions, and its bootstrap interval.

Invariant: ranks are taken within a group (culture), so that a difference between cultures, which
may have many causes, is never taken for a relation between questions.
"""

from collections.abc import Sequence

import numpy as np

from ccx_ray.analysis.statistics.intervals import Floats, Interval, percentiles

MOST_DRAWS = 2_000
"""Every draw is ranked anew; of more draws the ends of an interval move by less than a reader
sees."""
FEWEST_VARYING = 10
"""Where fewer questions differ from the commonest value, a correlation hangs on a handful of them
and its bootstrap is far too narrow."""
VALUES_AT_ONCE = 500_000

Pair = tuple[Floats, Floats]
"""Two values of every question of a group, [Q] each."""


def spearman(groups: Sequence[Pair]) -> float:
    """Mean of the groups' correlations, weighted by their questions.

    Returns:
        NaN where in no group ten or more questions differ from the commonest value, in both.
    """
    groups = [pair for pair in groups if _varies(*pair)]
    found = np.array([_correlations(one[None], other[None]) for one, other in groups])
    return float(_weighted(found, groups)[0])


def spearman_interval(
    groups: Sequence[Pair], *, samples: int, confidence: float, generator: np.random.Generator
) -> Interval:
    """Percentile bootstrap: questions are drawn with both their values, within each group.

    Draws in which a value does not vary have no correlation and are left out.
    """
    groups, samples = [pair for pair in groups if _varies(*pair)], min(samples, MOST_DRAWS)
    found = np.full((len(groups), samples), np.nan)
    for index, (one, other) in enumerate(groups):
        block = max(1, VALUES_AT_ONCE // len(one))
        for start in range(0, samples, block):
            size = min(block, samples - start)
            drawn = generator.integers(len(one), size=(size, len(one)))
            found[index, start : start + size] = _correlations(one[drawn], other[drawn])
    return percentiles(_weighted(found, groups), confidence)


def differing(values: Floats) -> int:
    """How many values differ from the commonest one."""
    counts = np.unique(values, return_counts=True)[1]
    return len(values) - int(counts.max(initial=0))


def _varies(one: Floats, other: Floats) -> bool:
    return min(differing(one), differing(other)) >= FEWEST_VARYING


def _correlations(ones: Floats, others: Floats) -> Floats:
    """Of every row of two arrays [B, Q]; NaN where a row does not vary."""
    first, second = _scaled_ranks(ones), _scaled_ranks(others)
    # Rounding may carry a perfect correlation beyond 1.
    products: Floats = np.clip((first * second).sum(axis=1), -1.0, 1.0)
    return products


def _scaled_ranks(values: Floats) -> Floats:
    """Ranks of every row, shifted to a mean of 0 and scaled to a length of 1."""
    from scipy.stats import rankdata

    ranks: Floats = rankdata(values, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = np.nan
    scaled: Floats = ranks / lengths
    return scaled


def _weighted(found: Floats, groups: Sequence[Pair]) -> Floats:
    """Mean over the groups that have a correlation, weighted by their questions, [G, B] -> [B]."""
    if not groups:
        return np.array([np.nan])
    exists = ~np.isnan(found)
    weights = exists * np.array([float(len(one)) for one, _ in groups])[:, None]
    total = weights.sum(axis=0)
    total[total == 0] = np.nan
    mean: Floats = (np.where(exists, found, 0.0) * weights).sum(axis=0) / total
    return mean
