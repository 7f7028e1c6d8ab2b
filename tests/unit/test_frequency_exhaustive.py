"""The exhaustive search against the judge on every document for every question."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ccx_ray.frequency.counting.lexicon import SHARD_BYTES
from ccx_ray.frequency.judges.lexical import LexicalJudge
from ccx_ray.frequency.text.documents import COLUMNS, Document
from ccx_ray.frequency.text.questions import Cloze
from tests.lexicon_corpus import (
    bundled_documents,
    bundled_pairs,
    bundled_questions,
    exhaustive_scan,
    judge_of,
    lexicon_of,
    write_text,
)

Found = list[tuple[int, int, str, int, int]]
"""Row, question, id, start and length of the evidence."""

CLOZES = [
    Cloze(question="There are ___ seasons in Korea.", answer="4"),
    Cloze(question="In Korea ___ is eaten daily.", answer="rice"),
    Cloze(question="Nothing is ___.", answer="..."),
    Cloze(question="___", answer="Korea"),
]


def judged_one_by_one(text: Path, part: str, judge: LexicalJudge, clozes: list[Cloze]) -> Found:
    kind, column = COLUMNS[part]
    found = []
    for row, fields in enumerate(pq.read_table(text / kind).to_pylist()):
        document = Document(id=fields["id"], text=fields[column])
        for question, cloze in enumerate(clozes):
            verdict = judge.verdict(cloze, document)
            if verdict.holds:
                place = (verdict.evidence_start, verdict.evidence_length)
                found.append((row, question, document.id, *place))
    return found


def found_by_search(
    lexicon_folder: Path, text: Path, part: str, clozes: list[Cloze], *, shard_bytes: int = 1
) -> tuple[Found, LexicalJudge]:
    lexicon = lexicon_of(text, lexicon_folder, shard_bytes=shard_bytes)
    judge = judge_of(lexicon, clozes)
    names = ("row", "question", "document", "evidence_start", "evidence_length")
    rows = exhaustive_scan(lexicon, text, judge, clozes, part=part)
    return [tuple(row[name] for name in names) for row in rows], judge


@pytest.mark.parametrize(
    ("culture", "side", "part", "number"),
    [
        ("ko", "en", "documents", 25),
        ("ko", "ko", "documents", 300),
        ("bo", "bo", "documents", 25),
        ("zh", "zh", "documents", 150),
        ("ko", "en", "english", 300),
        ("bo", "bo", "target", 300),
    ],
)
def test_the_scan_finds_what_judging_everything_finds(
    culture: str, side: str, part: str, number: int, project: Path, tmp_path: Path
) -> None:
    """On real text; every third question, filled in, is planted so that there is much to find."""
    clozes = bundled_questions(project, culture, side)[:60]
    planted = [f"{cloze.statement} …" for cloze in clozes[::3]]
    if part == "documents":
        documents = bundled_documents(project, side, number)
        for place, sentence in enumerate(planted):
            documents[place % number] += sentence
        text = write_text(tmp_path / "text", documents)
    else:
        pairs = bundled_pairs(project, culture, number)
        pairs += [(sentence, sentence) for sentence in planted]
        text = write_text(tmp_path / "text", bundled_documents(project, side, 40), pairs)
    found, judge = found_by_search(tmp_path / "lexicon", text, part, clozes)
    assert found == judged_one_by_one(text, part, judge, clozes)
    assert len(found) > len(planted) / 2


@pytest.mark.parametrize("distance", [400, 480, 493, 494, 495, 500, 501, 600, 2500])
def test_the_border_of_the_neighbourhood_is_the_judges(distance: int, tmp_path: Path) -> None:
    """Letters of one, two, three and four bytes lie between the answer and the question's words."""
    texts = [
        text
        for letter in ("x", "é", "가", "\U00010400")
        for filling in [letter * (distance - 1)]
        for text in (
            f"seasons {filling} 4 in Korea",
            f"4 {filling} seasons of Korea",
            f"4 {filling} Korea {filling} rice eaten {filling} daily",
        )
    ]
    text = write_text(tmp_path / "text", [*texts, *["nothing here"] * 200])
    found, judge = found_by_search(
        tmp_path / "lexicon", text, "documents", CLOZES, shard_bytes=SHARD_BYTES
    )
    assert found == judged_one_by_one(text, "documents", judge, CLOZES)
    if not 480 < distance <= 500:
        assert bool(found) == (distance <= 480)


def test_neighbours_in_another_row_do_not_count(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text", ["seasons in Korea", "4", "Korea", *["nothing"] * 40])
    found, _ = found_by_search(
        tmp_path / "lexicon", text, "documents", CLOZES, shard_bytes=SHARD_BYTES
    )
    assert found == []
