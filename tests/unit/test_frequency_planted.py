"""Knowledge planted in real text at known frequencies is found again, in every script."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from ccx_ray.frequency.counting.lexicon import Lexicon
from ccx_ray.frequency.judges.lexical import LexicalJudge, question_terms
from ccx_ray.frequency.judges.verdict import Request, Verdict
from ccx_ray.frequency.text.documents import Document, read_documents
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.planted import (
    EVERY_DOCUMENT,
    FREQUENCIES,
    PLANTED,
    PlantedCorpus,
    estimate_planted,
    plant_facts,
    planted_summary,
    rank_correlation,
    sentence,
)
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.frequency_spec import FrequencySpec, NgramEmbedderSpec
from tests.estimated_corpus import write_text

SALIENT_SHARE = 0.5


def real_text(project: Path, folder: Path, language: str, documents: int = 10_000) -> Path:
    """A text folder of bundled documents."""
    with gzip.open(project / f"data/mono/{language}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines][:documents]
    return write_text(folder, texts)


def real_clozes(project: Path, culture: str, language: str) -> list[Cloze]:
    path = project / f"data/probes/{culture}-culture-cloze_{language}.json"
    items = json.loads(path.read_text("utf-8"))
    return [Cloze(question=item["question"], answer=item["answer"]) for item in items]


def lexical(clozes: Sequence[Cloze], lexicon: Lexicon) -> LexicalJudge:
    terms = {term for cloze in clozes for term in question_terms(cloze)}
    frequencies = lexicon.document_frequencies(terms)
    return LexicalJudge(frequencies, documents=lexicon.documents, salient_share=SALIENT_SHARE)


@pytest.mark.parametrize(
    ("cultures", "language"),
    [
        (("ko", "bo"), "en"),
        (("ko",), "ko"),
        (("zh",), "zh"),
        (("bo",), "bo"),
        (("mn",), "mn"),
    ],
)
def test_planted_frequencies_are_recovered(
    project: Path, tmp_path: Path, cultures: tuple[str, ...], language: str
) -> None:
    planted = plant_facts(
        language,
        real_text(project, tmp_path / "real", language),
        {culture: real_clozes(project, culture, language) for culture in cultures},
        tmp_path / "planted",
        facts=24,
        characters=300_000,
        salient_share=SALIENT_SHARE,
        seed=0,
    )
    assert len(planted.facts) == 24
    rows = estimate_planted(
        planted,
        FrequencySpec(),
        {"ngram": (NgramEmbedderSpec(), None)},
        tmp_path,
        judges={"lexical 0.5": lexical},
        run_tasks=run_here,
    )
    assert pa.Table.from_pylist(rows, PLANTED).num_rows == len(rows)
    summary = {(row["retriever"], row["judge"]): row for row in planted_summary(rows)}
    assert set(summary) == {
        *((name, "lexical 0.5") for name in ("ngram", "bm25", "ngram+bm25", EVERY_DOCUMENT)),
        *((EVERY_DOCUMENT, name) for name in ("answer", "answer and entity")),
    }
    assert summary["ngram+bm25", "lexical 0.5"]["spearman"] >= 0.95
    assert summary[EVERY_DOCUMENT, "lexical 0.5"]["spearman"] >= 0.95
    means = summary["ngram+bm25", "lexical 0.5"]["means"]
    assert means["0"] < 0.5 and 49 <= means.get("64", 50) <= 50  # no more are retrieved


@pytest.mark.parametrize("culture", ["ko", "zh", "bo", "mn"])
def test_a_planted_sentence_is_held_by_its_own_document(project: Path, culture: str) -> None:
    for language in ("en", culture):
        clozes = [c for c in real_clozes(project, culture, language) if "_" in c.question]
        for cloze in clozes:
            document = Document(id="", text=sentence(cloze))
            frequencies = dict.fromkeys(document.terms, 1)
            judge = LexicalJudge(frequencies, documents=1000, salient_share=SALIENT_SHARE)
            verdict = judge.verdict(cloze, document)
            assert verdict.holds, (cloze, verdict.reason)


def test_borders_that_a_question_leaves_out_are_written() -> None:
    def written(question: str, answer: str) -> str:
        return sentence(Cloze(question=question, answer=answer))

    assert written("The quilts are____.", "soft") == "The quilts are soft."
    assert written("A ____s and a __.", "cat") == "A cats and a cat."
    assert written("བོད་ལྗོངས་ལ_____ཞེས་འབོད།", "ཁམས་པ") == "བོད་ལྗོངས་ལ་ཁམས་པ་ཞེས་འབོད།"
    assert written("汉族____世纪", "公元前21") == "汉族公元前21世纪"
    assert written("주식은 ___이다.", "밥") == "주식은 밥이다."


def plant_in(
    folder: Path, texts: Sequence[str], clozes: Sequence[Cloze], *, facts: int, seed: int = 0
) -> PlantedCorpus:
    return plant_facts(
        "en",
        write_text(folder / "real", texts),
        {"ko": clozes},
        folder / "planted",
        facts=facts,
        characters=10**9,
        salient_share=SALIENT_SHARE,
        seed=seed,
    )


def texts_of(planted: PlantedCorpus) -> dict[str, str]:
    documents = read_documents(planted.text, range(planted.documents)).values()
    return {document.id: document.text for document in documents}


TEXTS = [f"Document {row} begins here.\nIt ends with number {row}." for row in range(70)]
CLOZES = [Cloze(question=f"Kind{i} stone{i} is ___.", answer=f"answer{i}") for i in range(20)]


def test_a_fact_stands_in_as_many_documents_as_it_says(tmp_path: Path) -> None:
    planted = plant_in(tmp_path, TEXTS, CLOZES, facts=16)
    texts = texts_of(planted)
    assert [fact.planted for fact in planted.facts] == [*FREQUENCIES, *FREQUENCIES]
    for fact in planted.facts:
        own = sentence(fact.cloze)
        assert sum(own in text.split("\n") for text in texts.values()) == fact.planted
    # The real text stays whole around what was planted.
    sentences = {sentence(fact.cloze) for fact in planted.facts}
    for row, text in enumerate(TEXTS):
        lines = [line for line in texts[f"d{row}"].split("\n") if line not in sentences]
        assert " ".join(" ".join(lines).split()) == " ".join(text.split())


def test_what_is_planted_depends_on_the_seed_alone(tmp_path: Path) -> None:
    one = plant_in(tmp_path / "one", TEXTS, CLOZES, facts=16)
    same = plant_in(tmp_path / "same", TEXTS, CLOZES, facts=16)
    other = plant_in(tmp_path / "other", TEXTS, CLOZES, facts=16, seed=1)
    assert one.facts == same.facts != other.facts
    assert texts_of(one) == texts_of(same) != texts_of(other)


def test_what_the_text_or_another_sentence_holds_is_not_planted(tmp_path: Path) -> None:
    known = Cloze(question="Document begins here with ___.", answer="number")
    twin = Cloze(question="Kind0 stone0 ___ is.", answer="answer0")
    without_blank = Cloze(question="Kind1 stone1 is", answer="answer1")
    planted = plant_in(tmp_path, TEXTS, [known, CLOZES[0], twin, without_blank], facts=60)
    assert len(planted.facts) == 1
    assert planted.facts[0].question in (1, 2)
    assert planted.known == 2


def test_a_small_corpus_takes_what_is_possible(tmp_path: Path) -> None:
    planted = plant_in(tmp_path / "few", TEXTS[:5], CLOZES, facts=8)
    assert planted.frequencies == (0, 1, 2, 4)
    assert [fact.planted for fact in planted.facts] == [0, 1, 2, 4, 0, 1, 2, 4]
    nothing = plant_in(tmp_path / "none", [], CLOZES, facts=8)
    assert (nothing.documents, nothing.facts, nothing.frequencies) == (0, (), (0,))
    rows = estimate_planted(
        nothing,
        FrequencySpec(),
        {"ngram": (NgramEmbedderSpec(), None)},
        tmp_path / "none",
        judges={"lexical 0.5": lexical},
        run_tasks=run_here,
    )
    assert rows == planted_summary(rows) == []


class Counting:
    """Accepts everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        self.requests += requests
        return [Verdict(holds=True, reason="") for _ in requests]


def test_a_document_that_two_retrievers_find_is_judged_once(tmp_path: Path) -> None:
    planted = plant_in(tmp_path, TEXTS, CLOZES, facts=8)
    judge = Counting()
    rows = estimate_planted(
        planted,
        FrequencySpec(top_documents=10),
        {"ngram": (NgramEmbedderSpec(), None)},
        tmp_path,
        judges={"all": lambda clozes, lexicon: judge},
        run_tasks=run_here,
    )
    asked = [(request.cloze.question, request.document.id) for request in judge.requests]
    assert len(asked) == len(set(asked)) >= 80
    assert all(row["estimated"] <= 10 for row in rows if row["judge"] == "all")
    by_vectors = [row for row in rows if (row["retriever"], row["judge"]) == ("ngram", "all")]
    assert [row["estimated"] for row in by_vectors] == [10] * 8
    assert planted_summary(by_vectors)[0]["spearman"] is None


def test_correlation_of_what_does_not_vary_is_none() -> None:
    assert rank_correlation([0, 1, 2], [0, 3, 9]) == pytest.approx(1)
    assert rank_correlation([0, 1], [1, 1]) is None
    assert rank_correlation([1], [0]) is None
