"""Counts of answers and entities against plain counting, and what they count at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccx_ray.frequency.counting.exact_counts import (
    SHARD_COUNTS,
    corpus_counts,
    question_entities,
)
from ccx_ray.frequency.counting.lexicon import Lexicon
from ccx_ray.frequency.judges.lexical import answer_pattern, normalized_answer
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze
from tests.lexicon_corpus import bundled_documents, bundled_questions, lexicon_of, write_text


@dataclass(frozen=True, kw_only=True)
class ExactCounts:
    """Of one question in one corpus."""

    answer_strings: int = 0
    answer_documents: int = 0
    together_documents: int = 0
    entity: str = ""
    entity_documents: int = 0


def exact_counts(lexicon: Lexicon, clozes: Sequence[Cloze]) -> list[ExactCounts]:
    entities = question_entities(lexicon, clozes)
    counts = corpus_counts(lexicon, clozes, entities).tolist()
    return [
        ExactCounts(
            **dict(zip(SHARD_COUNTS, own, strict=True)),
            entity=entity.term,
            entity_documents=entity.documents,
        )
        for entity, own in zip(entities, counts, strict=True)
    ]


def counted(tmp_path: Path, documents: list[str], question: str, answer: str) -> ExactCounts:
    text = write_text(tmp_path / "text", documents)
    lexicon = lexicon_of(text, tmp_path / "lexicon")
    (counts,) = exact_counts(lexicon, [Cloze(question=question, answer=answer)])
    return counts


def occurrences(text: str, wanted: str) -> int:
    """Overlapping ones too."""
    found, at = 0, text.find(wanted)
    while at >= 0:
        found, at = found + 1, text.find(wanted, at + 1)
    return found


@pytest.mark.parametrize("code", ["en", "ko", "zh", "bo", "mn"])
def test_the_counts_are_those_of_counting(code: str, project: Path, tmp_path: Path) -> None:
    """Of real questions in real text, over several shards."""
    culture = "ko" if code == "en" else code
    clozes = bundled_questions(project, culture, code)[:40]
    texts = bundled_documents(project, code, 40)
    texts[33] += f"\n{clozes[3].statement}"
    lexicon = lexicon_of(write_text(tmp_path / "text", texts), tmp_path / "lexicon")
    documents = [Document(id="", text=text) for text in texts]
    for cloze, counts in zip(clozes, exact_counts(lexicon, clozes), strict=True):
        answer = normalized_answer(cloze.answer)
        holding = [d for d in documents if answer_pattern(answer).search(d.normalized)]
        assert counts == ExactCounts(
            answer_strings=sum(occurrences(d.normalized, answer) for d in documents),
            answer_documents=len(holding),
            entity=counts.entity,
            entity_documents=sum(counts.entity in d.terms for d in documents),
            together_documents=sum(counts.entity in d.terms for d in holding),
        )


def test_an_answer_inside_other_words_is_a_string_alone(tmp_path: Path) -> None:
    documents = ["4 seasons", "in 2014, 43 seasons", "14.4 or 4 of them"]
    counts = counted(tmp_path, documents, "There are ___ seasons.", "4")
    assert counts == ExactCounts(
        answer_strings=6,
        answer_documents=2,
        entity="seasons",
        entity_documents=2,
        together_documents=1,
    )


@pytest.mark.parametrize(
    ("answer", "documents", "own"),
    [
        ("눈", ["눈은 희다", "눈물", "함박눈"], 1),
        ("ལྷ་ས", ["ལྷ་སར་", "ལྷ་སའི་", "ལྷ་སལམ་"], 2),
        ("ལ", ["བོད་ལ་", "ལར་"], 1),
        ("Lama", ["Lama", "Lamas", "a lama's"], 2),
        ("黄河", ["在黄河边"], 1),
    ],
)
def test_the_borders_of_words_are_those_of_the_judge(
    answer: str, documents: list[str], own: int, tmp_path: Path
) -> None:
    counts = counted(tmp_path, documents, "___", answer)
    assert (counts.answer_strings, counts.answer_documents) == (len(documents), own)


def test_the_entity_must_stand_as_a_term(tmp_path: Path) -> None:
    """Its string inside another word is not enough; the lexicon finds strings."""
    documents = ["a ban, rice", "a bank, rice", "rice and a ban", "rice, ban and ban"]
    counts = counted(tmp_path, documents, "The ban is on ___", "rice")
    assert (counts.entity, counts.entity_documents, counts.together_documents) == ("ban", 3, 3)


def test_the_entity_is_the_rarest_known_term(tmp_path: Path) -> None:
    documents = ["hangul is old", "the old script is", "the script of 1443"]
    question = "The old script Hangul of unknownland was made in 1443 by ___."
    assert counted(tmp_path, documents, question, "Hangul").entity == "of"
    assert counted(tmp_path / "again", documents, question, "Sejong").entity == "hangul"
    assert counted(tmp_path / "number", ["1443"], question, "Sejong").entity == "1443"
    assert counted(tmp_path / "none", documents, "____ ?!", "x").entity == ""


def test_a_bigram_that_straddles_two_words_is_no_entity(tmp_path: Path) -> None:
    """史已 is the rarer one, once beside each other by chance; 汉族 always stands together."""
    documents = ["汉族历史已久", *["汉族历史", "历史很长", "已有历史"] * 20, *["已经很久"] * 40]
    counts = counted(tmp_path, documents, "汉族历史已___", "长")
    assert (counts.entity, counts.entity_documents) == ("汉族", 21)
    # There is nothing but what straddles.
    assert counted(tmp_path / "again", documents, "史已___", "长").entity == "史已"


@pytest.mark.parametrize("answer", ["...", "", "؟!"])
def test_an_answer_without_letters_counts_nothing(answer: str, tmp_path: Path) -> None:
    counts = counted(tmp_path, ["4 seasons ..."], "There are ___ seasons.", answer)
    assert counts == ExactCounts(entity="seasons", entity_documents=1)


def test_a_corpus_without_documents_counts_nothing(tmp_path: Path) -> None:
    assert counted(tmp_path, [], "There are ___ seasons.", "4") == ExactCounts()
