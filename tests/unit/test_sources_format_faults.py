"""The faults of Parquet, TMX, line pairs, tables and XML dumps, each in its place."""

import bz2
import gzip
import random
from pathlib import Path

import pyarrow as pa
import pytest

from ccx_ray.corpus.reading.record import Reason
from ccx_ray.corpus.reading.sources import read_shard, source_shards
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import (
    PAIR,
    RECORD_BYTES,
    faults,
    read,
    reasons,
    records,
    tmx,
    wiki_dump,
    wiki_page,
    write_parquet,
)

GOOD = b'{"id": "a", "text": "good"}\n'


def test_parquet_faults(tmp_path: Path):
    broken = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\5\0\0\0"), pa.py_buffer(b"\xff\xfeabc")],
    )
    write_parquet(tmp_path / "utf8.parquet", {"id": ["a", "b"], "text": broken})
    write_parquet(
        tmp_path / "text.parquet",
        {"id": ["a", "b", None, "d"], "text": [None, " ", "c", "x" * 5000]},
    )
    write_parquet(tmp_path / "type.parquet", {"id": ["a"], "text": [[1, 2]]})
    found = read(SourceSpec(path="utf8.parquet"), tmp_path)
    assert reasons(found) == [Reason.NOT_UTF8]
    assert records(found)[0].texts == ("abc",)
    found = read(SourceSpec(path="text.parquet"), tmp_path, record_bytes=4000)
    assert reasons(found) == [Reason.NULL_TEXT, Reason.BLANK_TEXT, Reason.NO_ID, Reason.TOO_LONG]
    assert reasons(read(SourceSpec(path="type.parquet"), tmp_path)) == [Reason.NOT_TEXT]


def test_a_missing_column_ends_a_parquet_file(tmp_path: Path):
    write_parquet(tmp_path / "a.parquet", {"id": ["a"], "body": ["x"]})
    (fault,) = read(SourceSpec(path="a.parquet"), tmp_path)
    assert (fault.reason, fault.ends_file) == (Reason.MISSING_COLUMN, True)
    assert "body" in fault.text


def test_broken_parquet_files(tmp_path: Path):
    path = write_parquet(tmp_path / "a.parquet", {"id": ["a"] * 9, "text": ["text"] * 9})
    whole = path.read_bytes()
    for data, expected in (
        (b"", Reason.EMPTY_FILE),
        (whole[:-20], Reason.TRUNCATED),
        (whole[:4] + bytes(len(whole) - 20) + whole[-16:], Reason.CORRUPT),
        (b"no Parquet at all", Reason.CORRUPT),
    ):
        path.write_bytes(data)
        assert reasons(read(SourceSpec(path="a.parquet"), tmp_path)) == [expected]


def test_tmx_with_missing_sides(tmp_path: Path):
    units = [
        [("en", "A."), ("ko", "가.")],
        [("en", "Only English.")],
        [("en", " "), ("ko", "나.")],
        [("fr", "Rien.")],
        [("en", "B."), ("ko", "다.")],
    ]
    (tmp_path / "a.tmx").write_bytes(tmx(units))
    found = read(SourceSpec(path="a.tmx"), tmp_path, sides=PAIR)
    assert len(found) == 5
    assert reasons(found) == [Reason.MISSING_SIDE] * 3
    assert faults(found)[0].text == "Only English."


