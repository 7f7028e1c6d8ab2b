"""Intervals and tests against hand computation, enumeration and other people's code."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from ccx_ray.analysis.statistics import (
    Floats,
    Names,
    Resampling,
    bootstrap_interval,
    bootstrap_ratio_interval,
    cluster_sums,
    holm,
    seeded_generator,
    sign_flip_p_value,
    spearman,
    spearman_interval,
    standard_error,
    subset_mean_test,
)


def test_sign_flips_equal_the_enumeration_of_all_sign_patterns() -> None:
    sums = np.array([2, 1, 1, -1, 0, 2, -2, 1])
    totals = [sum(s * v for s, v in zip(signs, sums, strict=True))
              for signs in itertools.product((-1, 1), repeat=len(sums))]  # fmt: skip
    expected = np.mean([abs(total) >= abs(sums.sum()) for total in totals])
    assert sign_flip_p_value(sums) == pytest.approx(expected, abs=1e-12)


def test_one_seed_is_mcnemars_exact_test() -> None:
    sums = np.array([1] * 14 + [-1] * 4 + [0] * 500)
    assert sign_flip_p_value(sums) == pytest.approx(binomtest(14, 18).pvalue, abs=1e-12)


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip_p_value(np.zeros(10, dtype=np.int64)) == 1.0


def test_sign_flip_test_keeps_its_level() -> None:
    generator = np.random.default_rng(1)
    p_values = [sign_flip_p_value(generator.integers(-2, 3, size=80)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.08


def test_bootstrap_interval_covers_the_true_mean() -> None:
    generator = np.random.default_rng(2)
    truth, covered = 0.1, 0
    for trial in range(200):
        values = generator.choice([-1.0, 0.0, 1.0], size=150, p=[0.1, 0.7, 0.2])
        interval = bootstrap_interval(
            [values], Resampling(400, 0.9, seeded_generator(0, str(trial)))
        )
        covered += interval.low <= truth <= interval.high
    assert 0.84 < covered / 200 < 0.96


def test_bootstrap_is_a_function_of_the_seed_and_the_cell() -> None:
    values = np.random.default_rng(3).normal(size=60)

    def draw(seed: int, name: str) -> tuple[float, float]:
        interval = bootstrap_interval([values], Resampling(200, 0.95, seeded_generator(seed, name)))
        return interval.low, interval.high

    assert draw(0, "ko-ko") == draw(0, "ko-ko")
    assert draw(0, "ko-ko") != draw(1, "ko-ko")
    assert draw(0, "ko-ko") != draw(0, "zh-zh")


def test_bootstrap_of_no_question_is_not_a_number() -> None:
    interval = bootstrap_interval([np.array([])], Resampling(10, 0.95, seeded_generator(0)))
    assert np.isnan([interval.low, interval.high]).all()


def test_holm_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_standard_error_of_one_run_is_the_binomial_one() -> None:
    correct = np.array([1.0] * 30 + [0.0] * 70)
    assert standard_error(correct) == pytest.approx(np.sqrt(0.3 * 0.7 / 99))


def test_subset_test_finds_a_difference_within_groups_but_not_one_between_them() -> None:
    generator = np.random.default_rng(4)
    rare, frequent = (
        generator.poisson(1, 200).astype(float),
        generator.poisson(9, 200).astype(float),
    )
    few, many = np.arange(200) < 20, np.arange(200) < 120
    expected, p_value = subset_mean_test(
        [(rare, few), (frequent, many)], Resampling(500, 0.95, seeded_generator(0))
    )
    assert p_value > 0.05
    assert expected == pytest.approx((20 * rare.mean() + 120 * frequent.mean()) / 140)
    _, p_value = subset_mean_test(
        [(frequent, frequent >= np.sort(frequent)[-50])], Resampling(500, 0.95, seeded_generator(0))
    )
    assert p_value == pytest.approx(1 / 501)


def draws(samples: int = 500) -> Resampling:
    return Resampling(samples, 0.95, seeded_generator(0))


def numbers(values: Floats, others: Floats, clusters: Names | None) -> list[float]:
    """Every number that depends on clusters, of questions with two values each."""
    of_group = None if clusters is None else [clusters]
    return [
        standard_error(values, clusters),
        *bootstrap_interval([values], draws(), of_group),
        *bootstrap_ratio_interval(others, 1 + others, draws(), clusters),
        spearman([(values, others)], of_group),
        *spearman_interval([(values, others)], draws(), of_group),
        subset_mean_test([(others, values > 0)], draws(), of_group)[1],
        sign_flip_p_value(cluster_sums(values.astype(np.int64), clusters)),
    ]


def test_questions_that_are_repeated_within_clusters_change_nothing() -> None:
    generator = np.random.default_rng(6)
    values = generator.choice([-1.0, 0.0, 1.0], size=60, p=[0.2, 0.4, 0.4])
    others = generator.poisson(2 + values).astype(float)
    plain = numbers(values, others, None)
    assert numbers(values, others, np.arange(60).astype(str)) == plain
    repeated = np.repeat(values, 8), np.repeat(others, 8)
    clusters = np.repeat([f"entity {index}" for index in range(60)], 8)
    assert numbers(*repeated, clusters) == pytest.approx(plain)
    as_questions = numbers(*repeated, None)
    widths = [found[2] - found[1] for found in (plain, as_questions)]
    assert widths[1] < 0.5 * widths[0]
    assert as_questions[0] < 0.5 * plain[0]
    assert as_questions[-1] < plain[-1]


def test_clusters_of_other_sizes_are_drawn_with_all_their_questions() -> None:
    generator = np.random.default_rng(7)
    sizes = generator.integers(1, 12, size=50)
    clusters = np.repeat(np.arange(50), sizes)
    values = np.repeat(generator.normal(size=50), sizes) + generator.normal(size=len(clusters))
    drawn = [
        np.concatenate([values[clusters == one] for one in generator.integers(50, size=50)]).mean()
        for _ in range(1000)
    ]
    low, high = bootstrap_interval([values], draws(1000), [clusters])
    assert [low, high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist(), abs=0.06)
    assert standard_error(values, clusters) == pytest.approx(np.std(drawn), rel=0.1)
    low, high = spearman_interval([(values, values + 1)], draws(), [clusters])
    assert (low, high) == pytest.approx((1, 1))
    noise = generator.normal(size=len(values))
    low, high = spearman_interval([(values, noise)], draws(), [clusters])
    assert low < spearman([(values, noise)], [clusters]) < high


def test_one_cluster_says_nothing_of_how_clusters_differ() -> None:
    values, one = np.array([1.0, 0.0, 1.0]), np.array(["entity"] * 3)
    assert np.isnan(bootstrap_interval([values], draws(), [one])).all()
    assert np.isnan(standard_error(values, one))
    assert sign_flip_p_value(cluster_sums(np.array([1, 1, 1]), one)) == 1


def test_the_permutation_test_of_dependent_questions_keeps_its_level() -> None:
    generator = np.random.default_rng(8)
    clusters, p_values = np.repeat(np.arange(24), 8), {"clusters": [], "questions": []}
    for _ in range(120):
        values = np.repeat(generator.normal(size=24), 8)
        mask = np.repeat(generator.random(24) < 0.4, 8)
        for unit, names in (("clusters", [clusters]), ("questions", None)):
            p_values[unit].append(subset_mean_test([(values, mask)], draws(100), names)[1])
    assert np.mean(np.array(p_values["clusters"]) < 0.05) < 0.11
    assert np.mean(np.array(p_values["questions"]) < 0.05) > 0.3
