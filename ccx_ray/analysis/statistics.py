"""Means, intervals, tests and rank correlations over clusters of questions.

Invariants: a question's answers under several seeds and conditions are summed or averaged before
anything is resampled, so that more seeds never make the sample of questions look larger than it is.
What is resampled is clusters: questions of one cluster (such as an entity) are drawn, flipped or
permuted together. ``clusters`` names the cluster of every value [Q]; without it each value is one
by itself, and then every number is that of resampling the values.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ccx_ray.study.spec import AnalysisSpec

Floats = NDArray[np.float64]
Names = NDArray[Any]
"""The cluster of every value [Q]; the cluster's name or number."""
Pair = tuple[Floats, Floats]
"""Two values of every question of a group (culture), [Q] each."""
SUMMED_AT_ONCE = 2_000_000
RANKED_AT_ONCE = 500_000
"""Values that are drawn at once to be summed, or to be ranked; it bounds memory."""
MOST_DRAWS = 2_000
"""Every draw is ranked anew; of more draws the ends of an interval move by less than a reader
sees."""
FEWEST_VARYING = 10
"""Where fewer clusters have a question that differs from the commonest value, a correlation hangs
on a handful of them and its bootstrap is far too narrow."""


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


def cluster_sums(values: NDArray[Any], clusters: Names | None) -> NDArray[Any]:
    """The sum of every cluster's values, [Q, ...] -> [C, ...], in the order of the clusters' first
    values."""
    if clusters is None:
        return values
    codes = _codes(clusters)
    sums = np.zeros((codes.max(initial=-1) + 1, *values.shape[1:]), values.dtype)
    np.add.at(sums, codes, values)
    return sums


def standard_error(values: Floats, clusters: Names | None = None) -> float:
    """Standard error of the mean over clusters; for one run of 0/1 answers and a question a cluster
    the binomial one. NaN of fewer than two clusters."""
    sizes = cluster_sums(np.ones(len(values)), clusters)
    if len(sizes) < 2:
        return float("nan")
    if len(sizes) == len(values):
        return float(values.std(ddof=1) / np.sqrt(len(values)))
    return ratio_standard_error(cluster_sums(values, clusters), sizes)


def bootstrap_interval(
    groups: Sequence[Floats], resample: Resampling, clusters: Sequence[Names] | None = None
) -> Interval:
    """Percentile bootstrap of the mean over all groups: clusters are drawn with replacement within
    each of them, each with all its questions, so that where their sizes differ a draw's mean is a
    ratio of two sums.

    Args:
        groups: one value a question [Q] of each group (culture), which are fixed, not a sample. The
            seeds and conditions of a question are reduced in its value already.
        clusters: of every group, the cluster of each question [Q].

    Returns:
        NaN at both ends where all of several questions are of one cluster, or none was asked.
    """
    totals, counts, drawable = np.zeros(resample.samples), np.zeros(resample.samples), 0
    for values, names in zip(groups, _of_groups(clusters, len(groups)), strict=True):
        if not len(values):
            continue
        sums = cluster_sums(values, names)
        sizes = cluster_sums(np.ones(len(values)), names)
        drawable += len(sums)
        draws = [
            (sums[drawn].sum(axis=1), sizes[drawn].sum(axis=1) if np.ptp(sizes) else len(values))
            for drawn in _draws(len(sums), resample)
        ]
        totals += np.concatenate([total for total, _ in draws])
        counts += np.concatenate([np.broadcast_to(count, len(t)) for t, count in draws])
    if drawable == 0 or (drawable == 1 and sum(map(len, groups)) > 1):
        return UNKNOWN
    return percentiles(totals / counts, resample.confidence)


def bootstrap_ratio_interval(
    tops: Floats, bottoms: Floats, resample: Resampling, clusters: Names | None = None
) -> Interval:
    """Percentile bootstrap of a ratio of two sums: documents, or clusters of questions, are drawn
    with both their values.

    Args:
        tops: one value a document [D], such as its nats; none below 0.
        bottoms: the same documents' values [D], such as their sizes; none below 0.

    Returns:
        NaN at both ends for fewer than two documents, between which nothing can vary. A draw whose
        bottoms are all 0 has an infinite ratio, so an end may be infinite: no bound is known. A
        draw in which the tops are 0 as well says nothing and is left out.
    """
    tops, bottoms = cluster_sums(tops, clusters), cluster_sums(bottoms, clusters)
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

    Under the null hypothesis the conditions are exchangeable within a cluster, so each cluster's
    difference could as well have had the other sign. The distribution of the total over all 2^C
    sign patterns is computed exactly, so no seed and no number of permutations enter. With one
    seed and a question a cluster this is McNemar's exact test.

    Args:
        sums: per cluster [C], correct answers under one condition minus the other, over its
            questions and the seeds.

    Returns:
        The share of sign patterns whose total is at least as far from 0 as the one observed;
        1 when no cluster differs.
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
    groups: Sequence[tuple[Floats, NDArray[np.bool_]]],
    resample: Resampling,
    clusters: Sequence[Names] | None = None,
) -> tuple[float, float]:
    """Two-sided permutation test of a subset's mean, stratified by group.

    Which items of a cluster are chosen is given to another cluster of the same size as it is.

    Args:
        groups: values [Q] and the mask [Q] of the subset, for each group (language). A group keeps
            its number of chosen items, so a difference between groups is no evidence.
        clusters: of every group, the cluster of each item [Q].

    Returns:
        The mean of a random subset of the same size from every group, and the p-value; NaN for both
        when no item, or every item, is chosen.
    """
    samples, generator = resample.samples, resample.generator
    chosen = sum(int(mask.sum()) for _, mask in groups)
    if chosen in (0, sum(len(values) for values, _ in groups)):
        return math.nan, math.nan
    parts = [
        part
        for (values, mask), names in zip(groups, _of_groups(clusters, len(groups)), strict=True)
        for part in _exchangeable(values, mask, names)
    ]
    expected = sum(
        float(column.mean()) * int(chosen.sum())
        for values, mask in parts
        for column, chosen in zip(values.T, mask.T, strict=True)
    )
    observed = sum(float(values[mask].sum()) for values, mask in groups)
    drawn = np.zeros(samples)
    for values, mask in parts:
        for index in range(samples):
            drawn[index] += generator.permutation(values)[mask].sum()
    # A tolerance for sums of the same numbers in another order.
    far = np.abs(drawn - expected) >= abs(observed - expected) - 1e-9
    return expected / chosen, float((1 + far.sum()) / (1 + samples))


