"""What a file holds is told by its content: every zstd frame, other compressions, archives."""

import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pytest

from ccx_ray.corpus.reading import lines as reading
from ccx_ray.corpus.reading.record import Reason
from ccx_ray.corpus.reading.sources import check_source
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import (
    COMPRESSIONS,
    DOCUMENT,
    PAIR,
    documents,
    json_lines,
    read,
    reasons,
    records,
)

zstd = reading.zstd
SKIPPABLE = struct.pack("<II", 0x184D2A57, 5) + b"about"
ROWS = documents(9)
IDS = [row["id"] for row in ROWS]


def ids_of(folder: Path, data: bytes, name: str = "a.jsonl") -> list[str]:
    (folder / name).write_bytes(data)
    check_source(SourceSpec(path=name), sides=DOCUMENT, root=folder, field="f")
    found = read(SourceSpec(path=name), folder)
    assert not reasons(found)
    return [record.id for record in records(found)]


def frame(data: bytes, **options: int) -> bytes:
    return zstd.compress(
        data, options={getattr(zstd.CompressionParameter, k): v for k, v in options.items()}
    )


@pytest.mark.parametrize("place", ["before", "between", "behind", "alone"])
def test_frames_that_zstd_skips(tmp_path: Path, place: str):
    first, second = frame(json_lines(ROWS[:4])), frame(json_lines(ROWS[4:]))
    data = {
        "before": SKIPPABLE * 2 + first + second,
        "between": first + SKIPPABLE + second,
        "behind": first + second + SKIPPABLE,
    }
    if place != "alone":
        assert ids_of(tmp_path, data[place]) == IDS
        return
    (tmp_path / "a.jsonl").write_bytes(SKIPPABLE)
    assert reasons(read(SourceSpec(path="a.jsonl"), tmp_path)) == [Reason.EMPTY_FILE]


def test_many_frames_and_one_cut_short(tmp_path: Path):
    frames = [frame(json_lines([row])) for row in ROWS]
    assert ids_of(tmp_path, b"".join(frames)) == IDS
    for cut in (len(frames[-1]) // 2, len(frames[-1]) - 2):  # within the frame, within its magic
        (tmp_path / "a.jsonl").write_bytes(b"".join(frames)[:-cut])
        found = read(SourceSpec(path="a.jsonl"), tmp_path)
        assert [record.id for record in records(found)] == IDS[:-1]
        assert reasons(found) == [Reason.TRUNCATED]


def test_windows_as_long_as_zstd_makes_them(tmp_path: Path):
    data = frame(json_lines(ROWS), window_log=31, enable_long_distance_matching=1)
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 31})
    streamed = compressor.compress(json_lines(ROWS)) + compressor.flush()
    assert streamed[5] >> 3 == 31 - 10, "the frame asks for a window of 2 GiB"
    for packed in (data, streamed):
        assert ids_of(tmp_path, packed, "a.jsonl.zst") == IDS


def test_a_window_beyond_all_memory_is_named(tmp_path: Path):
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 31})
    packed = bytearray(compressor.compress(json_lines(ROWS)) + compressor.flush())
    packed[5] = 31 << 3  # 2 TiB
    (tmp_path / "a.jsonl").write_bytes(packed)
    found = read(SourceSpec(path="a.jsonl"), tmp_path)
    assert [fault.reason for fault in found] == [Reason.WINDOW]  # type: ignore[union-attr]


def test_a_dictionary_that_is_not_in_the_file_is_named(tmp_path: Path):
    lines = [json.dumps({"id": str(n), "text": f"글 {n * 77}"}).encode() for n in range(2000)]
    packed = zstd.compress(json_lines(ROWS), zstd_dict=zstd.train_dict(lines, 4096))
    (tmp_path / "a.jsonl").write_bytes(packed)
    assert reasons(read(SourceSpec(path="a.jsonl"), tmp_path)) == [Reason.DICTIONARY]


