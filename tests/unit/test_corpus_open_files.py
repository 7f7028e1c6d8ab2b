"""How many files a reader of a stream and a packing task open, and keep open."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.packing.stream import OPEN_FILES, Stream, read_batches
from ccx_ray.corpus.parts import write_arrow_part
from ccx_ray.corpus.tokenizing import tokens
from ccx_ray.corpus.tokenizing.tokens import TokenCorpus
from tests.training_runs import write_stream

FILES, ROWS, PER_FILE = 300, 300 * 4 - 1, 4
PARTS, DOCUMENTS = 300, 3


@contextmanager
def file_limit(more: int) -> Iterator[None]:
    """Descriptors beyond those that are open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def in_one_file(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return Stream.open(write_stream(tmp_path_factory.mktemp("one") / "stream", rows=ROWS))


@pytest.fixture(scope="module")
def stream(in_one_file: Stream, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """The same rows in 300 files, each of two row groups."""
    folder = tmp_path_factory.mktemp("many")
    table = pq.read_table(in_one_file.folder / "rows-00000.parquet")
    for number in range(FILES):
        part = table.slice(number * PER_FILE, PER_FILE)
        pq.write_table(part, folder / f"rows-{number:05d}.parquet", row_group_size=2)
    description = json.loads((in_one_file.folder / "stream.json").read_text("utf-8"))
    description |= {"row_group_size": 2, "rows_per_file": PER_FILE}
    (folder / "stream.json").write_text(json.dumps(description), "utf-8")
    return Stream.open(folder)


def test_a_stream_of_many_files_needs_few_descriptors(stream: Stream, in_one_file: Stream) -> None:
    order = np.random.default_rng(0).permutation(ROWS)
    with file_limit(OPEN_FILES + 8):
        assert np.array_equal(stream.read(order), in_one_file.read(order))
        assert stream.segments(order).num_rows == 0


def test_a_reader_opens_no_file_before_it_needs_it(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def parquet_file(path: Path) -> pq.ParquetFile:
        opened.append(path)
        return original(path)

    original = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", parquet_file)
    batches = read_batches(
        Stream.open(stream.folder),
        first_row=401,
        rows_per_step=3,
        rank=0,
        world_size=1,
        reader="direct",
    )
    next(batches)
    assert [path.name for path in opened] == ["rows-00100.parquet"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    """900 documents in 300 parts; document n is the id n, n % 5 times."""
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "documents").mkdir()
    for part in range(PARTS):
        numbers = range(part * DOCUMENTS, (part + 1) * DOCUMENTS)
        ids = pa.array([[n] * (n % 5) for n in numbers], pa.list_(pa.int32()))
        names = pa.array([str(n) for n in numbers])
        write_arrow_part(
            folder / "documents", part, pa.table({"id": names, "source": names, "input_ids": ids})
        )
    return TokenCorpus.open(folder)


def test_a_packing_task_opens_the_parts_that_it_needs(
    corpus: TokenCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def open_part(path: Path) -> pa.Table:
        opened.append(path)
        return original(path)

    original = tokens.map_arrow
    monkeypatch.setattr(tokens, "map_arrow", open_part)
    excerpt = corpus.read(np.array([899, 2, 301, 302]), np.zeros(900, np.uint16))
    assert excerpt.tokens.tolist() == [2] * 2 + [301] + [302] * 2 + [899] * 4
    assert len(opened) == 3