def spearman(groups: Sequence[Pair], clusters: Sequence[Names] | None = None) -> float:
    """Mean of the groups' correlations, weighted by their questions.

    Returns:
        NaN where in no group ten or more clusters have a question that differs from the commonest
        value, in both.
    """
    groups = [pair for pair, _ in _varying(groups, clusters)]
    found = np.array([_correlations(one[None], other[None]) for one, other in groups])
    return float(_weighted(found, groups)[0])


def spearman_interval(
    groups: Sequence[Pair], resample: Resampling, clusters: Sequence[Names] | None = None
) -> Interval:
    """Percentile bootstrap: clusters are drawn with both values of their questions, within each
    group.

    Draws in which a value does not vary have no correlation and are left out.
    """
    varying = _varying(groups, clusters)
    fewer = resample._replace(samples=min(resample.samples, MOST_DRAWS))
    found = []
    for (one, other), names in varying:
        draws = _cluster_draws(names, fewer)
        found.append(np.concatenate([_correlations(one[d], other[d]) for d in draws]))
    groups = [pair for pair, _ in varying]
    return percentiles(_weighted(np.array(found), groups), resample.confidence)


def _of_groups(clusters: Sequence[Names] | None, groups: int) -> Sequence[Names | None]:
    return [None] * groups if clusters is None else clusters


def _codes(clusters: Names) -> NDArray[np.int64]:
    """The clusters' numbers, from 0 in the order of their first values."""
    return np.asarray(pd.factorize(clusters)[0], np.int64)


def _members(codes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The places of every cluster's values, in order."""
    by_cluster = np.argsort(codes, kind="stable")
    return np.split(by_cluster, np.cumsum(np.bincount(codes))[:-1])


def _exchangeable(
    values: Floats, mask: NDArray[np.bool_], clusters: Names | None
) -> Iterator[tuple[Floats, NDArray[np.bool_]]]:
    """Values and mask of the clusters of every size, [C, size] each, of which any are chosen; the
    rows of the mask with the most chosen first."""
    members = _members(np.arange(len(values)) if clusters is None else _codes(clusters))
    for size in sorted({len(one) for one in members}):
        places = np.array([one for one in members if len(one) == size])
        if mask[places].any():
            chosen = mask[places]
            yield values[places], chosen[np.argsort(-chosen.sum(axis=1), kind="stable")]


def _draws(
    count: int, resample: Resampling, *, at_once: int = SUMMED_AT_ONCE
) -> Iterator[NDArray[np.integer[Any]]]:
    """Indices of ``count`` values drawn with replacement, ``samples`` times, some at once."""
    block, samples = max(1, at_once // count), resample.samples
    for start in range(0, samples, block):
        yield resample.generator.integers(count, size=(min(block, samples - start), count))


def _cluster_draws(codes: NDArray[np.int64], resample: Resampling) -> Iterator[NDArray[np.int64]]:
    """Indices of the values of clusters drawn with replacement, ``samples`` times; some draws at
    once where all clusters are of one size, so that all draws are of one length."""
    members = _members(codes)
    is_one_size = len({len(one) for one in members}) == 1
    matrix = np.array(members) if is_one_size else None
    for drawn in _draws(len(members), resample, at_once=RANKED_AT_ONCE // len(members[0])):
        if matrix is not None:
            yield matrix[drawn].reshape(len(drawn), -1)
        else:
            yield from (np.concatenate([members[c] for c in draw])[None] for draw in drawn)


def _varying(
    groups: Sequence[Pair], clusters: Sequence[Names] | None
) -> list[tuple[Pair, NDArray[np.int64]]]:
    """The groups in which both values vary, with the number of each value's cluster."""
    numbered = [
        (pair, np.arange(len(pair[0])) if names is None else _codes(names))
        for pair, names in zip(groups, _of_groups(clusters, len(groups)), strict=True)
    ]
    return [
        (pair, codes)
        for pair, codes in numbered
        if min(_differing(values, codes) for values in pair) >= FEWEST_VARYING
    ]


def _differing(values: Floats, codes: NDArray[np.int64]) -> int:
    """How many clusters have a value that differs from the commonest one."""
    found, counts = np.unique(values, return_counts=True)
    return len(np.unique(codes[values != found[counts.argmax()]])) if len(found) else 0


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
