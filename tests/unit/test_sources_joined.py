"""Lines of JSON: byte order marks within, ids as they are spelt, one object a line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccx_ray.corpus.reading.record import Reason, Shard, fields_of
from ccx_ray.corpus.reading.sources import raw_batches, read_shard
from ccx_ray.storage.input_files import InputFile
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import DOCUMENT, PAIR, faults, read, reasons, records

MARK = "\ufeff"
SOURCE = SourceSpec(path="a.jsonl")


def jsonl(folder: Path, text: str, **source: Any) -> list[Any]:
    (folder / "a.jsonl").write_bytes(text.encode())
    return read(SourceSpec(path="a.jsonl", **source), folder)


def both_ways(path: Path) -> tuple[list[Any], list[Any]]:
    """(id, text or reason) of every record and fault, by the fast reader and record by record."""
    file = InputFile(uri=str(path), name=path.name, size=path.stat().st_size)
    fast: list[Any] = []
    for batch in raw_batches(Shard(file), SOURCE, sides=DOCUMENT, record_bytes=2**20):
        rows = zip(batch.ids.to_pylist(), batch.texts[0].to_pylist(), strict=True)
        for row, (name, text) in enumerate(rows):
            fault = batch.faults.get(row)
            fast.append((name, fault.reason if fault else text))
    slow = [
        (one.id, getattr(one, "reason", None) or one.texts[0])  # type: ignore[union-attr]
        for one in read_shard(Shard(file), SOURCE, sides=DOCUMENT, record_bytes=2**20)
    ]
    return fast, slow


def test_marks_where_files_were_joined(tmp_path: Path):
    lines = [f'{{"id": "{n}", "text": "글{MARK}{n}"}}' for n in range(4)]
    text = f"{MARK}{lines[0]}\n{lines[1]}\r\n{MARK}{MARK}{lines[2]}\n{MARK}\n{lines[3]}\n{MARK}"
    found = jsonl(tmp_path, text)
    assert [one.texts[0] for one in records(found)] == [f"글{MARK}{n}" for n in range(4)]
    assert not faults(found)
    fast, slow = both_ways(tmp_path / "a.jsonl")
    assert fast == slow


def test_marks_in_line_pairs_and_tables(tmp_path: Path):
    (tmp_path / "a.en").write_text(f"{MARK}One.\n{MARK}Two{MARK}s.\n", "utf-8")
    (tmp_path / "a.ko").write_text(f"하나.\n{MARK}둘.\n", "utf-8")
    (tmp_path / "a.tsv").write_text(f"{MARK}A\t가\n{MARK}B\t나\n", "utf-8")
    moses = SourceSpec(path="a.en", target_path="a.ko", format="moses")
    found = records(read(moses, tmp_path, sides=PAIR))
    assert [one.texts for one in found] == [("One.", "하나."), (f"Two{MARK}s.", "둘.")]
    found = records(read(SourceSpec(path="a.tsv"), tmp_path, sides=PAIR))
    assert [one.texts for one in found] == [("A", "가"), ("B", "나")]


@pytest.mark.parametrize(
    "spelt",
    [
        "147573952589676412927",
        "18446744073709551615",
        "-9223372036854775809",
        "12.0",
        "1e400",
        "0.1000",
        "9" * 5000,
        "7",
    ],
)
def test_an_id_that_is_a_number_is_called_as_it_is_spelt(tmp_path: Path, spelt: str):
    found = jsonl(tmp_path, f'{{"id": {spelt}, "text": "글"}}\n{{"id": "b", "text": "글 둘"}}\n')
    assert [one.id for one in records(found)] == [spelt, "b"]
    fast, slow = both_ways(tmp_path / "a.jsonl")
    assert fast == slow


@pytest.mark.parametrize("spelt", ["true", "null", "NaN", "[1]", '{"a": 1}', '" "'])
def test_what_is_no_id(tmp_path: Path, spelt: str):
    assert reasons(jsonl(tmp_path, f'{{"id": {spelt}, "text": "글"}}')) == [Reason.NO_ID]


def test_a_number_is_still_no_text(tmp_path: Path):
    found = jsonl(tmp_path, '{"id": 1e400, "text": 147573952589676412927}')
    assert reasons(found) == [Reason.NOT_TEXT]


ONE, TWO = '{"id": "1", "text": "가나"}', '{"id": "2", "text": "다라"}'


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}{TWO}\n",
        f"{ONE} {TWO}\n\n",
        f"{ONE}{TWO}\n \n",
        f"{ONE}{MARK}{TWO}\n",
        f"{ONE}\r{TWO}\r",
        f'{ONE}{TWO}\n{{"id": "3",\n"text": "마"}}\n',
    ],
)
def test_two_objects_on_a_line_are_rejected_whatever_is_beside_them(tmp_path: Path, text: str):
    found = jsonl(tmp_path, text)
    assert reasons(found)[0] == Reason.SEVERAL_OBJECTS
    assert not records(found)
    fast, slow = both_ways(tmp_path / "a.jsonl")
    assert fast == slow


PIECES = st.sampled_from(
    [ONE, TWO, "\n", "\n", "\r\n", " ", MARK, "{", "}", ",", '{"id": "4",', '"text": "x"}', "{}"]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_the_fast_reader_gives_what_the_other_gives(
    tmp_path_factory: pytest.TempPathFactory, text: str
):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(text.encode())
    fast, slow = both_ways(path)
    assert fast == slow


def test_fields_within_fields(tmp_path: Path):
    rows = (
        '{"translation": {"en": "One.", "ko": "하나."}}\n'
        '{"translation": {"en": "Two.", "ko": null}}\n'
        '{"translation": null}\n'
        '{"translation": {"en": "Three."}}\n'
        '{"translation": "Four"}\n'
    )
    (tmp_path / "a.jsonl").write_bytes(rows.replace('{"trans', '{"id": "x", "trans').encode())
    source = SourceSpec(
        path="a.jsonl", english_field="translation.en", target_field="translation.ko"
    )
    assert fields_of(source, PAIR).texts == ("translation.en", "translation.ko")
    found = read(source, tmp_path, sides=PAIR)
    assert [one.texts for one in records(found)] == [("One.", "하나.")]
    missing = Reason.MISSING_FIELD
    assert reasons(found) == [Reason.NULL_TEXT, Reason.NULL_TEXT, missing, missing]
