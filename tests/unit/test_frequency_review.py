"""Sheets for people, what may come back, and the density that follows from it."""

import csv
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.estimated import EstimatedCorpus
from ccx_ray.frequency.validation.review_import import read_review
from ccx_ray.frequency.validation.review_sheet import (
    COLUMNS,
    ReviewPair,
    draw_review,
    excerpts,
    write_review_sheets,
)
from ccx_ray.frequency.validation.review_statistics import (
    REVIEW,
    Stratum,
    carried_over,
    correct,
    review_rows,
)
from tests.estimated_corpus import write_estimated

EVIL = '=1+1 </p><script>alert("x")</script><img src=x onerror=alert(1)> & "quoted", two\nlines'


class Tags(HTMLParser):
    """Every tag that a browser would see, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def estimated(
    folder: Path, *, accepted: int = 40, refused: int = 400, corpus: str = "en"
) -> EstimatedCorpus:
    """Two cultures, the first with three quarters of what was retrieved."""
    texts = [f"Document {row} says that Seoul {row} is the capital. {EVIL}" for row in range(100)]
    clozes = {
        culture: [Cloze(question=f"= {culture} {i} ___", answer=f"Seoul {i}") for i in range(5)]
        for culture in ("ko", "mn")
    }
    pairs: dict[str, list[tuple[int, int, bool]]] = {"ko": [], "mn": []}
    for verdict, count in ((True, accepted), (False, refused)):
        for i in range(count):
            culture = "mn" if i % 4 == 3 else "ko"
            number = len(pairs[culture])
            pairs[culture].append((number // 100, number % 100, verdict))
    return write_estimated(folder, texts, clozes, pairs, corpus=corpus, evidence=(5, 8))


def rows_of_sheet(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def test_a_sheet_is_half_accepted_and_over_the_cultures(tmp_path: Path) -> None:
    corpus = estimated(tmp_path, accepted=200, refused=400)
    drawn = draw_review(corpus, size=100, seed=0)
    assert len({pair.id for pair in drawn}) == 100
    for verdict in (True, False):
        cultures = [pair.row["culture"] for pair in drawn if pair.row["verdict"] is verdict]
        assert len(cultures) == 50
        assert cultures.count("mn") in (12, 13)
    # The order tells nothing: the verdicts are mixed.
    assert 10 < sum(pair.row["verdict"] for pair in drawn[:50]) < 40
    assert [pair.id for pair in draw_review(corpus, size=100, seed=0)] == [p.id for p in drawn]
    assert [pair.id for pair in draw_review(corpus, size=100, seed=1)] != [p.id for p in drawn]


@pytest.mark.parametrize(
    ("accepted", "refused", "expected"),
    [(7, 400, (7, 93)), (200, 10, (90, 10)), (3, 4, (3, 4)), (0, 300, (0, 100))],
)
def test_where_one_verdict_is_rare_the_other_fills_the_sheet(
    tmp_path: Path, accepted: int, refused: int, expected: tuple[int, int]
) -> None:
    corpus = estimated(tmp_path, accepted=accepted, refused=refused)
    verdicts = [pair.row["verdict"] for pair in draw_review(corpus, size=100, seed=0)]
    assert (verdicts.count(True), verdicts.count(False)) == expected


def test_every_refused_pair_has_the_same_chance(tmp_path: Path) -> None:
    """Also the last rank of a question, however regularly pairs stand in the table."""
    corpus = estimated(tmp_path, accepted=0, refused=400)
    times = np.zeros(100)
    for seed in range(60):
        for pair in draw_review(corpus, size=40, seed=seed):
            times[pair.row["row"]] += 1
    assert times.sum() == 60 * 40
    # Four or three pairs a document, each drawn with chance 1/10.
    assert times[:75].min() > 8 and times.max() < 48


def test_a_page_is_whole_escaped_and_asks_for_nothing(tmp_path: Path) -> None:
    counts = write_review_sheets(tmp_path, [estimated(tmp_path)], title=EVIL, size=100, seed=0)
    assert counts == {"en": {"retrieved": 440, "drawn": 100, "drawn_accepted": 40}}
    text = (tmp_path / "review-en.html").read_text("utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert not tags.seen & {"script", "img", "link", "iframe"}
    assert not any(name.startswith("on") or name in ("href", "src") for name, _ in tags.attributes)
    assert "url(" not in text and "@import" not in text
    assert text.count("<article") == 100


def test_the_page_and_the_table_are_of_the_same_pairs_in_one_order(tmp_path: Path) -> None:
    write_review_sheets(tmp_path, [estimated(tmp_path)], title="x", size=100, seed=0)
    page = (tmp_path / "review-en.html").read_text("utf-8")
    sheet = rows_of_sheet(tmp_path / "review-en.csv")
    sample = pq.read_table(tmp_path / "review_sample.parquet")
    ids = [row["id"] for row in sheet]
    assert re.findall(r'<article id="(\w+)">', page) == ids == sample["id"].to_pylist()
    assert set(sample["stratum_pairs"].to_pylist()) == {40, 400}
    assert set(sample["stratum_drawn"].to_pylist()) == {40, 60}


def test_the_verdict_is_behind_a_fold_and_not_in_the_table(tmp_path: Path) -> None:
    write_review_sheets(tmp_path, [estimated(tmp_path)], title="x", size=100, seed=0)
    page = (tmp_path / "review-en.html").read_text("utf-8")
    open_to_all = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    assert "because" in page and "because" not in open_to_all
    assert "<b>yes</b>" in page and "<b>yes</b>" not in open_to_all
    table = (tmp_path / "review-en.csv").read_text("utf-8-sig")
    assert "because" not in table and "True" not in table


def test_no_cell_of_the_table_is_a_formula(tmp_path: Path) -> None:
    write_review_sheets(tmp_path, [estimated(tmp_path)], title="x", size=100, seed=0)
    content = (tmp_path / "review-en.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = rows_of_sheet(tmp_path / "review-en.csv")
    assert tuple(rows[0]) == COLUMNS
    assert all(row["question"].startswith("'= ") for row in rows)
    for cell in (cell for row in rows for cell in row.values()):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert "\n" not in cell
    # A spreadsheet takes what looks like 31415926e535 for a number.
    assert all(re.fullmatch("q[0-9a-f]{12}", row["id"]) for row in rows)


def test_mongolian_and_tibetan_come_through_the_table(tmp_path: Path) -> None:
    question, answer = "ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ ___ ᠪᠠᠶᠢᠨ\u180eᠠ", "ᠲᠡᠭᠷᠢ"
    text = f"ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ {answer} ᠪᠠᠶᠢᠨ\u180eᠠ ᠃ བོད་ལྗོངས།"
    corpus = write_estimated(
        tmp_path,
        [text],
        {"mn": [Cloze(question=question, answer=answer)]},
        {"mn": [(0, 0, True)]},
        corpus="mn",
    )
    write_review_sheets(tmp_path, [corpus], title="x", size=100, seed=0)
    (row,) = rows_of_sheet(tmp_path / "review-mn.csv")
    assert (row["question"], row["answer"], row["passage"]) == (question, answer, text)
    page = (tmp_path / "review-mn.html").read_text("utf-8")
    assert page.count(f"<mark>{answer}</mark>") == 2


def test_a_corpus_of_which_nothing_was_retrieved_has_no_sheet(tmp_path: Path) -> None:
    corpora = [
        estimated(tmp_path / "a", accepted=0, refused=0, corpus="ko"),
        estimated(tmp_path / "b"),
    ]
    counts = write_review_sheets(tmp_path, corpora, title="x", size=10, seed=0)
    assert counts["ko"] == {"retrieved": 0, "drawn": 0, "drawn_accepted": 0}
    assert not list(tmp_path.glob("review-ko.*"))
    assert (tmp_path / "review-en.csv").exists()


def pair_of(text: str, answer: str, passage: tuple[int, int], *, verdict: bool) -> ReviewPair:
    row = {"corpus": "en", "culture": "ko", "question": 0, "row": 0, "verdict": verdict}
    row |= {"passage_start": passage[0], "passage_length": passage[1]}
    row |= {"evidence_start": -1, "evidence_length": 0, "reason": ""}
    cloze = Cloze(question="It is ___.", answer=answer)
    return ReviewPair(cloze=cloze, document=Document(id="d", text=text), row=row)


def test_what_is_shown_does_not_depend_on_the_verdict() -> None:
    text = "x " * 1000 + "Seoul" + " y" * 1000 + " Seoul."
    shown = excerpts(pair_of(text, "Seoul", (0, 100), verdict=True))
    assert shown == excerpts(pair_of(text, "Seoul", (0, 100), verdict=False))
    assert shown == [(0, 100), (1700, 605), (len(text) - 306, 306)]
    pair = pair_of(text, "Seoul", (0, 100), verdict=True)
    assert [text[s : s + n] for s, n in pair.answers] == ["Seoul"] * 2
    assert excerpts(pair_of("", "Seoul", (0, 0), verdict=True)) == []
    assert excerpts(pair_of("short", "$", (0, 99), verdict=True)) == [(0, 5)]


def test_an_id_is_of_what_was_read() -> None:
    one = pair_of("text", "Seoul", (0, 4), verdict=True)
    assert one.id == pair_of("text", "Seoul", (1, 2), verdict=False).id
    assert one.id != pair_of("text.", "Seoul", (0, 4), verdict=True).id
    assert one.id != pair_of("text", "Busan", (0, 4), verdict=True).id


@pytest.fixture
def sheets(tmp_path: Path) -> Path:
    corpora = [estimated(tmp_path / "a"), estimated(tmp_path / "b", corpus="zh")]
    write_review_sheets(tmp_path, corpora, title="x", size=100, seed=0)
    return tmp_path


def fill(
    sheets: Path,
    answers: Sequence[str],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
    columns: Sequence[str] = COLUMNS,
) -> Path:
    """The sheet as a spreadsheet writes it, with answers in the first rows."""
    rows = rows_of_sheet(sheets / "review-en.csv")
    for row, answer in zip(rows, answers, strict=False):
        row["holds"] = answer
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, delimiter=delimiter, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    path = sheets / "filled.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_spreadsheets_write_is_read(sheets: Path, delimiter: str, encoding: str) -> None:
    answers = ["yes", "No ", "UNCLEAR", "y", "N", "1", "0", ""]
    path = fill(sheets, answers, delimiter=delimiter, encoding=encoding)
    path.write_bytes(path.read_bytes() + (delimiter * 8 + "\r\n").encode())  # an empty last row
    corpus, answers = read_review(path, pq.read_table(sheets / "review_sample.parquet"))
    assert list(answers.values()) == [True, False, None, True, False, True, False]
    assert corpus == "en"


def test_other_columns_and_rows_may_be_gone(sheets: Path) -> None:
    path = fill(sheets, ["yes"] * 100, columns=("holds", "id"))
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:31]), "utf-8")
    _, answers = read_review(path, pq.read_table(sheets / "review_sample.parquet"))
    assert len(answers) == 30


def broken(sheets: Path, case: str) -> Path:
    """A file with one fault."""
    path = fill(sheets, ["yes"] * 100)
    lines = path.read_bytes().splitlines(keepends=True)
    identity = lines[1][:13].decode()
    contents = {
        "answer": path.read_bytes().replace(b",yes,", b",maybe,", 1),
        "unknown": b"".join(lines).replace(identity.encode(), b"qffffffffffff"),
        "twice": b"".join([*lines, lines[1]]),
        "column": b"".join(lines).replace(b",holds,", b",stands,", 1),
        "repeated column": b"".join(lines).replace(b",note", b",holds", 1),
        "encoding": b"".join(lines).replace(b"Document", "Dökument".encode("latin-1")),
        "utf-16": "\ufeffid\tholds\r\n".encode("utf-16-le"),
        "spreadsheet": b"PK\x03\x04 and so on",
        "empty": b"",
        "header": lines[0],
        "cells": b"".join(lines) + lines[1].replace(b"yes", b"yes,,,,"),
        "quote": b"".join(lines)[:-2] + b'"never closed\r\n' + lines[2],
        "another corpus": b"".join(lines)
        + (sheets / "review-zh.csv").read_bytes().splitlines(keepends=True)[1],
    }
    if case == "absent":
        return sheets / "none.csv"
    path.write_bytes(contents[case])
    return path


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "answer",
            r"filled.csv, row 2, holds: 'maybe' is not an answer; write yes, no",
        ),
        (
            "unknown",
            r"filled.csv, row 2, id: 'qffffffffffff' is not on a sheet of this study; copy",
        ),
        ("twice", r"filled.csv, row 102, id: 'q\w+' is already in row 2; give every pair once"),
        (
            "column",
            r"filled.csv, row 1: the column 'holds' is missing; the columns are 'id', 'culture'",
        ),
        ("repeated column", r"filled.csv, row 1: the column 'holds' is repeated"),
        ("encoding", r"filled.csv: byte \d+ is not UTF-8; save it as CSV in UTF-8"),
        ("utf-16", r"filled.csv: byte 0 is not UTF-8; save it as CSV in UTF-8"),
        ("spreadsheet", r"filled.csv: a spreadsheet file; save it as CSV in UTF-8"),
        ("empty", r"filled.csv, row 1: the column 'id' is missing; the columns are empty; keep"),
        ("header", r"filled.csv: has a header but no rows; give a filled-in review sheet"),
        ("cells", r"filled.csv, row 102: 13 cells, but 9 columns; quote cells that"),
        ("quote", r"filled.csv, line \d+: not CSV \(.*\); save it as CSV in UTF-8"),
        (
            "another corpus",
            r"filled.csv, row 102, id: 'q\w+' belongs to the sheet of 'zh', the",
        ),
        ("absent", r"none.csv: cannot be read \(No such file or directory\); give a filled-in"),
    ],
)
def test_what_cannot_be_an_answer_is_refused(sheets: Path, case: str, message: str) -> None:
    sample = pq.read_table(sheets / "review_sample.parquet")
    with pytest.raises(UserError, match=message) as refused:
        read_review(broken(sheets, case), sample)
    assert "\n" not in str(refused.value)


def test_the_rows_of_a_review(tmp_path: Path) -> None:
    corpus = estimated(tmp_path, accepted=40, refused=360)
    write_review_sheets(tmp_path, [corpus], title="x", size=100, seed=0)
    sample = pq.read_table(tmp_path / "review_sample.parquet")
    verdicts = sample["verdict"].to_pylist()
    # Of 40 accepted ones 30 hold, of 60 refused ones 6; one refused one is unclear, two are empty.
    right, wrong = iter(["yes"] * 30 + ["no"] * 10), iter(["yes"] * 6 + ["no"] * 51 + ["unclear"])
    answers = [next(right) if verdict else next(wrong, "") for verdict in verdicts]
    _, said = read_review(fill(tmp_path, answers), sample)
    every, ko, mn = review_rows("en", corpus.frequencies, sample, said, seed=0)
    assert set(every) == set(REVIEW.names)
    assert (every["culture"], ko["culture"], mn["culture"]) == ("all", "ko", "mn")
    assert (every["accepted"], every["refused"]) == (40, 360)
    assert (every["drawn"], every["reviewed"], every["unclear"]) == (100, 97, 1)
    assert (every["unreviewed"], every["agreed"]) == (2, 81)
    assert every["precision"] == 0.75
    assert every["omission"] == pytest.approx(6 / 57)
    held = 30 + 360 * 6 / 57
    assert every["density"] == 40 / (10 * 100)
    assert every["corrected_density"] == pytest.approx(held / (10 * 100))
    assert every["corrected_low"] < every["corrected_density"] < every["corrected_high"]
    # Everything accepted was looked at, so what may still be is among the refused ones.
    assert every["corrected_low"] > 36 / 1000
    for row, own in ((ko, (30, 270)), (mn, (10, 90))):
        assert (row["accepted"], row["refused"]) == own
        expected = (own[0] * 0.75 + own[1] * 6 / 57) / (5 * 100)
        assert row["corrected_density"] == pytest.approx(expected)
        assert row["kappa"] is None
    assert ko["reviewed"] + mn["reviewed"] == 97
    # 0.18 of all pairs hold; person and judge agree on 0.75 x 0.1 + 0.895 x 0.9.
    share = held / 400
    observed = 0.1 * 0.75 + 0.9 * 51 / 57
    chance = 0.1 * share + 0.9 * (1 - share)
    assert every["kappa"] == pytest.approx((observed - chance) / (1 - chance))
    assert every["kappa"] < every["sample_kappa"]


def test_what_nobody_looked_at_is_not_known(tmp_path: Path) -> None:
    corpus = estimated(tmp_path)
    write_review_sheets(tmp_path, [corpus], title="x", size=100, seed=0)
    sample = pq.read_table(tmp_path / "review_sample.parquet")
    answers = ["yes" if verdict else "" for verdict in sample["verdict"].to_pylist()]
    every, *_ = review_rows(
        "en", corpus.frequencies, sample, read_review(fill(tmp_path, answers), sample)[1], seed=0
    )
    assert every["precision"] == 1.0
    assert every["precision_low"] == pytest.approx(0.912, abs=1e-3)
    assert (every["omission"], every["kappa"], every["corrected_density"]) == (None, None, None)


def test_a_judge_that_accepts_nothing_has_no_precision() -> None:
    corrected = correct(
        Stratum(pairs=0, reviewed=0, held=0), Stratum(pairs=500, reviewed=100, held=0), seed=0
    )
    assert corrected["precision"] == corrected["kappa"] == (None, None, None)
    assert corrected["sample_kappa"] == (None, None, None)
    estimate, low, high = corrected["held"]
    assert (estimate, low) == (0, 0)
    assert high is not None and 5 < high < 20  # 100 without one do not mean that none is among 500


def test_a_stratum_that_was_looked_at_wholly_adds_no_error() -> None:
    whole = Stratum(pairs=50, reviewed=50, held=31), Stratum(pairs=50, reviewed=50, held=4)
    assert correct(*whole, seed=0)["held"] == (35, 35, 35)
    assert carried_over(25, 10, whole, seed=0) == pytest.approx((16.3, 16.3, 16.3))


@pytest.mark.parametrize(
    ("accepted", "refused", "precision", "omission"),
    [(600, 3000, 0.6, 0.01), (60, 5000, 0.8, 0.03), (400, 400, 0.95, 0.3)],
)
def test_the_corrected_interval_holds_the_truth(
    accepted: int, refused: int, precision: float, omission: float
) -> None:
    """In about 95 of 100 reviews, where what the judge counts is far from it."""
    generator = np.random.default_rng(0)
    held = np.arange(accepted) < precision * accepted, np.arange(refused) < omission * refused
    truth = int(held[0].sum() + held[1].sum())
    covered = uncorrected = 0
    for simulation in range(300):
        sizes = min(50, accepted), 100 - min(50, accepted)
        strata = [
            Stratum(
                pairs=len(of_stratum),
                reviewed=size,
                held=int(generator.choice(of_stratum, size, replace=False).sum()),
            )
            for of_stratum, size in zip(held, sizes, strict=True)
        ]
        _, low, high = correct(*strata, seed=simulation)["held"]
        assert low is not None and high is not None
        covered += low <= truth <= high
        # The interval that a count of documents has by itself.
        uncorrected += abs(accepted - truth) <= 1.96 * np.sqrt(accepted)
    assert covered >= 0.9 * 300
    assert uncorrected == 0
