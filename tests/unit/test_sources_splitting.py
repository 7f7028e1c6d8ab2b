"""However a file is cut into shards, its records come out once each and in order."""

import bz2
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccx_ray.corpus.reading import lines as reading
from ccx_ray.corpus.reading.record import Fault, Reason, Record, Shard
from ccx_ray.corpus.reading.sources import read_shard, source_shards
from ccx_ray.storage.input_files import InputFile
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import (
    DOCUMENT,
    documents,
    json_lines,
    read,
    reasons,
    records,
    wiki_dump,
    wiki_page,
    write_parquet,
)


def shown(found: list[Record | Fault]) -> list[object]:
    """What must not depend on the shards."""
    return [
        (one.id, one.texts) if isinstance(one, Record) else (one.reason, one.text) for one in found
    ]


def read_ranges(path: Path, source: SourceSpec, bounds: list[int]) -> list[Record | Fault]:
    file = InputFile(uri=str(path), name=path.name, size=path.stat().st_size)
    stops = [*bounds[1:], None]
    return [
        found
        for start, stop in zip(bounds, stops, strict=True)
        for found in read_shard(Shard(file, start, stop), source, sides=DOCUMENT, record_bytes=200)
    ]


LINES = st.lists(
    st.sampled_from(
        [
            b"",
            b" ",
            b'{"id": "1", "text": "a"}',
            '{"id": "2", "text": "ᠮᠣᠩᠭᠣᠯ\\n나"}'.encode(),
            b"broken",
            b'{"id": "3", "text": "' + b"x" * 150 + b'"}',
            b'{"id": "4", "text": "' + b"y" * 300 + b'"}',
        ]
    ),
    max_size=9,
)


@settings(max_examples=300, deadline=None)
@given(
    lines=LINES,
    ending=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    cuts=st.lists(st.integers(1, 1500), max_size=6),
    block=st.sampled_from([1, 7, 64, 2**20]),
)
def test_json_lines_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    ending: bytes,
    last: bool,
    cuts: list[int],
    block: int,
):
    data = ending.join(lines) + (ending if last and lines else b"")
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    path.write_bytes(data)
    bounds = sorted({0, *(cut for cut in cuts if cut < len(data))})
    source = SourceSpec(path="a.jsonl")
    whole = read_ranges(path, source, [0])
    before = reading.BLOCK
    reading.BLOCK = block
    try:
        assert shown(read_ranges(path, source, bounds)) == shown(whole)
    finally:
        reading.BLOCK = before
    filled = [line for line in lines if line.strip()]
    assert len(whole) == (len(filled) if data else 1)


def wiki_pages(count: int) -> list[str]:
    return [
        wiki_page(number, f"T{number}", f"Page {number}. " + "text " * (number % 7 * 30))
        for number in range(count)
    ]


@pytest.mark.parametrize("shard_bytes", [1000, 1733, 5000, 2**27])
def test_a_plain_dump_cut_anywhere(tmp_path: Path, shard_bytes: int):
    (tmp_path / "a.xml").write_bytes(wiki_dump(wiki_pages(40)))
    found = read(SourceSpec(path="a.xml"), tmp_path, shard_bytes=shard_bytes)
    assert [(one.id, one.source) for one in records(found)] == [
        (str(number), f"kowiki: T{number}") for number in range(40)
    ]
    assert not reasons(found)


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(1, 9000), max_size=5), block=st.sampled_from([5, 100, 4096]))
def test_a_dump_cut_within_its_tags(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], block: int
):
    path = tmp_path_factory.mktemp("cut") / "a.xml"
    data = wiki_dump(wiki_pages(9))
    path.write_bytes(data)
    bounds = sorted({0, *(cut for cut in cuts if cut < len(data))})
    before = reading.BLOCK
    reading.BLOCK = block
    try:
        stops = [*bounds[1:], None]
        file = InputFile(uri=str(path), name="a.xml", size=len(data))
        found = [
            one
            for start, stop in zip(bounds, stops, strict=True)
            for one in read_shard(
                Shard(file, start, stop),
                SourceSpec(path="a.xml"),
                sides=DOCUMENT,
                record_bytes=2**20,
            )
        ]
    finally:
        reading.BLOCK = before
    assert [one.id for one in found] == [str(number) for number in range(9)]


@pytest.mark.parametrize("shard_bytes", [300, 900, 2**27])
@pytest.mark.parametrize("per_stream", [1, 3, 50])
def test_a_multistream_dump_cut_anywhere(tmp_path: Path, per_stream: int, shard_bytes: int):
    (tmp_path / "a.xml.bz2").write_bytes(wiki_dump(wiki_pages(40), per_stream=per_stream))
    source = SourceSpec(path="a.xml.bz2")
    shards = source_shards(
        source, sides=DOCUMENT, root=tmp_path, field="f", shard_bytes=shard_bytes
    )
    assert len(shards) == 1 or shard_bytes < 2**27
    found = read(source, tmp_path, shard_bytes=shard_bytes)
    assert [one.id for one in records(found)] == [str(number) for number in range(40)]
    assert not reasons(found)


def test_a_bz2_whose_streams_end_within_pages(tmp_path: Path):
    data = wiki_dump(wiki_pages(40))
    pieces = [bz2.compress(data[start : start + 700]) for start in range(0, len(data), 700)]
    (tmp_path / "a.xml.bz2").write_bytes(b"".join(pieces))
    for shard_bytes in (500, 1300):
        found = read(SourceSpec(path="a.xml.bz2"), tmp_path, shard_bytes=shard_bytes)
        assert [one.id for one in found] == [str(number) for number in range(40)]


def test_a_corrupt_stream_costs_its_shard_alone(tmp_path: Path):
    dump = bytearray(wiki_dump(wiki_pages(40), per_stream=1))
    dump[len(dump) // 2] ^= 0xFF
    (tmp_path / "a.xml.bz2").write_bytes(bytes(dump))
    found = read(SourceSpec(path="a.xml.bz2"), tmp_path, shard_bytes=len(dump) // 8)
    assert reasons(found) == [Reason.CORRUPT]
    assert 30 < len(records(found)) < 40


@pytest.mark.parametrize("shard_bytes", [1, 700, 2**27])
def test_row_groups(tmp_path: Path, shard_bytes: int):
    rows = documents(50)
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    write_parquet(tmp_path / "a.parquet", columns, rows_per_group=7)
    found = read(SourceSpec(path="a.parquet"), tmp_path, shard_bytes=shard_bytes)
    assert [one.id for one in found] == [row["id"] for row in rows]


def test_shards_are_the_same_every_time_and_say_where_they_stand(tmp_path: Path):
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.jsonl").write_bytes(json_lines(documents(10)))
    source = SourceSpec(path="*.jsonl")
    shards = source_shards(source, sides=DOCUMENT, root=tmp_path, field="f", shard_bytes=400)
    assert shards == source_shards(
        source, sides=DOCUMENT, root=tmp_path, field="f", shard_bytes=400
    )
    assert [shard.file.name for shard in shards] == sorted(shard.file.name for shard in shards)
    assert shards[1].start == 400
    assert shards[1].place(17) == "line 17 from 400"
