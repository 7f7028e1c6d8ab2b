"""What the report says of the tests of the frequency estimate."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import spearmanr

from tests.finished_study import (
    QUESTIONS,
    analysed,
    finding,
    small_study,
    write_study,
    write_validation,
)

OWN = "ngram+bm25"
PRECISION = {"precision": 0.8, "precision_low": 0.7, "precision_high": 0.9}
KAPPA = {"kappa": 0.7, "kappa_low": 0.5, "kappa_high": 0.85}
CORRECTED = {
    "density": 2e-7, "corrected_density": 1.6e-7, "corrected_low": 1.2e-7, "corrected_high": 3e-7,
}  # fmt: skip


def nothing_differs(run: str, step: int, probe: str) -> list[bool]:
    return [question % 5 == 0 for question in range(QUESTIONS[probe.split("-", maxsplit=1)[0]])]


def recall(corpus: str, retriever: str, found: int) -> dict[str, Any]:
    return {
        "corpus": corpus, "culture": "ko", "retriever": retriever, "top": 50, "questions": 40,
        "holders": 120, "reachable": 100, "found": found, "recall": found / 100,
        "recall_low": found / 100 - 0.05, "recall_high": found / 100 + 0.05,
    }  # fmt: skip


def planted(retriever: str, judge: str, estimated: Sequence[int]) -> list[dict[str, Any]]:
    """Facts written 0, 1, 2, 4, 8 times in turn."""
    return [
        {"corpus": "ko", "retriever": retriever, "judge": judge, "fact": fact,
         "planted": (0, 1, 2, 4, 8)[fact % 5], "estimated": count}
        for fact, count in enumerate(estimated)
    ]  # fmt: skip


TABLES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "recall": [
        recall("en", OWN, 90), recall("en", "bm25", 70), recall("ko", OWN, 60),
        recall("ko", "bm25", 55),
    ],
    "agreement": [
        {"corpus": "ko", "culture": culture, "judge": "lexical 0.5", "other": "lexical 0.8",
         "pairs": 100, "both": 40, "only_judge": 10, "only_other": 5, "neither": 45,
         "kappa": 0.7, "low": 0.55, "high": 0.83}
        for culture in ("all", "ko")
    ],
    "planted": [
        *planted(OWN, "lexical 0.5", [0, 1, 2, 4, 8] * 4),
        *planted(OWN, "lexical 0.8", [0, 1, 1, 2, 3] * 4),
        *planted("bm25", "lexical 0.5", [0] * 20),
    ],
}  # fmt: skip
REVIEW = [
    {"corpus": "ko", "culture": "all", "reviewed": 100, "agreed": 85, **PRECISION,
     "omission": 0.02, **KAPPA, **CORRECTED, "unclear": 0, "accepted_reviewed": 0,
     "refused_reviewed": 0},
]  # fmt: skip


def validated_study(
    root: Path, *, tables: Mapping[str, Any] | None, review: Sequence[Mapping[str, Any]] = ()
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Results, summary and page of a Korean study with these tests of its frequencies."""
    inputs = write_study(
        root, small_study("trials.languages=[ko]", "trials.seeds=[0]"), nothing_differs
    )
    if tables is not None:
        write_validation(root / "validation", tables)
        (root / "validation" / "validation.json").write_text('{"judge": "lexical 0.5"}')
        inputs = replace(inputs, validation=root / "validation")
    if review:
        write_validation(root / "review", {"review": review})
        inputs = replace(inputs, review=root / "review")
    return analysed(root, inputs)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], str]:
    return validated_study(tmp_path_factory.mktemp("study"), tables=TABLES, review=REVIEW)


def test_every_row_of_the_tests_is_in_the_results(
    tested: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    results, summary, page = tested
    assert [dict(row) for row in results["recalls"]] == TABLES["recall"]
    assert [dict(row) for row in results["agreements"]] == TABLES["agreement"]
    assert [dict(row) for row in results["planted"]] == TABLES["planted"]
    assert results["reviews"][0]["corrected_high"] == 3e-7
    assert results["validation"] == {"judge": "lexical 0.5"}
    assert [row["corpus"] for row in summary["recalls"]] == ["en", "ko"], "the study's retriever"
    for figure in ("recall", "planted", "estimates"):
        assert re.search(rf'id="{figure}-', page), figure


def test_planted_facts_are_ranked_by_what_the_study_uses(
    tested: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    results, summary, _ = tested
    rows = {(row["retriever"], row["judge"]): row for row in results["planted_ranks"]}
    own = rows[OWN, "lexical 0.5"]
    assert (own["facts"], own["exact"], own["mean_planted"], own["correlation"]) == (20, 20, 3, 1)
    other = rows[OWN, "lexical 0.8"]
    assert (other["exact"], other["mean_estimated"]) == (8, 1.4)
    assert other["correlation"] == pytest.approx(
        spearmanr([0, 1, 2, 4, 8] * 4, [0, 1, 1, 2, 3] * 4).statistic
    )
    assert rows["bm25", "lexical 0.5"]["correlation"] is None
    assert summary["planted"] == [own]


def test_findings_and_limits_name_what_is_missed(
    tested: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    results, _, page = tested
    result, verdict, reason = finding(results, f"Recall of the retriever ({OWN})")
    assert result.startswith("75\u202f% of 200 reachable documents")
    assert "least 60\u202f% (Korean questions in Korean text)" in result
    assert verdict == "measured"
    assert "more than 20\u202f% are missed: Korean questions in Korean text 60\u202f%" in reason
    planted_ranks = finding(results, "Ranks of planted facts")
    assert planted_ranks == ("rank correlation with the truth +1.00", "measured", "")
    result, verdict, _ = finding(results, "Precision of the judge, by people")
    assert (result.endswith("accept 80\u202f% in Korean"), verdict) == (True, "measured")
    assert "1.20e\u22127 to 3.00e\u22127" in page
    assert "No review has been imported" not in page


def test_without_a_review_the_report_says_how_to_make_one(tmp_path: Path) -> None:
    results, _, page = validated_study(tmp_path, tables=TABLES)
    command = "python jobs/validate_frequency.py --study laptop --export DIR"
    assert command in html.unescape(page)
    _, verdict, reason = finding(results, "Precision of the judge, by people")
    assert verdict == "cannot be said"
    assert reason.startswith("Nobody has read")
    assert command in reason
    assert results["reviews"] == []


def test_tests_without_rows_have_no_part_in_the_report(tmp_path: Path) -> None:
    """No planted facts and no other judge: the files are there, and empty."""
    empty = {name: TABLES[name] if name == "recall" else [] for name in TABLES}
    results, _, page = validated_study(tmp_path, tables=empty)
    assert results["planted"] == results["agreements"] == []
    assert "Facts of known frequency" not in page
    assert "<h3>Judges</h3>" not in page
    assert "<h3>Retrieval</h3>" in page


def test_an_untested_estimate_is_called_that(tmp_path: Path) -> None:
    results, summary, page = validated_study(tmp_path, tables=None)
    assert "nothing is known of its errors" in page
    _, verdict, reason = finding(results, "Errors of the frequency estimate")
    assert (verdict, reason[:18]) == ("cannot be said", "It was not tested:")
    assert not any(row["question"].startswith("Recall") for row in results["findings"])
    assert summary["recalls"] == summary["planted"] == summary["reviews"] == []
