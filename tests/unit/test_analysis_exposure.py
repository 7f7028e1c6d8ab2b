"""Exposure beside transfer, against numbers worked out by hand."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import spearmanr

from tests.finished_study import (
    QUESTIONS,
    Times,
    analysed,
    finding,
    limit,
    small_study,
    write_exposure,
    write_study,
)


def known_effect(run: str, step: int, probe: str) -> list[bool]:
    """Korean questions with q mod 4 = 3 are learnt from bridges alone, from step 40 on."""
    learnt = run.startswith("ko-bridge") and probe == "ko-ko" and step >= 40
    culture = probe.split("-", maxsplit=1)[0]
    return [q % 5 == 0 or (learnt and q % 4 == 3) for q in range(QUESTIONS[culture])]


def read_so_far(trial: str, step: int, text: str, question: int) -> Mapping[str, float]:
    """English evidence of q is read q mod 4 times by the base and again in 60 steps; of Korean only
    that of every other question, by half in bridge."""
    if text == "en":
        return {"base": question % 4, "replay": question % 4 * step / 60, "judged": question % 4}
    half = 0.5 if "-bridge-" in trial else 1.0
    return {"monolingual": half * (question % 2) * step / 60, "parallel": 1.0}


def exposed_study(
    root: Path, times: Times, *languages: str
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Results, summary and page of a study whose exposure is known of some languages."""
    study = small_study("trials.languages=[ko, mn]", "trials.seeds=[0,1]")
    inputs = write_study(root, study, known_effect)
    exposures = {code: root / f"exposure-{code}" for code in languages}
    for code, folder in exposures.items():
        write_exposure(folder, study, code, times)
    return analysed(root, replace(inputs, exposures=exposures))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], str]:
    return exposed_study(tmp_path_factory.mktemp("study"), read_so_far, "ko", "mn")


def rows_of(results: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {
        (row["culture"], row["direction"], row["step"], row["measure"]): row
        for row in results["exposures"]
    }


def test_exposure_grows_with_the_checkpoints_in_the_language_that_knowledge_moves_from(
    known: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    rows = rows_of(known[0])
    assert {step for _, _, step, _ in rows} == {20, 40, 60}, "before the trial there is no transfer"
    half_way = rows["ko", "base-to-target", 20, "exposure"]
    assert half_way["mean_all"] == pytest.approx(1.5 * (1 + 20 / 60))
    assert (half_way["transferred"], half_way["mean_transferred"]) == (0, None)
    assert half_way["correlation"] is None
    last = rows["ko", "base-to-target", 60, "exposure"]
    assert (last["text"], last["mean_all"], last["mean_transferred"]) == ("en", 3, 6)
    assert (last["exposed"], last["questions"], last["transferred"]) == (45, 60, 12)
    assert last["p_value"] < 0.01
    transferred = [q % 4 == 3 and q % 5 > 0 for q in range(60)]
    expected = spearmanr([q % 4 for q in range(60)], transferred).statistic
    assert last["correlation"] == pytest.approx(expected)
    assert last["correlation_low"] < expected < last["correlation_high"]
    assert rows["ko", "base-to-target", 60, "judged"]["mean_all"] == 1.5


def test_exposure_is_the_mean_of_both_conditions_which_are_shown_too(
    known: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    row = rows_of(known[0])["ko", "target-to-base", 60, "exposure"]
    assert (row["mean_bridge"], row["mean_nobridge"]) == (1.25, 1.5)
    assert (row["text"], row["mean_all"]) == ("ko", 1.375)
    (part,) = (
        part
        for part in known[0]["exposure_parts"]
        if (part["culture"], part["text"], part["step"]) == ("ko", "ko", 60)
    )
    assert (part["monolingual"], part["parallel"], part["base"]) == (0.375, 1, 0)
    assert (part["exposure"], part["judged"]) == (1.375, 0)


def test_pooled_correlations_are_within_cultures(
    known: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    """Nothing transfers in Mongolian, so that its questions have no correlation."""
    rows = rows_of(known[0])
    pooled, korean = (rows[who, "base-to-target", 60, "exposure"] for who in ("all", "ko"))
    assert pooled["questions"] == 88
    assert pooled["correlation"] == korean["correlation"]
    assert rows["mn", "base-to-target", 60, "exposure"]["correlation"] is None
    assert (pooled["text"], rows["all", "target-to-base", 60, "exposure"]["text"]) == (
        "en", "target",
    )  # fmt: skip
    (shown, other) = known[1]["exposures"]
    assert shown == pooled
    assert other["direction"] == "target-to-base"


def test_transfer_by_exposure(known: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    bins = {
        row["bin"]: row
        for row in known[0]["exposure_bins"]
        if (row["culture"], row["direction"]) == ("ko", "base-to-target")
    }
    assert {label: row["questions"] for label, row in bins.items()} == {
        "0": 15, "to 1": 0, "to 4": 30, "to 16": 15, "more": 0,
    }  # fmt: skip
    assert bins["to 16"]["transfer"] == pytest.approx(12 / 15)
    assert bins["more"]["transfer"] is None


def test_findings_say_what_the_rows_say(known: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    results, _, page = known
    question = "Correlation of exposure with transfer, "
    result, verdict, _ = finding(results, question + "English → target")
    assert "6.00 times of transferred items and 3.00 of all" in result
    assert verdict == "found"
    result, verdict, reason = finding(results, question + "target → English")
    assert result == "evidence of 88 of 88 items was read up to step 60"
    assert verdict == "cannot be said"
    assert "too few that transfer otherwise" in reason
    assert 'id="exposure-correlation-' in page, "the figure"
    assert not any(row["question"] == question + "Korean" for row in results["findings"])


def test_what_was_not_computed_is_said(tmp_path: Path) -> None:
    results, summary, page = exposed_study(tmp_path, lambda *_: {}, "mn")
    assert {row["culture"] for row in results["exposures"]} == {"mn", "all"}
    _, verdict, reason = finding(results, "Correlation of exposure with transfer, Korean")
    assert (verdict, "was not computed" in reason) == ("cannot be said", True)
    result, verdict, reason = finding(results, "Correlation of exposure with transfer, English")
    assert result == "evidence of 0 of 28 items was read up to step 60"
    assert (verdict, reason) == ("cannot be said", "No evidence was read.")
    never, _ = limit(results, "No exposure")
    assert "Mongolian questions in English text and Mongolian questions in Mongolian text" in never
    assert summary["exposures"][0]["exposed"] == 0
    assert "Mean exposure of transferred items" in page


def test_a_study_without_exposure_has_a_report(tmp_path: Path) -> None:
    results, summary, page = exposed_study(tmp_path, lambda *_: {})
    assert results["exposures"] == results["exposure_bins"] == summary["exposures"] == []
    assert "evidence was not computed in this run" in page
