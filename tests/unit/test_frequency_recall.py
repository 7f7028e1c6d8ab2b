"""Recall of what an exhaustive scan finds, over questions that have something to find."""

from pathlib import Path

import pytest

from ccx_ray.frequency.retrieval.corpus_index import Hit
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.validating import RECALL, measure_recall, recall
from tests.estimated_corpus import write_estimated


def test_recall_is_of_what_was_reachable() -> None:
    holders = [set(range(100)), {1, 2}, {7}]
    retrieved = [set(range(50)), {2, 3}, {8, 9}]
    row = recall(holders, retrieved, top=50, seed=0)
    assert (row["questions"], row["holders"]) == (3, 103)
    assert (row["reachable"], row["found"]) == (53, 51)
    assert row["recall"] == pytest.approx(51 / 53)
    # Drawn with replacement, the questions may all be the last one, or all the first.
    assert (row["recall_low"], row["recall_high"]) == (0.0, 1.0)


def test_the_interval_is_over_questions_and_narrows_with_them() -> None:
    def width(questions: int) -> float:
        holders = [{1, 2}] * questions
        retrieved = [{1, 2}, {1}] * (questions // 2)
        row = recall(holders, retrieved, top=50, seed=0)
        assert row["recall_low"] < row["recall"] == 0.75 < row["recall_high"]
        return float(row["recall_high"] - row["recall_low"])

    assert width(400) == pytest.approx(width(100) / 2, rel=0.25)


def test_nothing_to_find_is_no_recall() -> None:
    row = recall([], [], top=50, seed=0)
    assert (row["questions"], row["reachable"], row["found"]) == (0, 0, 0)
    assert row["recall"] is row["recall_low"] is row["recall_high"] is None
    alone = recall([{1, 2}], [{1}], top=50, seed=0)
    assert (alone["recall"], alone["recall_low"]) == (0.5, None)


def test_every_culture_and_retriever_has_a_row(tmp_path: Path) -> None:
    clozes = {
        culture: [Cloze(question=f"{culture} {i} ___", answer="a") for i in range(3)]
        for culture in ("ko", "bo")
    }
    estimated = write_estimated(
        tmp_path,
        ["a text"] * 9,
        clozes,
        {"ko": [(0, 1, True)], "bo": []},
        holders={"ko": [(0, 1), (0, 2), (2, 5)]},
    )
    asked: list[list[str]] = []

    def search(queries: list[str], top: int) -> list[list[Hit]]:
        asked.append(queries)
        hit = Hit(document=1, score=1.0, passage_start=0, passage_length=1)
        return [[hit][:top] for _ in queries]

    retrievers = {"ngram": search, "bm25": lambda queries, top: [[] for _ in queries]}
    rows = measure_recall(estimated, retrievers, query="filled", top=1, seed=0)
    # Questions without a holder are not asked, nor are those of a culture that has none.
    assert asked == [["ko 0 a", "ko 2 a"]]
    assert all(list(row) == RECALL.names for row in rows)
    assert [(row["culture"], row["retriever"], row["recall"]) for row in rows] == [
        ("ko", "ngram", 0.5),
        ("ko", "bm25", 0.0),
        ("bo", "ngram", None),
        ("bo", "bm25", None),
    ]
    # The halves of pairs are no documents.
    assert (rows[0]["holders"], rows[0]["reachable"]) == (3, 2)
