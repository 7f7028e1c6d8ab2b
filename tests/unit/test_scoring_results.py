"""Accuracies are computed from the published rows, as a hand computation has them."""

import math
from pathlib import Path

from ccx_ray.evaluation.probes import ProbeItem
from ccx_ray.evaluation.ranking import rank_options
from ccx_ray.evaluation.results import probe_results, publish_results, read_results, summarize

OPTIONS = ("a", "b", "c", "d")


def test_the_summary_of_four_questions(tmp_path: Path):
    ranked = [
        rank_options(ProbeItem(question="_", options=OPTIONS, answer=answer), scores)
        for answer, scores in (
            ("b", (2.0, 1.0, 3.0, 4.0)),  # right
            ("a", (1.0, 1.0, 1.0, 1.0)),  # right by option order alone
            ("a", (2.0, 1.0, 3.0, 4.0)),  # wrong
            ("e", (2.0, 1.0, 3.0, 4.0)),  # the answer is not among the options
        )
    ]
    path = tmp_path / "step-000020.parquet"
    other = probe_results("ko-bridge-s0", 20, "ko-ko", ranked[:1])
    publish_results(path, [probe_results("ko-bridge-s0", 20, "ko-en", ranked), other])
    rows = read_results(path)
    assert rows["gold"].to_pylist() == [1, 0, 0, -1, 1]
    assert rows["choice"].to_pylist() == [1, 0, 1, 1, 1]
    assert rows["tied"].to_pylist() == [False, True, False, False, False]
    assert rows["question"].to_pylist() == [0, 1, 2, 3, 0]
    assert rows["scores"].to_pylist()[0] == [2.0, 1.0, 3.0, 4.0]
    assert summarize(rows) == {
        "ko-en": {
            "questions": 4,
            "correct": 2,
            "accuracy": 0.5,
            "accuracy_ties_wrong": 0.25,
            "standard_error": math.sqrt(0.5 * 0.5 / 4),
            "tied": 1,
            "by_gold_position": {
                "-1": {"questions": 1, "correct": 0, "accuracy": 0.0},
                "0": {"questions": 2, "correct": 1, "accuracy": 0.5},
                "1": {"questions": 1, "correct": 1, "accuracy": 1.0},
            },
        },
        "ko-ko": {
            "questions": 1,
            "correct": 1,
            "accuracy": 1.0,
            "accuracy_ties_wrong": 1.0,
            "standard_error": 0.0,
            "tied": 0,
            "by_gold_position": {"1": {"questions": 1, "correct": 1, "accuracy": 1.0}},
        },
    }


def test_of_repeated_options_the_text_decides():
    item = ProbeItem(question="_", options=("x", "y", "x"), answer="x")
    ranked = rank_options(item, (1.0, 2.0, 1.0))
    assert (ranked.correct, ranked.tied, ranked.ranking) == (True, True, (0, 2, 1))
