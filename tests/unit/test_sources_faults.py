"""What is no record comes out as a fault that names the reason, and the counts add up."""

import gzip
import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from ccx_ray.corpus.reading.lines import TextStream
from ccx_ray.corpus.reading.record import SHOWN_CHARACTERS, Fault, Reason
from ccx_ray.storage.input_files import find_files
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import (
    COMPRESSIONS,
    documents,
    faults,
    json_lines,
    read,
    reasons,
    records,
)

GOOD = b'{"id": "a", "text": "good"}\n'


def jsonl(folder: Path, data: bytes, **options: Any) -> list[Any]:
    (folder / "a.jsonl").write_bytes(data)
    return read(SourceSpec(path="a.jsonl"), folder, **options)


@pytest.mark.parametrize(
    ("line", "expected", "name"),
    [
        (b'{"id": "x", "text": "\xff\xfe"}', Reason.NOT_UTF8, ""),
        (b'{"id": "x", "text": "cut', Reason.NOT_JSON, ""),
        (b'["id", "text"]', Reason.NOT_AN_OBJECT, ""),
        (b'"text"', Reason.NOT_AN_OBJECT, ""),
        (b'{"id": "x"}', Reason.MISSING_FIELD, "x"),
        (b'{"id": "x", "text": null}', Reason.NULL_TEXT, "x"),
        (b'{"id": "x", "text": 7}', Reason.NOT_TEXT, "x"),
        (b'{"id": "x", "text": ["a"]}', Reason.NOT_TEXT, "x"),
        (b'{"id": "x", "text": " \\n\\u3000"}', Reason.BLANK_TEXT, "x"),
        (b'{"text": "no id"}', Reason.NO_ID, ""),
        (b'{"id": "", "text": "no id"}', Reason.NO_ID, ""),
        (b'{"id": null, "text": "no id"}', Reason.NO_ID, ""),
        (b'{"id": "x", "text": "half \\ud83d of it"}', Reason.LONE_SURROGATE, "x"),
        (b"[" * 100_000, Reason.NOT_JSON, ""),
    ],
)
def test_a_bad_line_costs_that_line(tmp_path: Path, line: bytes, expected: str, name: str):
    found = jsonl(tmp_path, GOOD + b"\n" + line + b"\n" + GOOD)
    assert [record.position for record in records(found)] == [1, 4]
    (fault,) = faults(found)
    assert (fault.reason, fault.position, fault.id) == (expected, 3, name)
    assert 0 < len(fault.text) <= SHOWN_CHARACTERS
    assert not fault.ends_file
    fault.text.encode("utf-8")


def test_what_orjson_refuses_in_other_fields_is_no_fault(tmp_path: Path):
    line = b'{"id": "x", "text": "fine", "score": NaN, "title": "\\ud83d", "source": "\\udc00"}'
    (record,) = jsonl(tmp_path, line)
    assert (record.texts, record.source) == (("fine",), "a.jsonl")


def test_a_json_array_is_refused_whole(tmp_path: Path):
    array = json.dumps(documents(3), indent=1).encode()
    (fault,) = jsonl(tmp_path, array)
    assert fault.reason == Reason.JSON_ARRAY
    assert fault.ends_file
    assert reasons(jsonl(tmp_path, json.dumps(documents(3)).encode())) == [Reason.NOT_AN_OBJECT]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_empty_file(tmp_path: Path, compression: str):
    (fault,) = jsonl(tmp_path, COMPRESSIONS[compression][1](b""))
    assert (fault.reason, fault.text) == (Reason.EMPTY_FILE, "")


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz", "zstd"])
def test_a_truncated_file_gives_what_stands_before_the_break(tmp_path: Path, compression: str):
    rows = documents(3000, words=20)
    packed = COMPRESSIONS[compression][1](json_lines(rows))
    found = jsonl(tmp_path, packed[: int(len(packed) * 0.9)])
    assert [fault.reason for fault in faults(found)] == [Reason.TRUNCATED]
    assert found[-1].ends_file
    assert found[-1].position == len(found)
    whole = [record.id for record in records(found)]
    assert whole == [row["id"] for row in rows[: len(whole)]]
    assert compression in {"bz2", "xz"} or len(whole) > 1000  # these have one block of 900 kB


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz"])
def test_a_corrupt_file_gives_what_stands_before_the_break(tmp_path: Path, compression: str):
    compress = COMPRESSIONS[compression][1]
    first, second = json_lines(documents(500)), json_lines(documents(900)[500:])
    packed = bytearray(compress(second))
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 40] ^= 0xFF
    found = jsonl(tmp_path, compress(first) + bytes(packed))
    assert len(records(found)) >= 500
    assert found[-1].reason == Reason.CORRUPT
    assert found[-1].ends_file


