"""Intervals and tests against hand computation, enumeration and other people's code."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from ccx_ray.analysis.statistics import (
    Resampling,
    bootstrap_interval,
    holm,
    seeded_generator,
    sign_flip_p_value,
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
