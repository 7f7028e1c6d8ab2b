"""Proficiency on held-out text and consistency between languages, against hand computations."""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccx_ray.analysis.measures.languages import random_consistency
from ccx_ray.analysis.statistics import (
    Resampling,
    bootstrap_ratio_interval,
    ratio_standard_error,
)
from ccx_ray.analysis.tables import AnalysisInputs
from ccx_ray.evaluation.rank_consistency import rank_consistency
from tests.finished_study import (
    QUESTIONS,
    Question,
    analyse_unrendered,
    finding,
    limit,
    small_study,
    write_evaluation,
    write_study,
)

LN2 = math.log(2)


def known_effect(run: str, step: int, probe: str) -> list[bool]:
    """Korean bridges teach what is asked in Korean."""
    learnt = run.startswith("ko-bridge") and probe == "ko-ko"
    return [q % 5 == 0 or (learnt and q % 4 == 3) for q in range(QUESTIONS["ko"])]


def analysed(root: Path, inputs: AnalysisInputs) -> tuple[dict[str, Any], str]:
    folder = root / "analysis"
    folder.mkdir()
    analyse_unrendered(inputs, folder)
    results = json.loads((folder / "results.json").read_text("utf-8"))
    return results, (folder / "report.html").read_text("utf-8")


def test_proficiency_is_compared_document_by_document(tmp_path: Path) -> None:
    def nats(run: str, step: int, text: str) -> Sequence[float]:
        if text == "en" or run == "base":
            return [60.0, 90.0]
        if "-bridge-" in run:
            return [40.0 if run.endswith("s0") else 44.0, 60.0]
        return [50.0, 70.0]

    study = small_study("trials.languages=[ko]", "trials.seeds=[0,1]")
    results, page = analysed(tmp_path, write_study(tmp_path, study, known_effect, nats))
    rows = {(r["condition"], r["seed"], r["text"], r["step"]): r for r in results["proficiencies"]}
    steps = study.trials.checkpoint_steps
    # 30 tokens and 120 bytes in two documents, of one and of two thirds.
    assert rows["base", None, "ko", 0]["bits_per_byte"] == pytest.approx(150 / 120 / LN2)
    pooled = rows["bridge", None, "ko", steps[-1]]
    assert (pooled["documents"], pooled["tokens"], pooled["bytes"]) == (2, 30, 120)
    assert pooled["bits_per_byte"] == pytest.approx(102 / 120 / LN2)
    assert pooled["perplexity"] == pytest.approx(math.exp(102 / 30))
    # Residuals of 42 and 60 nats from 0.85 a byte: 8 and -8.
    assert pooled["standard_error"] == pytest.approx(math.sqrt(2 * 128) / 120 / LN2)
    assert rows["bridge", 1, "ko", steps[0]]["bits_per_byte"] == pytest.approx(104 / 120 / LN2)
    last = {
        row["text"]: row for row in results["proficiency_differences"] if row["step"] == steps[-1]
    }
    korean = last["ko"]
    assert (korean["direction"], korean["documents"]) == ("base-to-target", 2)
    assert korean["difference"] == pytest.approx(-18 / 120 / LN2)
    assert korean["seed_differences"] == pytest.approx([-20 / 120 / LN2, -16 / 120 / LN2])
    # Two documents can only be drawn as one of them twice, or both.
    assert korean["low"] == pytest.approx(-8 / 40 / LN2)
    assert korean["high"] == pytest.approx(-10 / 80 / LN2)
    assert (last["en"]["difference"], last["en"]["low"], last["en"]["high"]) == (0, 0, 0)
    result, verdict, reason = finding(results, "Better proficiency with bridges")
    assert result.endswith("asked in: 1 of 2 cells, more: 0, not told apart: 1")
    assert verdict == "in part"
    assert reason == "Transfer that may be proficiency in part: English → Korean."
    assert limit(results, "Held-out text")[0].startswith("fewer than 20 documents: Korean 2")
    assert "−0.216" in page
    assert 'id="proficiency-' in page, "the figure"


def test_significant_transfer_beside_worse_proficiency_is_called_that(tmp_path: Path) -> None:
    def nats(run: str, step: int, text: str) -> Sequence[float]:
        return [60.0, 80.0] if "-bridge-" in run else [50.0, 70.0]

    study = small_study("trials.languages=[ko]", "trials.seeds=[0]")
    results, _ = analysed(tmp_path, write_study(tmp_path, study, known_effect, nats))
    result, verdict, reason = finding(results, "Better proficiency with bridges")
    assert result.endswith("0 of 2 cells, more: 2, not told apart: 0")
    assert verdict == "not found"
    assert reason == "Transfer without better proficiency: English → Korean."