def test_tmx_that_breaks_off(tmp_path: Path):
    whole = tmx([[("en", f"Sentence {n}."), ("ko", f"문장 {n}.")] for n in range(50)])
    for data, expected in (
        (whole[: len(whole) // 2], Reason.TRUNCATED),
        (whole[:3000] + b"<<" + whole[3000:], Reason.CORRUPT),
        (whole[:3000] + b"\xff" + whole[3000:], Reason.CORRUPT),
        (b"", Reason.EMPTY_FILE),
    ):
        (tmp_path / "a.tmx").write_bytes(data)
        found = read(SourceSpec(path="a.tmx"), tmp_path, sides=PAIR)
        assert reasons(found) == [expected]
        assert not data or len(records(found)) > 9
        assert found[-1].ends_file == bool(data)


def test_a_long_translation_unit(tmp_path: Path):
    units = [[("en", "x" * 5000), ("ko", "가")], [("en", "A."), ("ko", "가.")]]
    (tmp_path / "a.tmx").write_bytes(tmx(units))
    found = read(SourceSpec(path="a.tmx"), tmp_path, sides=PAIR, record_bytes=4000)
    assert reasons(found) == [Reason.TOO_LONG]
    assert len(records(found)) == 1


def test_uneven_and_broken_line_pairs(tmp_path: Path):
    source = SourceSpec(path="a.en", target_path="a.ko", format="moses")
    (tmp_path / "a.en").write_bytes(b"A.\nB.\n\xff\n\nE.\nF.\n")
    (tmp_path / "a.ko").write_bytes("가.\n\n다.\n\n".encode())
    found = read(source, tmp_path, sides=PAIR)
    assert len(records(found)) == 1
    assert [(fault.position, fault.reason) for fault in faults(found)] == [
        (2, Reason.MISSING_SIDE),
        (3, Reason.NOT_UTF8),
        (5, Reason.UNEVEN_FILES),
        (6, Reason.UNEVEN_FILES),
    ]
    (tmp_path / "a.ko").write_bytes(bz2.compress("가.\n나.\n".encode())[:-5])
    found = read(source, tmp_path, sides=PAIR)
    assert found[-1].reason == Reason.TRUNCATED
    assert found[-1].ends_file


def test_tsv_lines_of_other_columns(tmp_path: Path):
    (tmp_path / "a.tsv").write_bytes(
        "A\t가\nB\nC\t다\tx\n\t라\n\xff\t마\n".encode("latin-1", "replace")
    )
    found = read(SourceSpec(path="a.tsv"), tmp_path, sides=PAIR)
    assert reasons(found) == [
        Reason.WRONG_COLUMNS,
        Reason.WRONG_COLUMNS,
        Reason.MISSING_SIDE,
        Reason.NOT_UTF8,
    ]


@pytest.mark.parametrize("per_stream", [0, 3])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_a_dump_cut_in_its_middle(tmp_path: Path, per_stream: int, share: float):
    words = random.Random(0)
    pages = [
        wiki_page(n, f"T{n}", " ".join(str(words.random()) for _ in range(60))) for n in range(20)
    ]
    dump = wiki_dump(pages, per_stream=per_stream)
    (tmp_path / "a.xml").write_bytes(dump[: int(len(dump) * share)])
    found = read(SourceSpec(path="a.xml"), tmp_path)
    assert [record.id for record in records(found)] == [str(n) for n in range(len(found) - 1)]
    assert reasons(found) == [Reason.TRUNCATED]
    assert found[-1].ends_file


def test_a_dump_cut_between_pages_and_bad_pages(tmp_path: Path):
    good = wiki_page(1, "A", "Text.")
    deleted = good.replace('<text bytes="5"', '<text bytes="5" deleted="deleted"')
    pages = [
        good,
        good.replace("<title>", "<title"),
        good.replace("<id>1</id>", ""),
        good.replace("Text.", ""),
        deleted,
        wiki_page(2, "Long", "x" * 9000),
        wiki_page(3, "C", "Text."),
    ]
    data = wiki_dump(pages).replace(b"</mediawiki>\n", b"")
    (tmp_path / "a.xml").write_bytes(data)
    found = read(SourceSpec(path="a.xml"), tmp_path, record_bytes=5000)
    assert [record.id for record in records(found)] == ["1", "3"]
    assert reasons(found) == [
        Reason.MALFORMED,
        Reason.NO_ID,
        Reason.BLANK_TEXT,
        Reason.NULL_TEXT,
        Reason.TOO_LONG,
        Reason.TRUNCATED,
    ]


def test_a_broken_file_is_one_fault_of_its_shard(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(GOOD * 9)[:-9])
    (tmp_path / "c.jsonl").write_bytes(GOOD)
    source = SourceSpec(path="*.jsonl")
    shards = source_shards(source, sides=("text",), root=tmp_path, field="f")
    counts = []
    for shard in shards:
        found = list(read_shard(shard, source, sides=("text",), record_bytes=RECORD_BYTES))
        counts.append((len(records(found)), reasons(found)))
    assert counts == [(1, []), (9, [Reason.TRUNCATED]), (1, [])]
