"""Halves of pairs are found in text by content, and documents that hold a sentence and its
translation are counted."""

import json
from pathlib import Path

import numpy as np
import pytest

from ccx_ray.corpus.audit.auditing import read_figures
from ccx_ray.corpus.audit.figures import AuditFigures, metrics, verdicts
from ccx_ray.corpus.audit.halves import PairContents, Units, read_pairs
from ccx_ray.corpus.audit.inputs import AuditInputs
from ccx_ray.study.text_spec import AuditSpec
from tests.audited_text import audited_language, run_audit

SEOUL = (
    "Seoul has been the capital since the year 1394.",
    "서울은 1394 년부터 줄곧 나라의 수도이다.",
)
RIVER = ("A river runs through the old town, and it is long.", "강이 옛 도시를 지나 멀리 흐른다네.")
SHORT = ("Very cold.", "춥다.")
PAIRS = (SEOUL, RIVER, SHORT)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> PairContents:
    language = audited_language(tmp_path_factory.mktemp("text"), "ko", ["가"], PAIRS, parts=1)
    return read_pairs(language.parts("pairs"))


def found_in(contents: PairContents, *texts: str) -> list[tuple[int, int, int, str]]:
    """Text, pair, side and the bytes that were found, in the order of their places."""
    found = contents.lookup.find(texts, Units.of(texts))
    found = found[np.lexsort((found["start"], found["text"]))]
    return [
        (text, pair, side, texts[text].encode()[start:end].decode("utf-8", "ignore"))
        for text, start, end, side, pair in found.tolist()
    ]


def test_a_half_is_found_whatever_stands_between_its_words(contents: PairContents) -> None:
    texts = (
        "앞글 — " + SEOUL[1],
        "no",
        "Ä: A river runs (through) the old town \u2026 and it is long, x",
    )
    assert found_in(contents, *texts) == [
        (0, 0, 1, SEOUL[1].removesuffix("이다.").removesuffix("수도") + "수"),
        (2, 1, 0, "A river runs (through) the old town \u2026 and it is l"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        SHORT[0],  # fewer than three words
        "A river runs through the old town, and it is",
        "XA river runs through the old town, and it is long",
        "A river runs through the old town and it was long",
    ],
)
def test_less_or_other_words_are_not_found(contents: PairContents, text: str) -> None:
    assert found_in(contents, text) == []


def test_a_half_is_not_put_together_from_two_texts(contents: PairContents) -> None:
    first, second = RIVER[0].split(", ")
    assert found_in(contents, first, second) == []


def test_pairs_that_say_the_same_are_one_group(tmp_path: Path) -> None:
    again = ("Seoul has been the capital, since the year 1394", "다른 번역")
    other = ("Seoul has been the capital since the year 1395.", "또 다른 번역")
    language = audited_language(tmp_path, "ko", ["가"], [*PAIRS, again, other, ("Very cold", "하")])
    groups = read_pairs(language.parts("pairs")).groups.tolist()
    assert groups[0] == groups[3]
    assert len(set(groups)) == 5  # short halves are compared to the letter


def audited(tmp_path: Path, *documents: str) -> AuditFigures:
    texts = [
        "서울의 봄은 따뜻하고 강물은 아주 맑다.",
        *documents,
        "바다는 넓고 산은 높고 하늘은 푸르다.",
    ]
    language = audited_language(tmp_path / "ko", "ko", texts, PAIRS, parts=2)
    english = audited_language(tmp_path / "en", "en", ["A town by the sea.", *documents])
    return run_audit(tmp_path / "audit", AuditInputs(languages=(english, language)))


def crossed(figures: AuditFigures) -> dict[str, tuple[str, ...]]:
    judged = verdicts(figures, AuditSpec(shared_documents_share=1, forbidden_characters=999))
    return {verdict.field: verdict.crossed for verdict in judged if not verdict.passed}


def test_documents_with_a_sentence_and_its_translation_are_counted(tmp_path: Path) -> None:
    both = f"하나. {RIVER[1]} {RIVER[0]} 둘."
    figures = audited(tmp_path, both, f"{SEOUL[0]} {RIVER[1]}", SEOUL[1])
    english, korean = figures.translations
    assert (korean.corpus, korean.documents, korean.holding) == ("ko documents", 5, 1)
    assert (english.corpus, english.documents, english.holding) == ("en documents", 4, 1)
    assert (korean.halves, korean.short_halves) == (6, 2)
    (example,) = korean.examples
    assert example == {
        "document": "d1", "pair": "p1", "english": RIVER[0], "target": RIVER[1],
    }  # fmt: skip
    assert crossed(figures) == {"translations_share": ("en documents", "ko documents")}
    assert metrics(figures)["audit/ko/documents_with_translations"] == 1
    assert read_figures(tmp_path / "audit") == figures
    page = (tmp_path / "audit/audit.html").read_text("utf-8")
    section = page.partition('id="translations"')[2].partition("</section>")[0]
    assert "ko documents: 1 example<" in section and RIVER[1] in section


def test_sentences_without_their_translations_are_silent(tmp_path: Path) -> None:
    figures = audited(tmp_path, f"{SEOUL[0]} {RIVER[1]}", SEOUL[1], f"{SHORT[0]} {SHORT[1]}")
    assert [part.holding for part in figures.translations] == [0, 0]
    assert crossed(figures) == {}
    assert json.loads((tmp_path / "audit/audit.json").read_text("utf-8"))["translations"]