def test_one_document_has_no_interval_and_no_held_out_text_is_a_limit(tmp_path: Path) -> None:
    study = small_study("trials.languages=[ko]", "trials.seeds=[0]")
    one = tmp_path / "one"
    results, _ = analysed(one, write_study(one, study, known_effect, lambda *_: [50.0]))
    row = results["proficiency_differences"][0]
    assert (row["difference"], row["low"], row["high"]) == (0, None, None)
    assert results["proficiencies"][0]["standard_error"] is None
    none = tmp_path / "none"
    results, page = analysed(none, write_study(none, study, known_effect))
    assert results["proficiencies"] == []
    _, verdict, reason = finding(results, "Better proficiency with bridges")
    assert verdict == "cannot be said"
    assert reason.startswith("No held-out text was scored under both conditions")
    assert "No trial was scored on held-out text" in page


def test_ratio_of_sums_has_the_error_that_repetition_shows() -> None:
    generator = np.random.default_rng(3)

    def draw(count: int) -> tuple[Any, Any]:
        sizes = generator.uniform(50, 500, count)
        return sizes * generator.normal(2.0, 0.3, count), sizes

    means = [top.sum() / size.sum() for top, size in (draw(60) for _ in range(3000))]
    tops, sizes = draw(60)
    assert ratio_standard_error(tops, sizes) == pytest.approx(np.std(means), rel=0.25)
    interval = bootstrap_ratio_interval(tops, sizes, Resampling(2000, 0.95, generator))
    assert interval.high - interval.low == pytest.approx(4 * np.std(means), rel=0.25)


@pytest.mark.parametrize("options", [2, 3, 4, 5])
def test_unrelated_rankings_have_the_mean_over_all_pairs(options: int) -> None:
    every = list(itertools.permutations(range(options)))
    pairs = list(itertools.product(every, every))
    values = rank_consistency([one for one, _ in pairs], [other for _, other in pairs])
    assert random_consistency(options) == pytest.approx(values.mean())


def test_consistency_is_of_the_two_versions_of_a_question(tmp_path: Path) -> None:
    study = small_study(
        "trials.languages=[ko]", "trials.seeds=[0,1]", "evaluation.exclude=[repeated_option]"
    )
    inputs = write_study(tmp_path, study, known_effect)
    forwards, backwards = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]
    english = [Question(scores=forwards, gold=0) for _ in range(8)]
    # Question 0 is odd in Korean alone, and so left out of both; of the others the bridge models of
    # seed 1 rank the first three the other way round, the other models rank all alike.
    odd = Question(scores=backwards, gold=0, quality=("repeated_option",))
    alike = [odd, *english[1:]]
    turned = [odd, *[Question(scores=backwards, gold=0)] * 3, *english[4:]]
    for run, folder in inputs.evaluations.items():
        for path in folder.glob("step-*.parquet"):
            step = int(path.stem.removeprefix("step-"))
            korean = turned if run == "ko-bridge-s1" else alike
            path.unlink()
            write_evaluation(folder, run, step, {"ko-ko": korean, "ko-en": english})
    results, _ = analysed(tmp_path, inputs)
    last = study.trials.checkpoint_steps[-1]
    rows = {(row["condition"], row["step"]): row for row in results["consistencies"]}
    assert (rows["base", 0]["questions"], rows["base", 0]["consistency"]) == (7, 1)
    assert rows["nobridge", last]["consistency"] == 1
    bridge = rows["bridge", last]
    # Of a ranking and its reverse: none, none, two thirds and all of the first 1, 2, 3, 4.
    weights = [math.exp(-j) / sum(math.exp(-k) for k in range(1, 5)) for j in range(1, 5)]
    reverse = weights[2] * 2 / 3 + weights[3]
    assert bridge["seed_consistencies"] == pytest.approx([1, (3 * reverse + 4) / 7])
    assert bridge["consistency"] == pytest.approx((1 + (3 * reverse + 4) / 7) / 2)
    assert bridge["low"] < bridge["consistency"] < bridge["high"]
    assert bridge["random"] == pytest.approx(sum(w * j / 4 for j, w in enumerate(weights, 1)))
    result, verdict, reason = finding(results, "Consistency between the languages")
    assert "1.000 against 0.377" in result
    assert verdict == "found"
    assert "no proof of knowledge that is shared" in reason
