"""Means, intervals, tests and rank correlations over questions.

Invariant: the question is the unit. Its answers under several seeds and both conditions are one
cluster, summed or averaged before anything is resampled, so that more seeds never make the sample
of questions look larger than it is.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccx_ray.study.spec import AnalysisSpec

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]
"""Two values of every question of a group (culture), [Q] each."""
SUMMED_AT_ONCE = 2_000_000
RANKED_AT_ONCE = 500_000
"""Values that are drawn at once to be summed, or to be ranked; it bounds memory."""
MOST_DRAWS = 2_000
"""Every draw is ranked anew; of more draws the ends of an interval move by less than a reader
sees."""
FEWEST_VARYING = 10
"""Where fewer questions differ from the commonest value, a correlation hangs on a handful of them
and its bootstrap is far too narrow."""


class Interval(NamedTuple):
    """A confidence interval; both ends NaN where no question was asked."""

    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan)


class Resampling(NamedTuple):
    """Number of draws, confidence and random generator of a bootstrap."""

    samples: int
    confidence: float
    generator: np.random.Generator


def seeded_generator(seed: int, *names: str) -> np.random.Generator:
    """A random generator that depends on the seed and ``names`` alone, not on earlier draws."""
    return np.random.default_rng([seed, zlib.crc32("/".join(names).encode())])


def resampling(spec: AnalysisSpec, *names: str) -> Resampling:
    """Samples and confidence of the study, and a generator of its own for ``names``."""
    generator = seeded_generator(spec.seed, *names)
    return Resampling(spec.bootstrap_samples, spec.confidence, generator)


def percentiles(drawn: Floats, confidence: float) -> Interval:
    """The interval that holds the middle of what was drawn; NaN draws are left out."""
    drawn = np.sort(drawn[~np.isnan(drawn)])
    if len(drawn) == 0:
        return UNKNOWN
    tail = (1 - confidence) / 2
    if np.isinf(drawn[-1]):  # between which nothing can be interpolated
        last = len(drawn) - 1
        ends = drawn[[math.floor(tail * last), math.ceil((1 - tail) * last)]]
    else:
        ends = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(ends[0]), float(ends[1]))


def unless_constant(interval: Interval, values: Floats) -> Interval:
    """NaN at both ends where all values are the same, as when nothing was found of any question:
    resampling them gives an interval of no width, which would claim certainty."""
    return interval if len(values) and np.ptp(values) > 0 else UNKNOWN


def mean(values: NDArray[Any]) -> float:
    """The mean; NaN of no value."""
    return float(values.mean()) if len(values) else float("nan")


def standard_error(values: Floats) -> float:
    """Standard error of the mean over questions; for one run of 0/1 answers the binomial one."""
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def bootstrap_interval(groups: Sequence[Floats], resample: Resampling) -> Interval:
    """Percentile bootstrap of the mean over all groups: questions are drawn with replacement within
    each of them.

    Args:
        groups: one value a question [Q] of each group (culture), which are fixed, not a sample. The
            seeds and conditions of a question are reduced in its value already. That makes this the
            cluster bootstrap, because every question has the same number of both.
    """
    totals, count = np.zeros(resample.samples), sum(map(len, groups))
    for values in groups:
        if len(values):
            draws = _draws(len(values), resample)
            totals += np.concatenate([values[drawn].sum(axis=1) for drawn in draws])
    return percentiles(totals / count, resample.confidence) if count else UNKNOWN


def bootstrap_ratio_interval(tops: Floats, bottoms: Floats, resample: Resampling) -> Interval:
    """Percentile bootstrap of a ratio of two sums: documents or questions are drawn with both their
    values.

    Args:
        tops: one value a document [D], such as its nats; none below 0.
        bottoms: the same documents' values [D], such as their sizes; none below 0.

    Returns:
        NaN at both ends for fewer than two documents, between which nothing can vary. A draw whose
        bottoms are all 0 has an infinite ratio, so an end may be infinite: no bound is known. A
        draw in which the tops are 0 as well says nothing and is left out.
    """
    if len(tops) < 2:
        return UNKNOWN
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [
            tops[drawn].sum(axis=1) / bottoms[drawn].sum(axis=1)
            for drawn in _draws(len(tops), resample)
        ]
    return percentiles(np.concatenate(ratios), resample.confidence)


def ratio_standard_error(tops: Floats, bottoms: Floats) -> float:
    """Standard error over documents of a ratio of two sums; NaN for fewer than two.

    The linearised one of a ratio estimator (Cochran 1977, 6.4): documents are the unit, so that the
    tokens within one need not be independent.
    """
    if len(tops) < 2:
        return float("nan")
    residuals = tops - tops.sum() / bottoms.sum() * bottoms
    return float(np.sqrt((residuals**2).sum() * len(tops) / (len(tops) - 1)) / bottoms.sum())


def sign_flip_p_value(sums: NDArray[np.int64]) -> float:
    """Exact two-sided paired permutation test.

    Under the null hypothesis the conditions are exchangeable within a question, so each question's
    difference could as well have had the other sign. The distribution of the total over all 2^Q
    sign patterns is computed exactly, so no seed and no number of permutations enter. With one
    seed this is McNemar's exact test.

    Args:
        sums: per question [Q], correct answers under one condition minus the other, over the seeds.

    Returns:
        The share of sign patterns whose total is at least as far from 0 as the one observed;
        1 when no question differs.
    """
    probabilities = np.ones(1)  # of the totals -reach .. reach
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    for size, count in zip(sizes, counts, strict=True):
        flips = np.zeros(2 * size * count + 1)
        # Of 0..count heads of a fair coin, each the float nearest to the exact probability.
        heads = range(int(count) + 1)
        flips[:: 2 * size] = [math.comb(int(count), one) / (1 << int(count)) for one in heads]
        probabilities = np.convolve(probabilities, flips)
    reach = (len(probabilities) - 1) // 2
    totals = np.arange(-reach, reach + 1)
    return float(min(1.0, probabilities[np.abs(totals) >= abs(int(sums.sum()))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): adjusted p-values in the order given."""
    adjusted = [1.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def subset_mean_test(
    groups: Sequence[tuple[Floats, NDArray[np.bool_]]], resample: Resampling
) -> tuple[float, float]:
    """Two-sided permutation test of a subset's mean, stratified by group.

    Args:
        groups: values [Q] and the mask [Q] of the subset, for each group (language). A group keeps
            its number of chosen items, so a difference between groups is no evidence.

    Returns:
        The mean of a random subset of the same size from every group, and the p-value; NaN for both
        when no item, or every item, is chosen.
    """
    samples, generator = resample.samples, resample.generator
    chosen = sum(int(mask.sum()) for _, mask in groups)
    if chosen in (0, sum(len(values) for values, _ in groups)):
        return math.nan, math.nan
    expected = sum(float(values.mean()) * int(mask.sum()) for values, mask in groups if mask.any())
    observed = sum(float(values[mask].sum()) for values, mask in groups)
    drawn = np.zeros(samples)
    for values, mask in groups:
        size = int(mask.sum())
        for index in range(samples if size else 0):
            drawn[index] += generator.permutation(values)[:size].sum()
    # A tolerance for sums of the same numbers in another order.
    far = np.abs(drawn - expected) >= abs(observed - expected) - 1e-9
    return expected / chosen, float((1 + far.sum()) / (1 + samples))


def spearman(groups: Sequence[Pair]) -> float:
    """Mean of the groups' correlations, weighted by their questions.

    Returns:
        NaN where in no group ten or more questions differ from the commonest value, in both.
    """
    groups = [pair for pair in groups if _varies(*pair)]
    found = np.array([_correlations(one[None], other[None]) for one, other in groups])
    return float(_weighted(found, groups)[0])


def spearman_interval(groups: Sequence[Pair], resample: Resampling) -> Interval:
    """Percentile bootstrap: questions are drawn with both their values, within each group.

    Draws in which a value does not vary have no correlation and are left out.
    """
    groups = [pair for pair in groups if _varies(*pair)]
    fewer = resample._replace(samples=min(resample.samples, MOST_DRAWS))
    found = []
    for one, other in groups:
        draws = _draws(len(one), fewer, at_once=RANKED_AT_ONCE)
        found.append(np.concatenate([_correlations(one[d], other[d]) for d in draws]))
    return percentiles(_weighted(np.array(found), groups), resample.confidence)


def differing(values: Floats) -> int:
    """How many values differ from the commonest one."""
    counts = np.unique(values, return_counts=True)[1]
    return len(values) - int(counts.max(initial=0))


def _draws(
    count: int, resample: Resampling, *, at_once: int = SUMMED_AT_ONCE
) -> Iterator[NDArray[np.integer[Any]]]:
    """Indices of ``count`` values drawn with replacement, ``samples`` times, some at once."""
    block, samples = max(1, at_once // count), resample.samples
    for start in range(0, samples, block):
        yield resample.generator.integers(count, size=(min(block, samples - start), count))


def _varies(one: Floats, other: Floats) -> bool:
    return min(differing(one), differing(other)) >= FEWEST_VARYING


def _correlations(ones: Floats, others: Floats) -> Floats:
    """Of every row of two arrays [B, Q]; NaN where a row does not vary."""
    first, second = _scaled_ranks(ones), _scaled_ranks(others)
    # Rounding may carry a perfect correlation beyond 1.
    return np.asarray(np.clip((first * second).sum(axis=1), -1.0, 1.0))


def _scaled_ranks(values: Floats) -> Floats:
    """Ranks of every row, shifted to a mean of 0 and scaled to a length of 1."""
    from scipy.stats import rankdata

    ranks: Floats = rankdata(values, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = np.nan
    return np.asarray(ranks / lengths)


def _weighted(found: Floats, groups: Sequence[Pair]) -> Floats:
    """Mean over the groups that have a correlation, weighted by their questions, [G, B] -> [B]."""
    if not groups:
        return np.array([np.nan])
    exists = ~np.isnan(found)
    weights = exists * np.array([float(len(one)) for one, _ in groups])[:, None]
    total = weights.sum(axis=0)
    total[total == 0] = np.nan
    return np.asarray((np.where(exists, found, 0.0) * weights).sum(axis=0) / total)
