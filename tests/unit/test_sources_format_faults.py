"""The faults of Parquet, TMX, line pairs, tables and XML dumps, each in its place."""

import bz2
import gzip
import random
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.reading.record import Reason, Record
from ccx_ray.corpus.reading.sources import check_source, read_shard, source_shards
from ccx_ray.errors import UserError
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


def refused(folder: Path, name: str, *, sides: tuple[str, ...] = ("text",), **source: str) -> str:
    with pytest.raises(UserError) as caught:
        check_source(SourceSpec(path=name, **source), sides=sides, root=folder, field="f")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_that_stand_twice(tmp_path: Path):
    names = ["id", "text", "text", "other", "other"]
    table = pa.Table.from_arrays([pa.array(["a"])] * 5, names=names)
    pq.write_table(table, tmp_path / "a.parquet")
    assert "has the column 'text' 2 times; rename all but one" in refused(tmp_path, "a.parquet")
    assert reasons(read(SourceSpec(path="a.parquet"), tmp_path)) == [Reason.MISSING_COLUMN]
    (one,) = read(SourceSpec(path="a.parquet", text_field="id", id_field="id"), tmp_path)
    assert isinstance(one, Record)
    (tmp_path / "a.tsv").write_text("id\ttext\ttext\n1\ta\tb\n", "utf-8")
    line = refused(tmp_path, "a.tsv", text_field="text")
    assert "has in its first line the column 'text' 2 times" in line


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_bytes_that_no_annotation_calls_text(tmp_path: Path, kind: pa.DataType):
    good, bad = "글이다.".encode(), b"\xff\xfe"
    columns = {
        "id": pa.array([b"a", b"b", bad, None], kind),
        "text": pa.array([good, bad, good, good], kind),
        "source": pa.array([b"s", None, bad, b"s"], kind),
    }
    write_parquet(tmp_path / "a.parquet", columns)
    check_source(SourceSpec(path="a.parquet"), sides=("text",), root=tmp_path, field="f")
    found = read(SourceSpec(path="a.parquet"), tmp_path)
    assert found[0] == Record("a", "s", 1, ("글이다.",))
    assert reasons(found) == [Reason.NOT_UTF8, Reason.NO_ID, Reason.NO_ID]


def test_columns_within_columns(tmp_path: Path):
    pairs = [{"en": "One.", "ko": "하나."}, {"en": None, "ko": "둘."}, None]
    struct = pa.struct([("en", pa.string()), ("ko", pa.string())])
    columns = {"meta": [{"id": n} for n in (2**63, 5, 6)], "translation": pa.array(pairs, struct)}
    columns["meta"] = pa.array(columns["meta"], pa.struct([("id", pa.uint64())]))
    write_parquet(tmp_path / "a.parquet", columns)
    names = {
        "id_field": "meta.id",
        "english_field": "translation.en",
        "target_field": "translation.ko",
    }
    source = SourceSpec(path="a.parquet", **names)  # type: ignore[arg-type]
    check_source(source, sides=PAIR, root=tmp_path, field="f")
    found = read(source, tmp_path, sides=PAIR)
    assert found[0] == Record("9223372036854775808", "a.parquet", 1, ("One.", "하나."))
    assert reasons(found) == [Reason.NULL_TEXT, Reason.NULL_TEXT]
    line = refused(tmp_path, "a.parquet", sides=PAIR)
    assert "has no column 'en', only meta.id, translation.en, translation.ko; name" in line


def test_a_column_that_holds_no_text_is_refused(tmp_path: Path):
    write_parquet(tmp_path / "a.parquet", {"id": ["a"], "text": [["One.", "Two."]]})
    line = refused(tmp_path, "a.parquet")
    assert "the column 'text' of" in line
    assert "contains list<" in line
    write_parquet(tmp_path / "b.parquet", {"id": ["a"], "text": [1.5]})
    assert "contains double, not text" in refused(tmp_path, "b.parquet")


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["글", "둘"]).dictionary_encode(),
        pa.array(["글", "둘"], pa.large_string()),
        pa.array(["글", "둘"], pa.string_view()),
        pa.array(["글".encode(), "둘".encode()]).dictionary_encode(),
    ],
)
def test_texts_in_every_type_that_holds_them(tmp_path: Path, values: pa.Array):
    columns = {"id": pa.array([12.0, 1e22]), "text": values}
    write_parquet(tmp_path / "a.parquet", columns)
    check_source(SourceSpec(path="a.parquet"), sides=("text",), root=tmp_path, field="f")
    found = read(SourceSpec(path="a.parquet"), tmp_path)
    assert [(one.id, one.texts) for one in records(found)] == [
        ("12.0", ("글",)),
        ("1e+22", ("둘",)),
    ]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (pa.array([UUID(int=2**127).bytes], pa.binary(16)), str(UUID(int=2**127))),
        (pa.array([UUID(int=7).bytes], pa.uuid()), str(UUID(int=7))),
        (pa.array([date(2020, 2, 1)]), "2020-02-01"),
        (pa.array([datetime(2020, 2, 1, 3, tzinfo=UTC)]), "2020-02-01 03:00:00+00:00"),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
    ],
)
def test_ids_in_every_type_that_names_a_row(tmp_path: Path, values: pa.Array, name: str):
    write_parquet(tmp_path / "a.parquet", {"id": values, "text": ["글"]})
    (record,) = read(SourceSpec(path="a.parquet"), tmp_path)
    assert isinstance(record, Record)
    assert record.id == name


def test_parquet_that_was_compressed_once_more(tmp_path: Path):
    path = write_parquet(tmp_path / "a.parquet", {"id": ["a"], "text": ["글"]})
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert "is a Parquet file compressed by gzip" in refused(tmp_path, "a.parquet")
