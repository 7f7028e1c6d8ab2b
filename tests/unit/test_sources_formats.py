"""Every format gives its records, documents and pairs, whatever it is compressed by."""

from pathlib import Path

import pytest

from ccx_ray.corpus.reading.record import Reason, Record
from ccx_ray.corpus.reading.sources import source_shards
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import (
    COMPRESSIONS,
    PAIR,
    documents,
    json_lines,
    read,
    reasons,
    records,
    tmx,
    wiki_dump,
    wiki_page,
    write_parquet,
)
from tests.wikitext_page import TEXT, WIKITEXT


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_json_lines_of_every_compression(tmp_path: Path, compression: str):
    ending, compress = COMPRESSIONS[compression]
    rows = documents(50)
    (tmp_path / f"a.jsonl{ending}").write_bytes(compress(json_lines(rows)))
    found = read(SourceSpec(path="a.jsonl*"), tmp_path)
    assert found == [
        Record(row["id"], "s", number, (row["text"],)) for number, row in enumerate(rows, 1)
    ]


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz", "zstd"])
def test_files_of_several_members_are_read_to_their_end(tmp_path: Path, compression: str):
    compress = COMPRESSIONS[compression][1]
    rows = documents(9)
    members = [compress(json_lines(rows[start : start + 3])) for start in (0, 3, 6)]
    (tmp_path / "a.jsonl").write_bytes(b"".join(members))
    assert [record.id for record in read(SourceSpec(path="a.jsonl"), tmp_path)] == [
        row["id"] for row in rows
    ]


def test_zero_padding_behind_a_member_is_no_fault(tmp_path: Path):
    packed = COMPRESSIONS["gzip"][1](json_lines(documents(3)))
    (tmp_path / "a.jsonl.gz").write_bytes(packed + bytes(300_000))
    assert len(records(read(SourceSpec(path="a.jsonl.gz"), tmp_path))) == 3


def test_the_name_does_not_decide_the_compression(tmp_path: Path):
    (tmp_path / "a.jsonl.gz").write_bytes(json_lines(documents(2)))
    assert len(records(read(SourceSpec(path="a.jsonl.gz"), tmp_path))) == 2


def test_pairs_of_json_lines_with_fields_of_their_own(tmp_path: Path):
    row = {"nr": 7, "english": "A.", "korean": "가.", "source": "x"}
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + json_lines([row]) + b"\r\n \r\n")
    source = SourceSpec(
        path="a.jsonl", id_field="nr", english_field="english", target_field="korean"
    )
    assert read(source, tmp_path, sides=PAIR) == [Record("7", "x", 1, ("A.", "가."))]


