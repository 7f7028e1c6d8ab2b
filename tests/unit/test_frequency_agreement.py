"""Two judges on the same pairs of question and document."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ccx_ray.frequency.judges.verdict import Request, Verdict
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.estimated import EstimatedCorpus, half_accepted
from ccx_ray.frequency.validation.validating import AGREEMENT, agreement, compare_judges
from tests.estimated_corpus import write_estimated


class EvenDocuments:
    """Accepts every document whose text ends in an even digit."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        self.requests += requests
        return [
            Verdict(holds=int(request.document.text[-1]) % 2 == 0, reason="even")
            for request in requests
        ]


class Nobody:
    """Accepts nothing."""

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        return [Verdict(holds=False, reason="no") for _ in requests]


def estimated(folder: Path) -> EstimatedCorpus:
    """The study's judge accepts the documents 0 to 19 of one culture, and 0 to 3 of another."""
    clozes = {culture: [Cloze(question=f"{culture} ___", answer="x")] for culture in ("ko", "bo")}
    texts = [f"document {row}" for row in range(100)]
    pairs = {
        culture: [(0, row, row < accepted) for row in range(100)]
        for culture, accepted in (("ko", 20), ("bo", 4))
    }
    return write_estimated(folder, texts, clozes, pairs)


def test_counts_and_kappa_of_a_known_table() -> None:
    # Cohen's example as in the Wikipedia article: 20, 5, 10, 15 give 0.4.
    one = np.repeat([True, True, False, False], [20, 5, 10, 15])
    other = np.repeat([True, False, True, False], [20, 5, 10, 15])
    row = agreement(one, other)
    assert [row[name] for name in AGREEMENT.names[4:9]] == [50, 20, 5, 10, 15]
    assert row["kappa"] == pytest.approx(0.4)
    assert row["low"] < 0.4 < row["high"]
    assert agreement(other, one)["only_judge"] == 10


@pytest.mark.parametrize(
    ("one", "other"), [([False] * 4, [True, False] * 2), ([True] * 4, [True] * 4), ([], [])]
)
def test_a_judge_that_never_varies_has_no_kappa(one: list[bool], other: list[bool]) -> None:
    row = agreement(np.array(one, bool), np.array(other, bool))
    assert row["kappa"] is row["low"] is row["high"] is None
    assert row["pairs"] == len(one)


def test_all_judges_see_the_same_pairs_half_of_them_accepted(tmp_path: Path) -> None:
    even = EvenDocuments()
    corpus = estimated(tmp_path)
    rows = compare_judges(corpus, "lexical", {"even": even, "nobody": Nobody()}, pairs=40, seed=0)
    assert all(list(row) == AGREEMENT.names for row in rows)
    assert [(row["judge"], row["other"], row["culture"]) for row in rows] == [
        (one, other, culture)
        for one, other in (("lexical", "even"), ("lexical", "nobody"), ("even", "nobody"))
        for culture in ("all", "ko", "bo")
    ]
    every, ko, bo = rows[:3]
    assert every["pairs"] == 40 == len(even.requests)
    assert every["both"] + every["only_judge"] == 20
    for name in ("pairs", "both", "only_judge", "only_other", "neither"):
        assert every[name] == ko[name] + bo[name]
    held = sum(int(request.document.text.split()[1]) % 2 == 0 for request in even.requests)
    assert every["both"] + every["only_other"] == held
    assert {request.cloze.question for request in even.requests} == {"ko ___", "bo ___"}
    assert all(request.passage_length == 50 for request in even.requests)


class Mumbler(EvenDocuments):
    """Has no verdict on documents whose text ends in 0 or 1."""

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        return [
            Verdict(holds=None, reason="no readable answer: ...") if one.document.text[-1] in "01"
            else verdict
            for one, verdict in zip(requests, super().judge(requests), strict=True)
        ]  # fmt: skip


def test_only_pairs_with_two_verdicts_are_compared(tmp_path: Path) -> None:
    mumbler, even = Mumbler(), EvenDocuments()
    (every, *_), _, (both, *_) = (
        rows[:3]
        for rows in np.array_split(
            compare_judges(
                estimated(tmp_path), "lexical", {"mumbler": mumbler, "even": even}, pairs=40, seed=0
            ),
            3,
        )
    )
    answered = [one for one in mumbler.requests if one.document.text[-1] not in "01"]
    assert every["pairs"] == both["pairs"] == len(answered) < 40
    assert both["only_judge"] == both["only_other"] == 0


def test_pairs_without_a_verdict_are_not_drawn(tmp_path: Path) -> None:
    clozes = {"ko": [Cloze(question="___", answer="x")]}
    pairs = [(0, row, (None, True, False)[row % 3]) for row in range(30)]
    corpus = write_estimated(tmp_path, [f"text {row}" for row in range(30)], clozes, {"ko": pairs})
    drawn = half_accepted(corpus, size=40, seed=0)
    assert sorted(pair["row"] for pair in drawn) == [row for row in range(30) if row % 3]


def test_the_sample_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def asked(seed: int) -> list[tuple[str, str]]:
        judge = EvenDocuments()
        compare_judges(corpus, "lexical", {"even": judge}, pairs=40, seed=seed)
        return [(request.cloze.question, request.document.id) for request in judge.requests]

    corpus = estimated(tmp_path)
    assert asked(0) == asked(0)
    assert asked(0) != asked(1)
    assert len(set(asked(0))) == 40


def test_nothing_retrieved_is_nothing_compared(tmp_path: Path) -> None:
    clozes = {"ko": [Cloze(question="___", answer="x")]}
    corpus = write_estimated(tmp_path, ["text"], clozes, {"ko": []})
    rows = compare_judges(corpus, "lexical", {"nobody": Nobody()}, pairs=40, seed=0)
    assert [(row["pairs"], row["kappa"]) for row in rows] == [(0, None), (0, None)]