def test_the_older_form_of_xz(tmp_path: Path):
    packed = lzma.compress(json_lines(ROWS), format=lzma.FORMAT_ALONE)
    assert ids_of(tmp_path, packed, "a.jsonl.xz") == IDS


def archive_of(kind: str) -> bytes:
    data, out = json_lines(ROWS), io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.jsonl", data)
    elif kind == "tar":
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            member = tarfile.TarInfo("a.jsonl")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def arrow_stream() -> bytes:
    """The form of the cache files of ``datasets``."""
    out = io.BytesIO()
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (archive_of("zip"), "is a zip archive; unpack it"),
        (archive_of("tar"), "is a tar archive; unpack it"),
        (gzip.compress(archive_of("tar"), mtime=0), "compressed by gzip, is a tar archive"),
        (zstd.compress(archive_of("zip")), "compressed by zstd, is a zip archive"),
        (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24), "is a 7z archive"),
        (b"Rar!\x1a\x07\x01\0" + bytes(24), "is a rar archive"),
        (b"\x04\x22\x4d\x18" + bytes(24), "is compressed by lz4; give it uncompressed"),
        (b"PAR1" + bytes(24), "is Parquet; name the format parquet"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
            "is a Git LFS pointer; fetch the file itself",
        ),
        (zlib.compress(json_lines(ROWS)), "is compressed by zlib; give it uncompressed"),
        (
            gzip.compress(gzip.compress(json_lines(ROWS), mtime=0), mtime=0),
            "by gzip, is compressed once more",
        ),
        (zstd.compress(lzma.compress(json_lines(ROWS))), "by zstd, is compressed once more"),
        (arrow_stream(), "is an Arrow stream; convert it"),
        (pickle.dumps(ROWS), "is a pickle; convert it"),
        (b"\n<!DOCTYPE HTML><title>404</title>\n", "is an HTML page; fetch the file itself"),
        (
            gzip.compress(b"<html>\n<body>Sign in", mtime=0),
            "by gzip, is an HTML page; fetch the file",
        ),
        (json_lines(ROWS).decode().encode("utf-16"), "is UTF-16 or UTF-32; give UTF-8"),
        (json_lines(ROWS).decode().encode("utf-16-be"), "is UTF-16 or UTF-32; give UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",  # archives hold the time
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.en", "a.tsv", "a.zip"])
def test_what_is_no_text_is_refused_by_its_name(tmp_path: Path, data: bytes, what: str, name: str):
    (tmp_path / name).write_bytes(data)
    (tmp_path / "a.ko").write_text("가", "utf-8")
    moses = SourceSpec(path=name, target_path="a.ko", format="moses")
    swapped = SourceSpec(path="a.ko", target_path=name, format="moses")
    plain = SourceSpec(path=name)
    for source in (moses, swapped) if name == "a.en" else (plain,):
        with pytest.raises(UserError) as caught:
            check_source(source, sides=PAIR, root=tmp_path, field="languages.ko.parallel")
        line = str(caught.value)
        assert line.startswith(f"languages.ko.parallel: '{tmp_path / name}'")
        assert what in line
        assert "\n" not in line


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_ordinary_files_are_not_refused(tmp_path: Path, compression: str):
    assert ids_of(tmp_path, COMPRESSIONS[compression][1](json_lines(ROWS))) == IDS
    (tmp_path / "a.jsonl").write_bytes(COMPRESSIONS[compression][1](b""))
    check_source(SourceSpec(path="a.jsonl"), sides=DOCUMENT, root=tmp_path, field="f")


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(json_lines(ROWS))
    source = SourceSpec(path="a.jsonl")
    from ccx_ray.corpus.reading.sources import read_shard, source_shards

    (shard,) = source_shards(source, sides=DOCUMENT, root=tmp_path, field="f")
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(UserError, match=r"a\.jsonl: cannot be read \(No such file"):
        list(read_shard(shard, source, sides=DOCUMENT, record_bytes=2**20))
