"""Intervals over questions crossed with trainings: against another library, and by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.formula.api import ols

from ccx_ray.analysis.crossed import Crossed, Spreads, crossed, mean_influences, smallest_effect

Values = np.ndarray


def simulated(
    random: np.random.Generator, trainings: int, clusters: int, spreads: Spreads, *, size: int = 1
) -> Values:
    """Values of trainings and questions, [S, C * size], around 0."""
    of_clusters = np.repeat(random.normal(0, 1, clusters), size)
    return np.asarray(
        spreads.trainings * random.normal(0, 1, (trainings, 1))
        + spreads.clusters * of_clusters
        + spreads.rest * random.normal(0, 1, (trainings, clusters * size))
    )


def found(values: Values, size: int = 1) -> Crossed:
    clusters = np.repeat(np.arange(values.shape[1] // size), size)
    influences = mean_influences(values)
    return crossed(float(values.mean()), influences, confidence=0.95, clusters=clusters)


def test_the_variance_is_that_of_a_two_way_analysis_of_variance() -> None:
    values = simulated(np.random.default_rng(3), 5, 40, Spreads(0.5, 0.4, 0.3))
    table = pd.DataFrame(values).stack().rename_axis(["training", "question"]).rename("value")
    model = ols("value ~ C(training) + C(question)", table.reset_index()).fit()
    squares = sm.stats.anova_lm(model)
    mean_squares = squares["sum_sq"] / squares["df"]
    between, questions, rest = mean_squares.to_numpy() / values.size
    variance = between + questions - rest
    degrees = variance**2 / (between**2 / 4 + questions**2 / 39 + rest**2 / (4 * 39))
    one = found(values)
    half = (one.interval.high - one.interval.low) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, degrees) * math.sqrt(variance))
    assert one.p_value == pytest.approx(
        2 * stats.t.sf(abs(values.mean()) / math.sqrt(variance), degrees)
    )
    assert one.spreads.rest == pytest.approx(math.sqrt(rest * values.size))


@pytest.mark.parametrize("trainings", [4, 8])
@pytest.mark.parametrize("between", [0.0, 0.02, 0.1])
def test_of_simulated_studies_the_interval_covers_what_it_says(
    trainings: int, between: float
) -> None:
    """600 studies: 0.95 +- 0.03 is more than three standard errors. benchmarks/inference.py has
    the finer table."""
    random, spreads = np.random.default_rng(7), Spreads(between, 0.2, 0.5)
    ones = [found(simulated(random, trainings, 150, spreads, size=2), 2) for _ in range(600)]
    covered = np.mean([one.interval.low <= 0 <= one.interval.high for one in ones])
    assert 0.92 <= covered <= 0.98
    assert all(one.is_claim for one in ones)
    assert np.mean([one.p_value < 0.05 for one in ones]) == pytest.approx(1 - covered)


def test_two_trainings_give_no_claim() -> None:
    one = found(simulated(np.random.default_rng(0), 2, 50, Spreads(0.1, 0.1, 0.3)))
    assert not one.is_claim
    assert math.isnan(one.interval.low) and math.isnan(one.p_value)
    assert one.spreads.rest == pytest.approx(0.3, rel=0.3)


def test_trainings_of_one_base_are_one() -> None:
    values = np.repeat(
        simulated(np.random.default_rng(1), 4, 60, Spreads(0.2, 0.1, 0.3)), 2, axis=0
    )
    influences, mean = mean_influences(values), float(values.mean())
    by_base = crossed(mean, influences, confidence=0.95, trainings=[0, 0, 1, 1, 2, 2, 3, 3])
    alone = crossed(mean, influences, confidence=0.95)
    once = found(values[::2])
    assert by_base.interval == pytest.approx(once.interval)
    assert alone.interval.high - alone.interval.low < by_base.interval.high - by_base.interval.low
    assert (by_base.trainings, alone.trainings) == (4, 8)


@pytest.mark.parametrize(("trainings", "clusters"), [(4, 100), (8, 100), (4, 600)])
def test_the_smallest_visible_effect_is_seen_as_often_as_said(
    trainings: int, clusters: int
) -> None:
    random, spreads = np.random.default_rng(11), Spreads(0.03, 0.15, 0.45)
    effect, alone = smallest_effect(spreads, trainings=trainings, clusters=clusters, level=0.05)
    seen = [
        found(simulated(random, trainings, clusters, spreads) + effect).p_value < 0.05
        for _ in range(500)
    ]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.07)
    assert 0 < alone < effect


def test_values_that_do_not_vary_have_no_interval() -> None:
    one = found(np.full((4, 30), 0.5))
    assert math.isnan(one.interval.low)
    assert found(np.zeros((4, 30))).p_value == 1
