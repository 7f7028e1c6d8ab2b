"""No record disappears: it is kept, or rejected with its reason, its place and its text."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccx_ray.corpus.cleaning.duplicates import digests, first_seen
from ccx_ray.corpus.parts import part_files, write_part
from ccx_ray.corpus.reading.sources import check_source, text_sources
from ccx_ray.corpus.tokenizing.tokenizer import END_OF_TEXT, PAD, describe_vocabulary
from ccx_ray.corpus.tokenizing.tokens import tokenize_text
from ccx_ray.errors import UserError
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.text_spec import BaseLanguageSpec, CleaningSpec, IsolationSpec, SourceSpec
from tests.small_corpus import base_language, target_language, text_folder
from tests.training_runs import write_tokenizer


def write_lines(path: Path, *lines: object) -> str:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", "utf-8", errors="surrogatepass")
    return path.name


def document(name: str, text: str) -> dict[str, str]:
    return {"id": name, "text": text, "source": "s"}


def rows(folder: Path) -> list[dict[str, str]]:
    return [row for part in part_files(folder) for row in pq.read_table(part).to_pylist()]


def korean(tmp_path: Path, *documents: object, cleaning: CleaningSpec | None = None) -> dict:
    """The counts of a text folder of Korean documents and one pair."""
    pair = {"id": "p", "en": "Hello", "ko": "안녕"}
    language = target_language(
        "ko",
        (write_lines(tmp_path / "ko.jsonl", *documents),),
        (write_lines(tmp_path / "en-ko.jsonl", pair),),
    )
    extra = {} if cleaning is None else {"cleaning": cleaning}
    return text_folder(language, tmp_path, tmp_path / "text", **extra)


def test_every_record_is_kept_or_rejected_with_its_reason(tmp_path: Path) -> None:
    counts = korean(
        tmp_path,
        document("1", "안녕하세요 hello"),
        "{broken",
        document("2", "Only English, 1 2 3."),
        document("3", "안녕하세요 bye"),
        document("1", "다른 글"),
        document("4", "   "),
        {"id": "5", "text": 7, "source": "s"},
        ["no", "object"],
        '{"id": "6", "text": "\\ud800", "source": "s"}',
        {"id": "7", "text": "출처 없음"},
        "",
        {"id": "8", "text": None},
        {"text": "아이디 없음"},
    )
    assert rows(tmp_path / "text/documents") == [
        {"id": "1", "text": "안녕하세요", "source": "s"},
        {"id": "7", "text": "출처 없음", "source": "ko.jsonl"},
    ]
    rejected = rows(tmp_path / "text/rejected")
    by_id = {row["id"]: row for row in rejected}
    assert by_id["2"]["text"] == "Only English, 1 2 3."
    assert by_id["2"]["reason"] == "nothing left after isolation"
    assert (by_id["3"]["reason"], by_id["3"]["duplicate_of"]) == ("duplicate", "1")
    assert (by_id["1"]["reason"], by_id["1"]["text"]) == ("repeated id", "다른 글")
    assert (by_id["1"]["file"], by_id["1"]["position"]) == ("ko.jsonl", "line 5")
    broken = next(row for row in rejected if row["text"] == "{broken")
    assert (broken["reason"], broken["position"]) == ("not valid JSON", "line 2")
    assert counts["documents"]["read"] == 12
    assert counts["documents"]["kept"] == 2
    reasons = counts["documents"]["rejected"]
    assert sum(reasons.values()) == 10 == len(rejected)
    assert {reason: reasons[reason] for reason in ("duplicate", "repeated id", "null text")} == {
        "duplicate": 1,
        "repeated id": 1,
        "null text": 1,
    }
    assert counts["characters_removed_by_script"]["Latin"] == len("helloOnlyEnglishbye")


def test_a_pair_needs_both_sides(tmp_path: Path) -> None:
    pairs = write_lines(
        tmp_path / "en-ko.jsonl",
        {"id": "1", "en": "Hello 안녕", "ko": "안녕 Hello", "source": "s"},
        {"id": "2", "en": "Nokia", "ko": "Nokia", "source": "s"},
        {"id": "3", "en": "Hello", "ko": "안녕", "source": "s"},
        {"id": "4", "en": "Hello", "ko": "여보세요", "source": "s"},
        {"id": "5", "en": "Alone", "source": "s"},
    )
    texts = write_lines(tmp_path / "ko.jsonl", document("1", "글"))
    counts = text_folder(target_language("ko", (texts,), (pairs,)), tmp_path, tmp_path / "text")
    assert rows(tmp_path / "text/pairs") == [
        {"id": "1", "english": "Hello", "target": "안녕", "source": "s"},
        {"id": "4", "english": "Hello", "target": "여보세요", "source": "s"},
    ]
    rejected = {row["id"]: row["reason"] for row in rows(tmp_path / "text/rejected")}
    assert rejected["2"] == "nothing left after isolation"
    assert rejected["3"] == "duplicate"
    assert counts["pairs"]["read"] == 5
    assert sum(counts["pairs"]["rejected"].values()) == 3


def test_pairs_are_read_in_the_study_s_base_language(tmp_path: Path, project: Path) -> None:
    base = BaseLanguageSpec(
        code="ru",
        name="Russian",
        monolingual=(SourceSpec(path="ru.jsonl"),),
        isolation=IsolationSpec(keep=("Cyrillic", "Common", "Inherited")),
    )
    pair = {"id": "1", "ru": "Привет hello", "ko": "안녕 hello", "source": "s"}
    pairs = write_lines(tmp_path / "ru-ko.jsonl", pair)
    texts = write_lines(tmp_path / "ko.jsonl", document("1", "글"))
    language = target_language("ko", (texts,), (pairs,))
    text, tokens, tokenizer = (tmp_path / name for name in ("text", "tokens", "tokenizer"))
    text_folder(language, tmp_path, text, base=base)
    assert rows(text / "pairs") == [
        {"id": "1", "english": "Привет", "target": "안녕", "source": "s"}
    ]
    tokens.mkdir()
    describe_vocabulary(write_tokenizer(tokenizer), END_OF_TEXT, PAD)
    tokenize_text(text, tokenizer, tokens, run_tasks=run_here)
    table = pq.read_table(tokens / "documents.parquet").to_pylist()
    assert [(row["language"], row["part"]) for row in table] == [
        ("ko", "monolingual"),
        ("ru", "english"),
        ("ko", "target"),
    ]
    source, *_ = [s for s in text_sources(language, base) if s.kind == "pairs"]
    check_source(source.spec, sides=source.sides, root=tmp_path, field="languages.ko.parallel")


def test_short_documents_and_near_duplicates_go_when_asked(tmp_path: Path) -> None:
    long = " ".join(f"낱말{i}" for i in range(300))
    records = [
        document("1", long),
        document("2", "짧은 글"),
        document("3", long.replace("낱말150", "다른말")),
    ]
    cleaning = CleaningSpec(minimum_characters=10, near_duplicates=0.8)
    counts = korean(tmp_path, *records, cleaning=cleaning)
    assert counts["documents"]["rejected"] == {
        "too short after isolation": 1,
        "near-duplicate": 1,
    }
    near = next(r for r in rows(tmp_path / "text/rejected") if r["reason"] == "near-duplicate")
    assert (near["id"], near["duplicate_of"]) == ("3", "1")


def test_a_broken_file_stops_or_is_kept_as_the_study_says(tmp_path: Path) -> None:
    lines = "".join(json.dumps(document(str(i), f"글 {i} " * 400)) + "\n" for i in range(50))
    content = gzip.compress(lines.encode())
    (tmp_path / "ko.jsonl.gz").write_bytes(content[: len(content) // 2])
    pairs = write_lines(tmp_path / "en-ko.jsonl", {"id": "1", "en": "Hello", "ko": "안녕"})
    language = target_language("ko", ("ko.jsonl.gz",), (pairs,))
    told = r"ko\.jsonl\.gz: file ends in the middle at line \d+; give"
    with pytest.raises(UserError, match=told):
        text_folder(language, tmp_path, tmp_path / "stopped")
    kept = CleaningSpec(near_duplicates=None, broken_files="keep")
    counts = text_folder(language, tmp_path, tmp_path / "kept", cleaning=kept)["documents"]
    assert counts["rejected"] == {"file ends in the middle": 1}
    assert 0 < counts["kept"] == counts["read"] - 1 < 50


def test_a_finished_shard_is_not_isolated_again(tmp_path: Path) -> None:
    """The result is there although the first file is gone; the second one is still read."""
    names = [write_lines(tmp_path / f"{i}.jsonl", document(f"{i}", f"Text {i}")) for i in (0, 1)]
    language = base_language(*names)
    (tmp_path / "1.jsonl").write_bytes(gzip.compress(b"x" * 1000)[:-12])
    with pytest.raises(UserError, match=r"1\.jsonl"):
        text_folder(language, tmp_path, tmp_path / "text")
    write_lines(tmp_path / "0.jsonl", document("other", "Changed"))
    write_lines(tmp_path / "1.jsonl", document("1", "Text 1"))
    text_folder(language, tmp_path, tmp_path / "text")
    assert [row["id"] for row in rows(tmp_path / "text/documents")] == ["0", "1"]


def test_the_same_table_makes_the_same_bytes(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"] * 5000, "text": [f"text {i}" for i in range(5000)]})
    for number in (0, 1):
        write_part(tmp_path, number, table)
    first, second = part_files(tmp_path)
    assert first.read_bytes() == second.read_bytes()
    assert pq.read_table(first).equals(table)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60))
def test_the_first_of_equal_keys_is_the_first_in_order(rows_: list[tuple[int, bool]]) -> None:
    keys = digests([pa.array([str(key) for key, _ in rows_], pa.string())])
    standing = np.array([stands for _, stands in rows_], bool)
    seen: dict[int, int] = {}
    expected = [
        seen.setdefault(key, row) if stands else -1 for row, (key, stands) in enumerate(rows_)
    ]
    assert first_seen(keys, standing).tolist() == expected


def test_a_digest_tells_sides_apart() -> None:
    left = digests([pa.array(["ab", "a", "x"]), pa.array(["c", "bc", "y"])])
    assert len(np.unique(left, axis=0)) == 3
    sliced = digests([pa.array(["-", "ab", "a"]).slice(1), pa.array(["-", "c", "bc"]).slice(1)])
    assert np.array_equal(sliced, left[:2])


def test_lines_in_another_language_are_dropped_and_kept_readable(tmp_path: Path) -> None:
    german = "Die Katze schläft auf dem warmen Ofen, und der Hund liegt vor der Tür."
    english = "This is a line of plain English that nobody has translated so far."
    texts = write_lines(
        tmp_path / "de.jsonl",
        document("mixed", f"{german}\n{english}\n{german}"),
        document("english", english),
        document("german", "Der Zug nach Hamburg fährt heute nicht, weil es geschneit hat."),
    )
    pairs = write_lines(tmp_path / "en-de.jsonl", {"id": "1", "en": english, "de": german})
    isolation = IsolationSpec(strategy="language", level="line")
    language = target_language("de", (texts,), (pairs,), isolation=isolation)
    counts = text_folder(language, tmp_path, tmp_path / "text")
    kept = {row["id"]: row["text"] for row in rows(tmp_path / "text/documents")}
    assert kept == {
        "mixed": f"{german}\n{german}",
        "german": "Der Zug nach Hamburg fährt heute nicht, weil es geschneit hat.",
    }
    assert counts["documents"]["rejected"] == {"in another language": 1}
    (dropped,) = rows(tmp_path / "text/dropped")
    assert (dropped["id"], dropped["text"].strip()) == ("mixed", english)
    assert counts["pairs"]["kept"] == 1