def test_all_that_a_corrupt_gzip_gives_is_delivered(tmp_path: Path):
    text = json_lines(documents(4000, words=9))
    packed = bytearray(gzip.compress(text))
    packed[len(packed) // 2 : len(packed) // 2 + 8] = b"\xff" * 8
    byte_by_byte, expected = zlib.decompressobj(31), bytearray()
    with pytest.raises(zlib.error):
        for byte in bytes(packed):
            expected += byte_by_byte.decompress(bytes([byte]))
    (tmp_path / "a.gz").write_bytes(bytes(packed))
    (file,) = find_files("a.gz", root=tmp_path, field="f")
    stream = TextStream(file)
    delivered = b"".join(stream)
    assert stream.broken == Reason.CORRUPT
    assert len(delivered) > 10_000
    assert delivered.startswith(bytes(expected[:-300]))


def test_garbage_behind_a_gzip_is_a_fault(tmp_path: Path):
    found = jsonl(tmp_path, gzip.compress(GOOD) + b"something else")
    assert [*map(type, found)][-1] is Fault
    assert reasons(found) == [Reason.CORRUPT]


def test_a_long_line_is_skipped_and_the_next_is_read(tmp_path: Path):
    long = b'{"id": "long", "text": "' + b"x" * 3_000_000 + b'"}\n'
    found = jsonl(tmp_path, GOOD + long + GOOD + long, record_bytes=2**20)
    assert [type(one).__name__ for one in found] == ["Record", "Fault", "Record", "Fault"]
    assert reasons(found) == [Reason.TOO_LONG] * 2
    assert [one.position for one in found] == [1, 2, 3, 4]
    assert found[1].text.startswith('{"id": "long"')
    assert len(found[1].text) == SHOWN_CHARACTERS


@pytest.mark.parametrize("length", [999, 1000, 1001])
def test_the_limit_of_a_record_is_exact(tmp_path: Path, length: int):
    line = b'{"id": "a", "text": "' + b"x" * (length - 23) + b'"}'
    assert len(line) == length
    found = jsonl(tmp_path, line + b"\n" + GOOD, record_bytes=1000)
    assert reasons(found) == ([] if length <= 1000 else [Reason.TOO_LONG])


MEMORY = """
import resource, sys
from pathlib import Path
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import read
source = SourceSpec(path=sys.argv[1])
read(SourceSpec(path=sys.argv[2]), Path("/"), record_bytes=2**22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = read(source, Path("/"), record_bytes=2**22)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(found), after - before)
"""


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_of_100_megabytes_is_never_held(tmp_path: Path, packed: bool):
    opener: Any = gzip.open if packed else open
    with opener(tmp_path / "long.jsonl", "wb") as file:
        file.write(GOOD + b'{"id": "long", "text": "')
        for _ in range(100):
            file.write(b"x" * 2**20)
        file.write(b'"}\n' + GOOD)
    (tmp_path / "short.jsonl").write_bytes(GOOD)
    arguments = [str(tmp_path / "long.jsonl"), str(tmp_path / "short.jsonl")]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True
    )
    count, kibibytes = map(int, done.stdout.split())
    assert count == 3
    assert kibibytes < 20 * 1024
