"""Densities, exact counts and occurrences beside transfer, against numbers worked out by hand."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from ccx_ray.analysis import wording
from ccx_ray.analysis.statistics import (
    Resampling,
    bootstrap_interval,
    bootstrap_ratio_interval,
    seeded_generator,
    spearman,
    spearman_interval,
)
from ccx_ray.analysis.tables import AnalysisInputs
from tests.finished_study import QUESTIONS, analysed, finding, limit, small_study, write_study

KOREAN = ("trials.languages=[ko]", "trials.seeds=[0]")


def known_effect(run: str, step: int, probe: str) -> list[bool]:
    """Korean questions with q mod 4 = 3 are learnt from bridges alone."""
    learnt = run.startswith("ko-bridge") and probe == "ko-ko"
    return [q % 5 == 0 or (learnt and q % 4 == 3) for q in range(QUESTIONS["ko"])]


def korean_study(
    root: Path, english: Sequence[int] | None = None, korean: Sequence[int] | None = None
) -> AnalysisInputs:
    """Korean trials of one seed; occurrences of both corpora where given."""
    inputs = write_study(root, small_study(*KOREAN), known_effect)
    path = inputs.frequencies["ko"] / "questions.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        given = english if row["corpus"] == "en" else korean
        if given is not None:
            row["occurrences"] = given[row["question"]]
            row["density"] = row["occurrences"] / row["documents"]
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
    return inputs


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], str]:
    root = tmp_path_factory.mktemp("study")
    return analysed(root, korean_study(root))


def test_the_ratio_is_paired_by_question(known: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    """Every question has twice the occurrences in a tenth of the documents, so that the ratio is 20
    whichever questions are drawn, though both densities vary."""
    (row,) = known[0]["densities"]
    assert (row["culture"], row["measure"], row["questions"]) == ("ko", "occurrences", 60)
    assert row["ratio"] == pytest.approx(20)
    assert (row["ratio_low"], row["ratio_high"]) == (pytest.approx(20), pytest.approx(20))
    assert row["base_density_low"] < row["base_density"] < row["base_density_high"]
    # Mean 1.5 with the standard deviation of 0, 1, 2, 3 in equal parts, of 60 questions.
    width = row["base_occurrences_high"] - row["base_occurrences_low"]
    assert width == pytest.approx(2 * 1.96 * np.sqrt(1.25 / 60), rel=0.2)
    assert row["base_density_high"] == pytest.approx(row["base_occurrences_high"] / 1000)
    assert row["target_occurrences_low"] == pytest.approx(2 * row["base_occurrences_low"])
    assert known[1]["densities"] == known[0]["densities"]
    result, verdict, _ = finding(known[0], "Higher density in the Korean corpus")
    assert (result, verdict) == ("ratio 20.0 (20.0 to 20.0)", "found")


def test_exact_counts_stand_beside_the_estimate(
    known: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    results, _, page = known
    exact = {row["measure"]: row for row in results["exact_densities"]}
    assert exact["answer_documents"]["base_occurrences"] == pytest.approx(4.5)
    assert exact["together_documents"]["base_density"] == pytest.approx(3 / 1000)
    assert exact["lexical_documents"]["base_occurrences"] == pytest.approx(1.5 + 0.75)
    rows = {(row["corpus"], row["measure"]): row for row in results["estimates"]}
    assert len(rows) == 6
    lexical = rows["en", "lexical_documents"]
    assert (lexical["estimated"], lexical["exact"]) == (1.5, 2.25)
    assert (lexical["fewer"], lexical["more"]) == (45, 0)
    assert lexical["correlation"] == pytest.approx(1)
    occurrences = {
        (row["culture"], row["direction"], row["measure"]): row
        for row in results["exact_occurrences"]
    }
    korean = occurrences["ko", "base-to-target", "answer_documents"]
    assert (korean["mean_transferred"], korean["mean_all"]) == (9, 4.5)
    assert korean["transferred_low"] is None, "all transferred questions have the same count"
    assert korean["all_low"] < 4.5 < korean["all_high"]
    assert "lexical judge, every document" in page


def test_ratio_without_a_bound_where_the_base_corpus_holds_next_to_nothing(tmp_path: Path) -> None:
    # One of 60 is not drawn in 36 % of the draws: the ratio is infinite there.
    one = [1] + [0] * 59
    results, _, page = analysed(tmp_path, korean_study(tmp_path, english=one))
    (row,) = results["densities"]
    assert row["base_found"] == 1
    assert row["ratio"] == pytest.approx(3 / 100 / (1 / 60 / 1000))
    assert row["ratio_low"] > 0
    assert row["ratio_high"] is None
    assert f"from {row['ratio_low']:,.1f} up" in page
    _, verdict, reason = finding(results, "Higher density in the Korean corpus")
    assert verdict == "cannot be said"
    assert reason == "Fewer than 10 questions are found in one of the two."
    here, consequence = limit(results, "Questions found")
    assert here.endswith("Korean 1 and 45 of 60")
    assert "handful of questions" in consequence


def test_nothing_found_is_no_interval_and_no_finding(tmp_path: Path) -> None:
    nothing = [0] * 60
    results, _, page = analysed(tmp_path, korean_study(tmp_path, korean=nothing, english=nothing))
    (row,) = results["densities"]
    assert (row["target_density"], row["target_density_low"], row["ratio"]) == (0, None, None)
    assert row["ratio_low"] is None
    assert finding(results, "Higher density in the Korean corpus")[1] == "cannot be said"
    _, verdict, reason = finding(results, "More occurrences of transferred items, English")
    assert verdict == "cannot be said"
    assert "Nothing was found of any of 60 items" in reason
    _, verdict, reason = finding(results, "Effect of occurrences, estimated")
    assert (verdict, reason[:23]) == ("cannot be said", "It cannot be estimated:")
    assert results["model_terms"] == []
    assert "Not estimated: " in page


def test_zero_is_where_a_corpus_holds_none_of_what_the_other_holds(tmp_path: Path) -> None:
    results, _, _ = analysed(tmp_path, korean_study(tmp_path, korean=[0] * 60))
    (row,) = results["densities"]
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (0, None, None)
    assert finding(results, "Higher density in the Korean corpus")[1] == "cannot be said"


def test_frequencies_of_before_the_exact_counts_are_still_reported(tmp_path: Path) -> None:
    inputs = korean_study(tmp_path)
    path = inputs.frequencies["ko"] / "questions.parquet"
    old = ["culture", "question", "corpus", "retrieved", "occurrences", "documents", "density"]
    pq.write_table(pq.read_table(path).select(old), path)
    results, _, page = analysed(tmp_path, inputs)
    assert results["densities"][0]["ratio"] == pytest.approx(20)
    assert results["exact_densities"] == results["estimates"] == []
    assert "Beside exact counts" not in page


def test_intervals_of_several_groups_keep_the_size_of_each() -> None:
    """Two groups without variation in themselves: there is nothing to draw."""
    groups = [np.zeros(50), np.full(150, 4.0)]
    interval = bootstrap_interval(groups, Resampling(200, 0.95, seeded_generator(0)))
    assert (interval.low, interval.high) == (3, 3)


def test_a_ratio_of_draws_that_are_all_zero_is_left_out_and_one_over_zero_is_infinite() -> None:
    tops, bottoms = np.array([1.0] + [0.0] * 19), np.array([1.0] + [0.0] * 19)
    interval = bootstrap_ratio_interval(tops, bottoms, Resampling(500, 0.95, seeded_generator(0)))
    assert (interval.low, interval.high) == (1, 1), "of the draws that have it"
    interval = bootstrap_ratio_interval(
        np.ones(20), bottoms, Resampling(500, 0.95, seeded_generator(0))
    )
    assert np.isinf(interval.high)
    assert np.isfinite(interval.low)


def test_rank_correlation_is_scipys_within_a_group_and_ignores_what_is_between_groups() -> None:
    generator = np.random.default_rng(1)
    one = generator.poisson(2, 300).astype(float)
    other = one + generator.poisson(4, 300)
    assert spearman([(one, other)]) == pytest.approx(spearmanr(one, other).statistic)
    unrelated = [(generator.normal(at, 1, 400), generator.normal(at, 1, 400)) for at in (0, 50)]
    assert abs(spearman(unrelated)) < 0.1
    assert spearmanr(*np.concatenate(unrelated, axis=1)).statistic > 0.7
    few = np.array([1.0] * 9 + [0.0] * 291)
    assert np.isnan(spearman([(few, other)]))
    assert spearman([(few, other), (one, other)]) == spearman([(one, other)])
    assert np.isnan(spearman([]))


def test_interval_of_a_rank_correlation_covers_the_truth() -> None:
    generator, covered = np.random.default_rng(2), 0
    # Of a bivariate normal distribution: 6 / pi arcsin(r / 2).
    truth = 6 / np.pi * np.arcsin(0.5 / 2)
    for trial in range(150):
        one = generator.normal(size=120)
        other = 0.5 * one + np.sqrt(0.75) * generator.normal(size=120)
        interval = spearman_interval(
            [(one, other)], Resampling(300, 0.9, seeded_generator(0, str(trial)))
        )
        covered += interval.low <= truth <= interval.high
    assert 0.82 < covered / 150 < 0.96


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (wording.average(2.345), "2.35"), (wording.average(0.0123), "0.012"),
        (wording.average(0.00004), "4.00e−5"), (wording.average(0.0), "0"),
        (wording.average(None), "–"), (wording.span(0.0, 0.5, wording.average), "0 to 0.50"),
        (wording.ratio(61.74), "61.7"), (wording.ratio(1.0), "1.00"), (wording.ratio(0.01), "0.01"),
        (wording.span(1.3, math.inf, wording.ratio), "from 1.30 up"),
        (wording.span(math.nan, math.nan, wording.ratio), "–"),
        (wording.correlation(0.314), "+0.31"), (wording.correlation(-0.001), "0.00"),
        (wording.span(-0.2, 0.1, wording.correlation), "−0.20 to +0.10"),
    ],
)  # fmt: skip
def test_small_numbers_are_not_shown_as_nothing(shown: str, expected: str) -> None:
    assert shown == expected
