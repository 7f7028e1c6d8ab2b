"""The model of transfer on simulated data whose truth is known."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from ccx_ray.analysis.measures.transfer import DIRECTIONS, read_lengths
from ccx_ray.analysis.measures.transfer_model import (
    Coefficient,
    LogitFit,
    cluster_logit,
    frequency_term,
    transfer_model,
)
from tests.finished_study import Question, small_study, write_evaluation

Floats = NDArray[np.float64]
FREQUENCY, LENGTH = "log2(1 + occurrences)", "log2(tokens of the answer)"


class Simulation:
    """Questions of four cultures, asked in two directions."""

    def __init__(self, seed: int, questions: int = 1000) -> None:
        self.generator = np.random.default_rng(seed)
        item = np.arange(questions)
        self.items = np.repeat(item, 2)
        self.direction = np.tile(["base-to-target", "target-to-base"], questions)
        self.culture = np.repeat(np.array(["ko", "zh", "bo", "mn"])[item % 4], 2)
        # Shorter answers are more frequent.
        self.length = np.repeat(self.generator.uniform(0, 4, questions), 2)
        rate = np.exp(2.5 - 0.8 * self.length + self.generator.normal(0, 0.5, 2 * questions))
        self.frequency = np.log2(1 + self.generator.poisson(rate))
        self.shared = np.repeat(self.generator.normal(0, 1, questions), 2)

    def outcome(self, *, frequency: float, length: float, shared: float) -> NDArray[np.bool_]:
        """Drawn with these effects on the log-odds, and one that both directions share."""
        logits = -0.5 + frequency * self.frequency + length * self.length + shared * self.shared
        logits += 0.4 * (self.culture == "zh") - 0.3 * (self.direction == "target-to-base")
        return self.generator.random(len(logits)) < 1 / (1 + np.exp(-logits))

    def fit(self, outcome: NDArray[np.bool_], *, lengths: bool) -> LogitFit:
        predictors = {FREQUENCY: self.frequency} | ({LENGTH: self.length} if lengths else {})
        categories = {"culture": self.culture, "direction": self.direction}
        return cluster_logit(outcome, predictors, categories, self.items, confidence=0.95)


def terms(fit: LogitFit) -> Mapping[str, Coefficient]:
    assert fit.problem is None, fit.problem
    return {one.term: one for one in fit.coefficients}


def test_planted_effects_are_recovered() -> None:
    simulation = Simulation(1, questions=4000)
    fit = simulation.fit(simulation.outcome(frequency=0.3, length=-0.4, shared=0), lengths=True)
    found = terms(fit)
    assert (fit.observations, fit.clusters) == (8000, 4000)
    for term, truth in (
        (FREQUENCY, 0.3), (LENGTH, -0.4), ("culture zh", 0.4),
        ("direction target-to-base", -0.3), ("culture ko", 0), ("culture mn", 0),
    ):  # fmt: skip
        assert found[term].coefficient == pytest.approx(truth, abs=4 * found[term].standard_error)
        assert found[term].low < found[term].coefficient < found[term].high
    assert found[FREQUENCY].standard_error < 0.05
    assert found[FREQUENCY].p_value < 1e-6
    assert "culture bo" not in found, "the reference"


def test_an_effect_of_length_alone_is_no_effect_of_frequency_once_length_is_held_fixed() -> None:
    simulation = Simulation(2)
    outcome = simulation.outcome(frequency=0, length=-0.8, shared=0)
    plain = terms(simulation.fit(outcome, lengths=False))[FREQUENCY]
    fixed = terms(simulation.fit(outcome, lengths=True))
    assert plain.p_value < 1e-6
    assert plain.low > 0
    assert fixed[FREQUENCY].low < 0 < fixed[FREQUENCY].high
    assert fixed[LENGTH].high < 0


def test_robust_intervals_cover_the_truth_where_plain_ones_do_not() -> None:
    """A predictor that is the same in both directions, and answers that the question decides."""
    import statsmodels.api as sm

    generator = np.random.default_rng(11)
    robust, plain, runs, questions = 0, 0, 200, 300
    for _ in range(runs):
        value = np.repeat(generator.normal(0, 1, questions), 2)
        # Most questions are answered alike in both directions.
        alike = np.repeat(generator.random(questions) < 0.9, 2)
        own, common = generator.random(2 * questions), np.repeat(generator.random(questions), 2)
        outcome = np.where(alike, common, own) < 1 / (1 + np.exp(-0.5 * value))
        clusters = np.repeat(np.arange(questions), 2)
        fit = cluster_logit(outcome, {"value": value}, {}, clusters, confidence=0.95)
        robust += fit.coefficients[0].low <= 0.5 <= fit.coefficients[0].high
        ends = sm.Logit(outcome.astype(float), sm.add_constant(value)).fit(disp=False).conf_int()
        plain += ends[1][0] <= 0.5 <= ends[1][1]
    assert 0.91 < robust / runs < 0.99
    assert plain / runs < 0.9


CLUSTERS = np.arange(400)


RANDOM = np.random.default_rng(4)
VALUE, OTHER = RANDOM.normal(size=400), RANDOM.normal(size=400)
HALF = RANDOM.random(400) < 0.5
FEW = np.where(CLUSTERS < 12, RANDOM.poisson(3, 400) + 1.0, 0.0)
SOME = np.where((CLUSTERS >= 12) & (CLUSTERS < 60), 1.0, 0.0)
RARE = np.where(CLUSTERS < 60, CLUSTERS < 4, HALF)
BEYOND = np.abs(OTHER) > 1.5


@pytest.mark.parametrize(
    ("problem", "outcome", "predictors"),
    [
        ("the outcome never occurs", np.zeros(400, bool), {"value": VALUE}),
        ("the outcome occurs in every observation", np.ones(400, bool), {"value": VALUE}),
        ("too few observations with the outcome: 15 for 2 predictors", CLUSTERS < 15,
         {"value": VALUE, "other": OTHER}),
        ("too few observations without the outcome: 9 for 1 predictor,", CLUSTERS >= 9,
         {"value": VALUE}),
        ("value is the same in every observation", HALF, {"value": np.full(400, 3.0)}),
        ("value differs from 0 in too few clusters: 12", HALF, {"value": FEW}),
        ("value differs from 0 in too few observations with the outcome: 4", RARE,
         {"value": FEW + SOME}),
        ("the predictors determine one another (value, other)", HALF,
         {"value": VALUE, "other": 2 * VALUE + 1}),
        ("separate the outcomes, wholly or in part", VALUE > 0.3, {"value": VALUE}),
        # Where the two differ all have the outcome; where they do not some.
        ("separate the outcomes, wholly or in part", HALF | BEYOND,
         {"value": CLUSTERS % 4.0, "other": CLUSTERS % 4.0 + BEYOND}),
        ("beyond differs from 0 in too few observations without the outcome: 0", HALF | BEYOND,
         {"beyond": BEYOND.astype(float)}),
    ],
)  # fmt: skip
def test_what_cannot_be_estimated_is_said_in_words(
    problem: str, outcome: NDArray[np.bool_], predictors: dict[str, Floats]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = cluster_logit(outcome, predictors, {}, CLUSTERS, confidence=0.95)
    assert fit.problem is not None
    assert problem in fit.problem
    assert fit.coefficients == ()


def test_nothing_and_few_clusters_are_said_too() -> None:
    generator = np.random.default_rng(5)
    none = np.array([], dtype=bool)
    fit = cluster_logit(none, {"value": none.astype(float)}, {}, none, confidence=0.95)
    assert fit.problem == "there is no observation"
    outcome, value = generator.random(390) < 0.5, generator.normal(size=390)
    fit = cluster_logit(outcome, {"value": value}, {}, np.arange(390) % 39, confidence=0.95)
    assert fit.problem == "too few clusters for robust standard errors: 39 of 40"


def test_data_that_are_nearly_separated_are_estimated() -> None:
    """One observation on the other side makes the estimate finite, if large."""
    generator = np.random.default_rng(6)
    value = generator.normal(size=400)
    outcome = value > 0
    outcome[value.argmin()] = True
    fit = cluster_logit(outcome, {"value": value}, {}, CLUSTERS, confidence=0.95)
    assert terms(fit)["value"].coefficient > 0


def test_a_culture_without_an_event_is_left_out_and_changes_nothing_else() -> None:
    simulation = Simulation(7)
    outcome = simulation.outcome(frequency=0.3, length=0, shared=0) & (simulation.culture != "mn")
    fit = simulation.fit(outcome, lengths=False)
    assert fit.left_out == ("culture mn",)
    assert fit.observations == 1500
    rest = simulation.culture != "mn"
    alone = cluster_logit(
        outcome[rest],
        {FREQUENCY: simulation.frequency[rest]},
        {"culture": simulation.culture[rest], "direction": simulation.direction[rest]},
        simulation.items[rest],
        confidence=0.95,
    )
    assert alone.coefficients == fit.coefficients


def test_the_fit_is_that_of_the_formulas() -> None:
    """Newton's method, and the sandwich over clusters with both of its small-sample factors."""
    generator = np.random.default_rng(8)
    value = generator.normal(size=400)
    outcome = generator.random(400) < 1 / (1 + np.exp(-0.7 * value))
    clusters = np.arange(400) // 2
    found = cluster_logit(outcome, {"value": value}, {}, clusters, confidence=0.95).coefficients[0]
    design = np.column_stack([np.ones(400), value])
    beta = np.zeros(2)
    for _ in range(30):
        mean = 1 / (1 + np.exp(-design @ beta))
        bread = np.linalg.inv(design.T @ (design * (mean * (1 - mean))[:, None]))
        beta += bread @ design.T @ (outcome - mean)
    scores = design * (outcome - mean)[:, None]
    summed = scores.reshape(200, 2, 2).sum(axis=1)
    covariance = bread @ (summed.T @ summed) @ bread * 200 / 199 * 399 / 398
    assert found.coefficient == pytest.approx(beta[1], rel=1e-8)
    assert found.standard_error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-6)


