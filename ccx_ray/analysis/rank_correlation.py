"""Spearman's rank correlation over questions, and its bootstrap interval.

Invariant: ranks are taken within a group (culture), so that a difference between cultures, which
may have many causes, is never taken for a relation between questions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ccx_ray.analysis.statistics import Floats, Interval, percentiles

MOST_DRAWS = 2_000
"""Every draw is ranked anew; of more draws the ends of an interval move by less than a reader
sees."""
FEWEST_ITEMS = 3
VALUES_AT_ONCE = 500_000

Pair = tuple[Floats, Floats]
"""Two values of every question of a group, [Q] each."""


def spearman(groups: Sequence[Pair]) -> float:
    """Mean of the groups' correlations, weighted by their questions.

    Returns:
        NaN where no group of three or more questions varies in both values.
    """
    weights = [float(len(one)) for one, _ in groups]
    found = np.array([[_correlations(one[None], other[None])[0]] for one, other in groups])
    return float(_weighted(found, weights)[0])


def spearman_interval(
    groups: Sequence[Pair], *, samples: int, confidence: float, generator: np.random.Generator
) -> Interval:
    """Percentile bootstrap: questions are drawn with both their values, within each group.

    Draws in which a value does not vary have no correlation and are left out.
    """
    samples = min(samples, MOST_DRAWS)
    found = np.full((len(groups), samples), np.nan)
    for index, (one, other) in enumerate(groups):
        block = max(1, VALUES_AT_ONCE // max(1, len(one)))
        for start in range(0, samples if len(one) >= FEWEST_ITEMS else 0, block):
            size = min(block, samples - start)
            drawn = generator.integers(len(one), size=(size, len(one)))
            found[index, start : start + size] = _correlations(one[drawn], other[drawn])
    return percentiles(_weighted(found, [float(len(one)) for one, _ in groups]), confidence)


def _correlations(ones: Floats, others: Floats) -> Floats:
    """Of every row of two arrays [B, Q]; NaN where a row does not vary."""
    if ones.shape[1] < FEWEST_ITEMS:
        return np.full(len(ones), np.nan)
    first, second = _scaled_ranks(ones), _scaled_ranks(others)
    products: Floats = (first * second).sum(axis=1)
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


def _weighted(found: Floats, weights: Sequence[float]) -> NDArray[np.float64]:
    """Weighted mean over the groups that have a correlation, [groups, B] -> [B]."""
    if not len(found):
        return np.array([np.nan])
    exists = ~np.isnan(found)
    shares = exists * np.asarray(weights)[:, None]
    total = shares.sum(axis=0)
    total[total == 0] = np.nan
    mean: Floats = (np.where(exists, found, 0.0) * shares).sum(axis=0) / total
    return mean
