"""Questions that stand in the text are found in every script, and no others are."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import regex

from ccx_ray.corpus.audit.figures import metrics, verdicts
from ccx_ray.corpus.audit.inputs import AuditInputs, ProbeSide, probe_side
from ccx_ray.study.text_spec import AuditSpec, IsolationSpec
from tests.audited_text import audited_language, bundled_probes, bundled_texts, run_audit

SIDES = [("ko", "en"), ("ko", "ko"), ("zh", "zh"), ("bo", "bo"), ("mn", "mn")]
Row = dict[str, Any]


def contamination(
    folder: Path, code: str, texts: Sequence[str], *probes: ProbeSide, parts: int = 2
) -> dict[int, Row]:
    """Question -> its row, of questions of one culture in one corpus."""
    language = audited_language(folder / "text", code, texts, parts=parts)
    run_audit(folder / "audit", AuditInputs(languages=(language,), probes=probes))
    rows = pq.read_table(folder / "audit/contamination.parquet").to_pylist()
    return {row["question"]: row for row in rows}


@pytest.mark.parametrize(("culture", "code"), SIDES)
def test_planted_questions_are_found_in_whatever_shape(
    tmp_path: Path, project: Path, culture: str, code: str
):
    side = bundled_probes(project, culture, code)
    texts = bundled_texts(project, code, 40)
    clean = contamination(tmp_path / "clean", code, texts, side)
    assert not any(row["exact"] for row in clean.values())
    # Apart in length and wording, so that no planted one holds another.
    planted = [
        question.filled.strip() for question in (side.questions[i] for i in (3, 40, 90, 120))
    ]
    texts[5] += f"\n{planted[0]}"
    texts[11] = f"({planted[1].upper()})"
    words = planted[2].split(" ")
    texts[30] = (
        "   ".join(words[: len(words) // 2]) + " \n\t" + "\u3000".join(words[len(words) // 2 :])
    )
    texts[39] = (
        f"앞{planted[3]}뒤" if code == "ko" else f"x{planted[3]}y" if code == "en" else planted[3]
    )
    rows = contamination(tmp_path / "planted", code, texts, side)
    filled = {number: row for number, row in rows.items() if row["filled_documents"]}
    expected = {3: "d5", 40: "d11", 90: "d30", 120: "d39"}
    assert {number: row["example"] for number, row in filled.items()} == expected
    assert all(row["exact"] and row["exact_documents"] == 1 for row in filled.values())


def test_a_sentence_over_two_texts_is_in_neither(tmp_path: Path):
    question = "한국의 봄 계절은 ___ 포근하고 매우 밝다"
    side = probe_side("ko", "ko", [(question, question.replace("___", "따뜻하고"))])
    texts = ["한국의 봄 계절은 따뜻하고", "포근하고 매우 밝다"]
    rows = contamination(tmp_path, "ko", texts, side, parts=1)
    assert not rows[0]["exact"]
    assert rows[0]["documents_with_overlap"] == 0


def test_short_sentences_inside_longer_words_are_found(tmp_path: Path):
    """The first and the last word of a sentence may carry on in the text."""
    places = ("서울", "부산", "대구", "인천", "광주", "대전", "울산", "제주", "수원", "강릉")
    sentences = [f"{place} 남쪽에는 {'큰 ' * (i % 3)}바다" for i, place in enumerate(places)]
    side = probe_side("ko", "ko", [(sentence, sentence) for sentence in sentences])
    texts = [f"그리고북{sentence}이다." for sentence in sentences]
    rows = contamination(tmp_path, "ko", texts, side)
    assert {n: row["example"] for n, row in rows.items()} == {n: f"d{n}" for n in range(10)}
    assert all(row["filled_documents"] == 1 for row in rows.values())


def test_the_wording_alone_is_found_where_it_is_long_enough(tmp_path: Path):
    long = "The oldest wooden building of the whole peninsula was finished in ____."
    short = "Seoul is the capital of ____."
    side = probe_side(
        "ko", "en", [(long, long.replace("____", "1376")), (short, short.replace("____", "Korea"))]
    )
    texts = [long.replace("____", "a year"), short.replace("____", "that land")]
    rows = contamination(tmp_path, "en", texts, side)
    assert rows[0]["exact"]
    assert (rows[0]["wording_documents"], rows[0]["filled_documents"]) == (1, 0)
    assert not rows[1]["exact"]
    assert rows[1]["wording_documents"] is None


def test_what_isolation_removes_is_removed_from_the_question_too(tmp_path: Path):
    question = "한국의 대중음악은 K-POP 이라고 하며 세계에서 ____ 인기가 있다"
    side = probe_side("ko", "ko", [(question, question.replace("____", "매우"))])
    text = "그런데 한국의 대중음악은 - 이라고 하며 세계에서 매우 인기가 있다고 한다."
    assert contamination(tmp_path, "ko", [text], side)[0]["exact"]


def test_text_that_language_identification_isolates(tmp_path: Path):
    """Its script is shared with English: nothing is forbidden, and questions are found as ever."""
    question = "Ibu kota negara kepulauan yang besar ini dahulu bernama ____ dan terletak di Jawa"
    side = probe_side("id", "id", [(question, question.replace("____", "Batavia"))])
    isolation = IsolationSpec(strategy="language")
    language = replace(
        audited_language(tmp_path / "id", "id", ["Москва", side.questions[0].filled.upper()]),
        isolation=isolation,
    )
    figures = run_audit(tmp_path / "audit", AuditInputs(languages=(language,), probes=(side,)))
    assert (figures.scripts[0].forbidden, figures.scripts[0].expected) == (0, [])
    assert figures.contamination[0].filled == 1


def test_glyph_variants_and_joiners_do_not_hide_a_question(tmp_path: Path, project: Path):
    side = bundled_probes(project, "mn", "mn")
    number = next(
        q.number for q in side.questions if "\u180b" in q.filled and len(q.filled.split()) > 6
    )
    hidden = side.questions[number].filled.replace("\u180b", "").replace(" ", " \u200d", 1)
    assert contamination(tmp_path, "mn", [hidden], side)[number]["exact"]


def test_a_question_within_a_long_text_is_found(tmp_path: Path, project: Path):
    side = bundled_probes(project, "ko", "en")
    filler = "Nothing of this is about any of it, at all. " * 30_000
    rows = contamination(
        tmp_path, "en", ["first", filler + side.questions[7].filled + filler, "last"], side
    )
    assert [n for n, row in rows.items() if row["exact"]] == [7]
    assert rows[7]["example"] == "d1"


def units(text: str) -> list[str]:
    """By the rules, in plain Python."""
    visible = regex.sub(r"(?!\u180e)[\p{Cf}\ufe00-\ufe0f\u180b-\u180d\u180f]", "", text.lower())
    return regex.findall(r"\p{Han}|(?:(?!\p{Han})[\p{L}\p{M}\p{N}\u180e])+", visible)


def grams(text: str, size: int) -> set[tuple[str, ...]]:
    found = units(text)
    return {tuple(found[i : i + size]) for i in range(len(found) - size + 1)}


@pytest.mark.parametrize(("culture", "code"), [*SIDES, ("mn", "en")])
def test_overlap_is_what_counting_by_hand_gives(
    tmp_path: Path, project: Path, culture: str, code: str
):
    side = bundled_probes(project, culture, code)
    filled = [
        re.sub("[A-Za-z]", "", q.filled) if code != "en" else q.filled for q in side.questions
    ]
    pieces = [units(text) for text in filled]
    space = "་" if code == "bo" else "" if code == "zh" else " "
    texts = bundled_texts(project, code, 60)
    # Most of a sentence, its two ends in two texts, and a whole one that differs in punctuation.
    texts[2] += "\n" + space.join(pieces[10][:-1])
    texts[3] += "\n" + space.join(pieces[25][: len(pieces[25]) * 2 // 3 + 2])
    texts[50] += "\n" + space.join(pieces[25][len(pieces[25]) // 3 :])
    texts[7] = " , ".join(pieces[60])
    rows = contamination(tmp_path, code, texts, side)
    by_size = {size: [grams(text, size) for text in texts] for size in range(3, 9)}
    for number, sentence in enumerate(filled):
        size = min(8, len(pieces[number]))
        row = rows[number]
        if size < 3:
            assert row["overlap"] is None
            continue
        wanted = grams(sentence, size)
        held = [wanted & text for text in by_size[size]]
        assert row["overlap"] == pytest.approx(max(map(len, held)) / len(wanted))
        assert row["overlap_anywhere"] == pytest.approx(len(set().union(*held)) / len(wanted))
        assert row["documents_with_overlap"] == sum(map(bool, held))
    assert rows[60]["overlap"] == 1
    assert rows[60]["example"] == "d7"


def test_every_question_has_a_row_for_every_corpus_in_its_language(tmp_path: Path, project: Path):
    probes = tuple(bundled_probes(project, "ko", code) for code in ("en", "ko"))
    question = probes[0].questions[0]
    inputs = AuditInputs(
        languages=(
            audited_language(tmp_path / "en", "en", ["Some text."]),
            audited_language(tmp_path / "ko", "ko", ["어떤 글."], [(question.filled, "계절.")]),
        ),
        probes=probes,
    )
    figures = run_audit(tmp_path / "audit", inputs)
    rows = pq.read_table(tmp_path / "audit/contamination.parquet").to_pylist()
    corpora = ("en documents", "en-ko pairs english", "ko documents", "en-ko pairs target")
    assert len(rows) == len(corpora) * 598
    (met,) = [row for row in rows if row["exact"]]
    assert (met["culture"], met["side"], met["question"], met["corpus"], met["example"]) == (
        "ko",
        "en",
        0,
        "en-ko pairs english",
        "p0",
    )
    assert metrics(figures)["audit/ko/contaminated_exact"] == 1
    strict = {v.field: v for v in verdicts(figures, AuditSpec(contaminated_share=0.001))}
    assert strict["contaminated_share"].crossed == ("ko questions (en) in en-ko pairs english",)
    assert all(verdict.passed for verdict in verdicts(figures, AuditSpec()))
