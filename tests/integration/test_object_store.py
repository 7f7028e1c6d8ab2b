"""Text in an object store: a real S3 server on the loopback, access from the environment alone."""

import gzip
import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.reading.sources import check_source
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import find_files
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import (
    DOCUMENT,
    documents,
    faults,
    json_lines,
    read,
    records,
    wiki_dump,
    wiki_page,
)

HERE = Path("/")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URI of a bucket with JSON Lines, Parquet and a dump."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        store = boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"])
        store.create_bucket(Bucket="corpora")
        lines = json_lines(documents(200))
        middle = lines.index(b"\n", len(lines) // 2) + 1

        def put(key: str, body: bytes) -> None:
            store.put_object(Bucket="corpora", Key=key, Body=body)

        put("en/a.jsonl.gz", gzip.compress(lines[:middle]))
        put("en/b.jsonl.gz", gzip.compress(lines[middle:]))
        put("en/notes/readme.txt", b"no corpus")
        put("plain.jsonl", lines)
        sink = pa.BufferOutputStream()
        rows = documents(100)
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        pq.write_table(pa.table(columns), sink, row_group_size=10)
        put("parquet/part-0.parquet", sink.getvalue().to_pybytes())
        pages = [wiki_page(number, f"T{number}", f"Text {number}.") for number in range(30)]
        put("ko.xml.bz2", wiki_dump(pages, per_stream=3))
        put("broken.jsonl.gz", gzip.compress(lines)[:-50])
        try:
            yield "s3://corpora"
        finally:
            server.stop()


def ids(count: int, prefix: str = "d") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


@pytest.mark.parametrize("path", ["en/*.jsonl.gz", "**/[ab].jsonl.gz", "e*/*.gz"])
def test_compressed_json_lines_by_glob(bucket: str, path: str):
    source = SourceSpec(path=f"{bucket}/{path}")
    check_source(source, sides=DOCUMENT, root=HERE, field="f")
    assert [record.id for record in records(read(source, HERE))] == ids(200)


def test_a_prefix_is_a_folder(bucket: str):
    for path in (f"{bucket}/en/", f"{bucket}/en"):
        names = [file.name for file in find_files(path, root=HERE, field="f")]
        assert names == ["a.jsonl.gz", "b.jsonl.gz", "readme.txt"]


def test_plain_lines_are_read_in_ranges(bucket: str):
    source = SourceSpec(path=f"{bucket}/plain.jsonl")
    found = read(source, HERE, shard_bytes=1500)
    assert [record.id for record in records(found)] == ids(200)


def test_parquet_by_row_groups(bucket: str):
    source = SourceSpec(path=f"{bucket}/parquet/*.parquet")
    check_source(source, sides=DOCUMENT, root=HERE, field="f")
    found = read(source, HERE, shard_bytes=1)
    assert [record.id for record in records(found)] == ids(100)


def test_a_multistream_dump(bucket: str):
    source = SourceSpec(path=f"{bucket}/ko.xml.bz2")
    found = read(source, HERE, shard_bytes=700)
    assert [record.id for record in records(found)] == ids(30, "")


def test_a_truncated_object_is_a_fault(bucket: str):
    found = read(SourceSpec(path=f"{bucket}/broken.jsonl.gz"), HERE)
    assert len(records(found)) > 100
    assert [fault.ends_file for fault in faults(found)] == [True]


def test_objects_travel_and_are_hashed_by_samples(bucket: str):
    (file,) = find_files(f"{bucket}/plain.jsonl", root=HERE, field="f")
    assert file.uri == f"{bucket}/plain.jsonl"
    (other,) = find_files(f"{bucket}/ko.xml.bz2", root=HERE, field="f")
    copy = pickle.loads(pickle.dumps(file))
    assert copy.sha256() == file.sha256()
    assert file.sha256().startswith("sampled:")
    assert file.sha256() != other.sha256()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s3://corpora/nothing.jsonl", "no file matches it or is below it"),
        ("s3://no-such-bucket/a.jsonl", "cannot be read|no file matches"),
        ("s3://corpora/e?/a.jsonl", "cannot be read .*; give the object's URI"),
    ],
)
def test_mistakes_are_one_line(bucket: str, path: str, message: str):
    with pytest.raises(UserError, match=message) as caught:
        find_files(path, root=HERE, field="languages.0.monolingual.0")
    assert str(caught.value).startswith(f"languages.0.monolingual.0: {path!r}")
    assert "\n" not in str(caught.value)


def test_no_access_is_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    from ccx_ray.storage import object_stores

    object_stores._store.cache_clear()
    with pytest.raises(UserError, match="cannot be read") as caught:
        find_files(f"{bucket}/plain.jsonl", root=HERE, field="f")
    object_stores._store.cache_clear()
    assert "\n" not in str(caught.value)