def questions_of(simulation: Simulation, differences: Floats) -> pd.DataFrame:
    """What ``transfer_model`` takes, of a simulation's observations; no exposure is known."""
    parts = []
    for culture in ("ko", "zh", "bo", "mn"):
        for direction in DIRECTIONS:
            here = (simulation.culture == culture) & (simulation.direction == direction)
            answer = 2 ** simulation.length[here]
            answer[:2] = np.nan  # without a blank
            parts.append(
                pd.DataFrame(
                    {
                        "direction": direction,
                        "culture": culture,
                        "question": np.arange(here.sum(), dtype=np.int32),
                        "cluster": np.char.add("question ", np.arange(here.sum()).astype(str)),
                        "difference": differences[here],
                        "last": True,
                        "occurrences": np.rint(2 ** simulation.frequency[here] - 1),
                        "lexical_documents": 0.0,
                        "exposure": np.nan,
                        "sentence_tokens": answer + 10,
                        "answer_tokens": answer,
                    }
                )
            )
    return pd.concat(parts)


def test_models_of_a_study_tell_frequency_from_length_and_transfer_from_noise() -> None:
    simulation = Simulation(9, questions=1600)
    better = simulation.outcome(frequency=0.5, length=-0.4, shared=0)
    worse = simulation.outcome(frequency=0, length=-0.4, shared=0) & ~better
    differences = better.astype(float) - worse
    fits, terms = transfer_model(small_study().analysis, questions_of(simulation, differences))
    assert [(fit.predictor, fit.outcome, fit.lengths) for fit in fits[:3]] == [
        ("occurrences", "transferred", False), ("occurrences", "transferred", True),
        ("occurrences", "worse", True),
    ]  # fmt: skip
    assert (fits[0].observations, fits[0].clusters, fits[0].without_length) == (3184, 1592, 16)
    assert fits[0].events == fits[1].events
    row = frequency_term(terms, "occurrences", "transferred", lengths=True)
    assert row is not None
    assert row.low < 0.5 < row.high
    assert row.odds_ratio == pytest.approx(np.exp(row.coefficient))
    assert row.odds_low == pytest.approx(np.exp(row.low))
    # Only what was not better could be worse, so frequent questions are worse less often.
    placebo = frequency_term(terms, "occurrences", "worse", lengths=True)
    assert placebo is not None
    assert placebo.coefficient < 0
    by_scan = [fit for fit in fits if fit.predictor == "lexical_documents"]
    assert [fit.problem for fit in by_scan] == [
        "log2(1 + lexical documents) is the same in every observation"
    ] * 3
    assert frequency_term(terms, "lexical_documents", "transferred", lengths=False) is None
    assert not any(fit.predictor == "exposure" for fit in fits)


def test_lengths_are_of_the_sentence_with_the_right_answer(tmp_path: Path) -> None:
    scores = [1.0, 2.0, 3.0, 4.0]
    questions = [
        Question(scores=scores, gold=2, tokens=12, answer_tokens=3),
        Question(scores=scores, gold=0, tokens=9, answer_tokens=0, quality=("no_blank",)),
        Question(scores=scores, gold=-1, tokens=7, answer_tokens=2, quality=("answer_absent",)),
    ]
    for run in ("base", "ko-bridge-s0"):
        write_evaluation(tmp_path / run, run, 20, {"ko-ko": questions, "ko-en": questions[:1]})
    found = read_lengths({run: tmp_path / run for run in ("base", "ko-bridge-s0")})
    by_probe = dict(list(found.groupby("probe")))
    assert set(by_probe) == {"ko-ko", "ko-en"}
    np.testing.assert_equal(by_probe["ko-ko"]["sentence_tokens"].to_numpy(), [12, 9, np.nan])
    np.testing.assert_equal(by_probe["ko-ko"]["answer_tokens"].to_numpy(), [3, np.nan, np.nan])