def test_default_fields_of_pairs_are_the_language_codes(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(json_lines([{"id": "1", "en": "A", "ko": "가"}]))
    found = read(SourceSpec(path="a.jsonl"), tmp_path, sides=PAIR)
    assert found == [Record("1", "a.jsonl", 1, ("A", "가"))]


def test_mc2_has_titles_and_urls_and_no_ids(tmp_path: Path):
    rows = [
        {"title": "ᠮᠣᠩᠭᠣᠯ", "text": "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ", "url": "mongol.example/1.html"},
        {"title": "x", "text": "ᠨᠣᠮ", "url": ""},
    ]
    (tmp_path / "mn-crawl.jsonl").write_bytes(json_lines(rows))
    assert read(SourceSpec(path="mn-crawl.jsonl", format="mc2"), tmp_path) == [
        Record("mn-crawl.jsonl:1", "mongol.example/1.html", 1, ("ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ",)),
        Record("mn-crawl.jsonl:2", "mn-crawl.jsonl", 2, ("ᠨᠣᠮ",)),
    ]


def test_parquet_with_and_without_ids(tmp_path: Path):
    write_parquet(tmp_path / "a.parquet", {"id": [1, 2], "text": ["x", "y"]})
    write_parquet(tmp_path / "b.parquet", {"body": ["x", "y", "z"], "source": ["s"] * 3}, 2)
    assert read(SourceSpec(path="a.parquet"), tmp_path) == [
        Record("1", "a.parquet", 1, ("x",)),
        Record("2", "a.parquet", 2, ("y",)),
    ]
    source = SourceSpec(path="b.parquet", text_field="body")
    assert [record.id for record in read(source, tmp_path, shard_bytes=1)] == [
        "b.parquet:1",
        "b.parquet:2",
        "b.parquet:3",
    ]


def test_the_layout_of_the_wikipedia_snapshots(tmp_path: Path):
    columns = {
        "id": ["12"],
        "url": ["https://ko.wikipedia.org/wiki/x"],
        "title": ["x"],
        "text": ["글이다."],
    }
    write_parquet(tmp_path / "train-00000-of-00001.parquet", columns)
    found = read(SourceSpec(path="*.parquet", format="wikipedia"), tmp_path)
    assert found == [Record("12", "https://ko.wikipedia.org/wiki/x", 1, ("글이다.",))]


@pytest.mark.parametrize("per_stream", [0, 2])
def test_a_wikipedia_dump(tmp_path: Path, per_stream: int):
    pages = [
        wiki_page(1, "서울", WIKITEXT),
        wiki_page(2, "한성", "#넘겨주기 [[서울]]", redirect="서울"),
        wiki_page(3, "틀:도시", "{{x}}", namespace=10),
        wiki_page(4, "빈 글", "{{x}}"),
        wiki_page(5, "부산", "'''부산'''은 [[항구]]이다."),
    ]
    name = "kowiki-latest-pages-articles.xml" + (".bz2" if per_stream else "")
    (tmp_path / name).write_bytes(wiki_dump(pages, per_stream=per_stream))
    found = read(SourceSpec(path="*.xml*"), tmp_path)
    assert records(found) == [
        Record("1", "kowiki: 서울", 1, (TEXT,)),
        Record("5", "kowiki: 부산", 5, ("부산은 항구이다.",)),
    ]
    assert reasons(found) == [Reason.REDIRECT, Reason.NOT_AN_ARTICLE, Reason.BLANK_TEXT]
    assert [fault.id for fault in found if not isinstance(fault, Record)] == ["2", "3", "4"]


def test_tmx_matches_languages_by_their_primary_subtag(tmp_path: Path):
    units = [
        [("EN-us", "One &amp; two."), ("ko-KR", "하나와 둘.")],
        [("ko", "셋."), ("fr", "Trois."), ("en", "Three."), ("en-GB", "THREE.")],
        [("en", 'A <bpt i="1">&lt;b></bpt>bold<ept i="1">x</ept> <hi>word</hi>.'), ("ko", "말.")],
    ]
    (tmp_path / "a.tmx").write_bytes(tmx(units))
    found = read(SourceSpec(path="a.tmx"), tmp_path, sides=PAIR)
    assert [record.texts for record in records(found)] == [
        ("One & two.", "하나와 둘."),
        ("Three.", "셋."),
        ("A bold word.", "말."),
    ]
    assert [record.id for record in records(found)] == ["a.tmx:1", "a.tmx:2", "a.tmx:3"]


def test_tmx_ids_and_a_wanted_region(tmp_path: Path):
    units = [[("en", "A."), ("zh-CN", "简。"), ("zh-TW", "繁。")]]
    (tmp_path / "a.tmx.gz").write_bytes(COMPRESSIONS["gzip"][1](tmx(units, ids=True)))
    source = SourceSpec(path="a.tmx.gz", target_field="zh_tw")
    assert read(source, tmp_path, sides=("en", "zh")) == [
        Record("u1", "a.tmx.gz", 1, ("A.", "繁。"))
    ]


def test_moses_line_pairs(tmp_path: Path):
    (tmp_path / "c.en-ko.en").write_text("One.\n\nTwo.\r\n", "utf-8")
    (tmp_path / "c.en-ko.ko.gz").write_bytes(COMPRESSIONS["gzip"][1]("하나.\n \n둘.".encode()))
    source = SourceSpec(path="*.en", target_path="*.ko.gz", format="moses")
    assert read(source, tmp_path, sides=PAIR) == [
        Record("c.en-ko.en:1", "c.en-ko.en", 1, ("One.", "하나.")),
        Record("c.en-ko.en:3", "c.en-ko.en", 3, ("Two.", "둘.")),
    ]


def test_tsv_without_a_header(tmp_path: Path):
    (tmp_path / "a.tsv").write_text('He said "x".\t말했다.\n\nB.\t나.\n', "utf-8")
    assert read(SourceSpec(path="a.tsv"), tmp_path, sides=PAIR) == [
        Record("a.tsv:1", "a.tsv", 1, ('He said "x".', "말했다.")),
        Record("a.tsv:3", "a.tsv", 3, ("B.", "나.")),
    ]


def test_tsv_with_a_header_split_in_shards(tmp_path: Path):
    rows = [f"n{number}\t{number}번 글\tText {number}\n" for number in range(40)]
    (tmp_path / "a.tsv").write_text("nr\tko\tenglish\n" + "".join(rows), "utf-8")
    source = SourceSpec(path="a.tsv", id_field="nr", english_field="english")
    found = read(source, tmp_path, sides=PAIR, shard_bytes=50)
    assert [(record.id, record.texts) for record in records(found)] == [
        (f"n{number}", (f"Text {number}", f"{number}번 글")) for number in range(40)
    ]


def test_ids_by_place_are_unique_over_shards_and_files(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        lines = "".join(f"{number}\t{number}\n" for number in range(100))
        (tmp_path / folder / "x.tsv").write_text(lines, "utf-8")
    source = SourceSpec(path="**/x.tsv")
    assert len(source_shards(source, sides=PAIR, root=tmp_path, field="f", shard_bytes=60)) > 4
    found = read(source, tmp_path, sides=PAIR, shard_bytes=60)
    assert len({record.id for record in found}) == len(found) == 200
