"""Scores follow from token log-probabilities, and accuracies from the published rows, by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ccx_ray.evaluation.probes import ProbeItem
from ccx_ray.evaluation.results import (
    SCORE_TYPES,
    ScoredItem,
    ScoredOption,
    outcomes,
    probe_results,
    publish_results,
    read_results,
    summarize,
)

OPTIONS = ("a", "b", "c", "d")


def scored(index: int, answer: str, scores: tuple[float, ...]) -> ScoredItem:
    """A question whose options are sentences of one token, which is the option."""
    return ScoredItem(
        item=ProbeItem(question="_", options=OPTIONS, answer=answer),
        index=index,
        options=tuple(
            ScoredOption(
                token_nats=np.array([score], np.float32),
                option_tokens=np.array([True]),
                bytes=1,
                option_bytes=1,
                alone_nats=1.0,
                reference=score,
            )
            for score in scores
        ),
    )


def test_the_summary_of_four_questions(tmp_path: Path):
    items = [
        scored(0, "b", (2.0, 1.0, 3.0, 4.0)),  # right
        scored(1, "a", (1.0, 1.0, 1.0, 3.0)),  # right by option order alone
        scored(2, "a", (2.0, 1.0, 3.0, 4.0)),  # wrong
        scored(5, "e", (2.0, 1.0, 3.0, 4.0)),  # the answer is not among the options
    ]
    path = tmp_path / "step-000020.parquet"
    other = probe_results("ko-bridge-s0", 20, "ko-ko", items[:1])
    publish_results(path, [probe_results("ko-bridge-s0", 20, "ko-en", items), other])
    rows = read_results(path)
    assert rows["gold"].to_pylist() == [1, 0, 0, -1, 1]
    assert rows["choice"].to_pylist() == [1, 0, 1, 1, 1]
    assert rows["tied"].to_pylist() == [False, True, False, False, False]
    assert rows["question"].to_pylist() == [0, 1, 2, 5, 0]
    assert rows["reference"].to_pylist()[0] == [2.0, 1.0, 3.0, 4.0]
    assert rows["right"].to_pylist()[0] == [False, True, False, False]
    assert rows["quality"].to_pylist()[3] == ["answer_absent"]
    summary = summarize(rows)
    accuracies = {
        "correct": 2,
        "accuracy": 0.5,
        "accuracy_ties_wrong": 0.25,
        "accuracy_ties_shared": (1 + 1 / 3) / 4,
        "standard_error": math.sqrt(0.5 * 0.5 / 4),
        "tied": 1,
        "by_gold_position": {
            "-1": {"questions": 1, "correct": 0, "accuracy": 0.0},
            "0": {"questions": 2, "correct": 1, "accuracy": 0.5},
            "1": {"questions": 1, "correct": 1, "accuracy": 1.0},
        },
    }
    # With one token of one byte every score is the same, up to a constant.
    by_kind = dict.fromkeys(SCORE_TYPES, accuracies)
    assert summary["ko-en"] == {"questions": 4, **accuracies, "scores": by_kind}
    assert summary["ko-ko"]["accuracy"] == summary["ko-ko"]["accuracy_ties_wrong"] == 1.0


def labelled(one: ScoredItem, **labels: str) -> ScoredItem:
    return replace(one, item=replace(one.item, **labels))


def test_the_standard_error_is_over_clusters():
    right, wrong = scored(0, "b", (2.0, 1.0, 3.0, 4.0)), scored(0, "a", (2.0, 1.0, 3.0, 4.0))
    answers = [right, right, right, wrong]
    alone = probe_results("base", 1, "p", answers)
    assert alone["group"].to_pylist() == alone["cluster"].to_pylist() == [""] * 4
    binomial = math.sqrt(0.75 * 0.25 / 4)
    assert summarize(alone)["p"]["standard_error"] == binomial
    twice = [
        labelled(one, cluster=f"entity {place}", group="both")
        for place, one in enumerate(answers)
        for _ in range(2)
    ]
    rows = probe_results("base", 1, "p", twice)
    assert rows["cluster"].to_pylist()[1:3] == ["entity 0", "entity 1"]
    assert rows["group"].to_pylist() == ["both"] * 8
    assert summarize(rows)["p"]["standard_error"] == pytest.approx(binomial)
    of_one = probe_results("base", 1, "p", [labelled(one, cluster="entity") for one in answers])
    assert summarize(of_one)["p"]["standard_error"] is None


def test_questions_may_differ_in_options():
    items = [
        scored(0, "b", (2.0, 1.0, 3.0, 4.0)),
        ScoredItem(
            item=ProbeItem(question="_", options=("a", "b"), answer="a"),
            index=1,
            options=scored(1, "a", (1.0, 1.0, 1.0, 1.0)).options[:2],
        ),
    ]
    found = outcomes(probe_results("base", 1, "p", items), "reference")
    assert found.choice.tolist() == [1, 0]
    assert found.correct.tolist() == [True, True]
    assert found.tied.tolist() == [False, True]
    assert found.shared.tolist() == [1.0, 0.5]


def test_every_score_by_hand():
    option = ScoredOption(
        token_nats=np.array([4.0, 1.0, 2.0, 3.0], np.float32),
        option_tokens=np.array([False, True, True, False]),
        bytes=20,
        option_bytes=6,
        alone_nats=7.0,
        reference=2.5,
    )
    assert {kind: option.score(kind) for kind in SCORE_TYPES} == {
        "reference": 2.5,
        "sum": 10.0,
        "per_byte": 0.5,
        "option_sum": 3.0,
        "option_mean": 1.5,
        "option_per_byte": 0.5,
        "mutual_information": 3.0,
    }


def test_of_repeated_options_the_text_decides():
    item = ProbeItem(question="_", options=("x", "y", "x"), answer="x")
    ranked = replace(scored(0, "x", (1.0, 2.0, 1.0)), item=item).ranked()
    assert (ranked.correct, ranked.tied, ranked.ranking) == (True, True, (0, 2, 1))


def test_rows_are_only_read_with_the_columns_of_the_format(tmp_path: Path):
    path = tmp_path / "step.parquet"
    publish_results(path, [probe_results("base", 1, "p", [scored(0, "a", (1.0, 2.0, 3.0, 4.0))])])
    assert read_results(path, ["question", "sum"]).column_names == ["question", "sum"]
    with pytest.raises(KeyError, match="scores"):
        read_results(path, ["scores"])
