"""The exposure ledger against counting the segments of the consumed rows one by one."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.packing.exposure import ExposureLedger
from ccx_ray.corpus.packing.stream import Stream
from tests.small_corpus import segments_of, small_corpus

Segment = tuple[int, int, int]
"""Document, start, length."""

ROWS, BATCH, DOCUMENTS = 100, 7, 60
NEVER_SHOWN = 59


def write_stream(
    folder: Path, rows: list[list[Segment]], documents: list[dict[str, str]]
) -> Stream:
    """A stream in two files of row groups of 16; neither epochs nor groups end where steps do."""
    folder.mkdir(parents=True)
    segment = pa.struct([(name, pa.int64()) for name in ("document", "start", "length")])
    names = ("document", "start", "length")
    for file, part in enumerate((rows[:64], rows[64:])):
        segments = [[dict(zip(names, place, strict=True)) for place in row] for row in part]
        ids = pa.array([[0] * 4 for _ in part], pa.list_(pa.int32(), 4))
        table = pa.table({"input_ids": ids, "segments": pa.array(segments, pa.list_(segment))})
        pq.write_table(table, folder / f"rows-{file:05d}.parquet", row_group_size=16)
    table = [{"index": index, "source": "", **row} for index, row in enumerate(documents)]
    pq.write_table(pa.Table.from_pylist(table), folder / "documents.parquet")
    description = {"rows": len(rows), "sequence_length": 4, "seed": 3, "eos_id": 0, "pad_id": 1}
    description |= {"row_group_size": 16, "rows_per_file": 64}
    other: dict[str, object] = {"vocabulary_size": 2, "fingerprint": "by hand", "counts": {}}
    (folder / "stream.json").write_text(json.dumps({**description, **other}), "utf-8")
    return Stream.open(folder)


def random_rows() -> list[list[Segment]]:
    """Documents of up to 3 rows; some come again, also within one row; some rows are padding."""
    random = np.random.default_rng(0)
    pieces: list[Segment] = []
    for document in [*random.permutation(NEVER_SHOWN), *random.integers(0, NEVER_SHOWN, 60)]:
        size = int(np.random.default_rng(document).integers(5, 300))
        cuts = [0, *range(100, size, 100), size]
        pieces += [(int(document), a, b - a) for a, b in pairwise(cuts)]
    rows: list[list[Segment]] = [[] for _ in range(ROWS)]
    for piece, row in zip(pieces, np.sort(random.integers(0, ROWS - 4, len(pieces))), strict=True):
        rows[row].append(piece)
    rows[10].append(rows[10][0])
    return [rows[place] for place in random.permutation(ROWS)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    part = ["monolingual", "english", "target"]
    documents = [
        {"id": f"ko-{index // 3}", "language": "ko", "part": part[index % 3]}
        for index in range(DOCUMENTS)
    ]
    return write_stream(tmp_path_factory.mktemp("exposure") / "stream", random_rows(), documents)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Stream:
    """Korean with bridges: halves of pairs, documents cut over rows, one cut at the end."""
    folder = tmp_path_factory.mktemp("real")
    corpus = small_corpus(project, folder / "corpus", "ko", documents=40, pairs=60)
    return corpus.streams(folder / "streams")["bridge"]


@pytest.fixture(params=["written", "real"])
def stream(request: pytest.FixtureRequest) -> Stream:
    found: Stream = request.getfixturevalue(request.param)
    return found


def count(stream: Stream, step: int) -> tuple[Counter[int], Counter[int]]:
    """Bytes by document after a step, and the lengths of the documents, from ``segments_of``."""
    bytes_of: Counter[int] = Counter()
    for segment in segments_of(stream, 0, step * BATCH).to_pylist():
        bytes_of[segment["document"]] += segment["length"]
    lengths: Counter[int] = Counter()
    for segment in segments_of(stream, 0, stream.rows).to_pylist():
        end = segment["start"] + segment["length"]
        lengths[segment["document"]] = max(lengths[segment["document"]], end)
    return bytes_of, lengths


def steps_of(stream: Stream) -> list[int]:
    """Within the first epoch, at its end, and in two more."""
    epoch = -(-stream.rows // BATCH)
    return [0, 1, 2, epoch // 2, epoch - 1, epoch, epoch + 3, 2 * epoch - 1, 2 * epoch + 5]


def test_consumed_is_what_counting_gives(stream: Stream) -> None:
    ledger = ExposureLedger.open(stream, rows_per_step=BATCH)
    documents = np.arange(stream.documents().num_rows)
    steps = np.array(steps_of(stream))
    exposures = ledger.consumed(documents, steps)
    for place, step in enumerate(steps.tolist()):
        bytes_of, lengths = count(stream, step)
        assert exposures.bytes[:, place].tolist() == [bytes_of[d] for d in documents.tolist()]
        times = [bytes_of[d] / max(1, lengths[d]) for d in documents.tolist()]
        assert exposures.times[:, place].tolist() == pytest.approx(times)
    assert exposures.bytes[:, -1].sum() > 0


def test_the_first_step_is_where_counting_first_finds_it(stream: Stream) -> None:
    ledger = ExposureLedger.open(stream, rows_per_step=BATCH)
    documents = np.arange(stream.documents().num_rows)
    first_step = ledger.consumed(documents, np.array([1])).first_step
    expected = dict.fromkeys(documents.tolist(), -1)
    for segment in reversed(segments_of(stream, 0, stream.rows).to_pylist()):
        expected[segment["document"]] = segment["row"] // BATCH + 1
    assert first_step.tolist() == list(expected.values())
    assert (first_step >= 1).any() and (first_step == -1).any()


def test_a_table_of_all_that_was_consumed(stream: Stream) -> None:
    ledger = ExposureLedger.open(stream, rows_per_step=BATCH)
    names = {row["index"]: row for row in stream.documents().to_pylist()}
    for step in steps_of(stream):
        bytes_of, lengths = count(stream, step)
        rows = ledger.consumed_documents(step).to_pylist()
        assert [row["index"] for row in rows] == sorted(bytes_of)
        for row in rows:
            number = row["index"]
            assert row.pop("times") == pytest.approx(bytes_of[number] / lengths[number])
            assert row == {key: names[number][key] for key in ("index", "id", "language", "part")}


def test_every_document_was_seen_once_at_the_end_of_a_pass(tmp_path: Path) -> None:
    """Also one that is cut over rows, and twice after the second epoch."""
    rows = [[(0, 0, 10), (1, 0, 4)], [(1, 4, 6)], [(2, 0, 3)]]
    documents = [{"id": str(i), "language": "en", "part": "monolingual"} for i in range(3)]
    ledger = ExposureLedger.open(write_stream(tmp_path / "s", rows, documents), rows_per_step=1)
    times = ledger.consumed(np.arange(3), np.arange(7)).times
    assert times[:, 3].tolist() == [1, 1, 1]
    assert times[:, 6].tolist() == [2, 2, 2]
    assert times[1, :4].tolist() == pytest.approx([0, 0.4, 1, 1])


def test_a_document_that_the_end_cuts_is_measured_by_its_longest_showing(tmp_path: Path) -> None:
    """Document 0 stood there whole before; of document 1 only the beginning is known."""
    rows = [[(0, 0, 10)], [(0, 0, 4)], [(1, 0, 5)]]
    documents = [{"id": str(i), "language": "en", "part": "monolingual"} for i in range(2)]
    ledger = ExposureLedger.open(write_stream(tmp_path / "s", rows, documents), rows_per_step=1)
    assert ledger.consumed(np.arange(2), np.array([3])).times.tolist() == [[1.4], [1.0]]


def test_any_order_of_documents_and_steps(written: Stream) -> None:
    ledger = ExposureLedger.open(written, rows_per_step=BATCH)
    every_step = np.arange(40)
    whole = ledger.consumed(np.arange(DOCUMENTS), every_step)
    documents, steps = np.array([5, -1, 0, 5, NEVER_SHOWN]), np.array([31, 2, 2, 17])
    some = ledger.consumed(documents, steps)
    expected = whole.bytes[documents][:, steps]
    expected[1] = 0
    assert np.array_equal(some.bytes, expected)
    assert some.first_step[[1, 4]].tolist() == [-1, -1]
    assert some.times[[1, 4]].sum() == 0
    assert ledger.consumed(np.array([], np.int64), steps).bytes.shape == (0, 4)
    assert ledger.consumed(documents, np.array([], np.int64)).times.shape == (5, 0)
    with pytest.raises(IndexError):
        ledger.consumed(np.array([DOCUMENTS]), steps)


def test_ids_become_numbers_within_their_part(stream: Stream) -> None:
    """The halves of a pair have the same id."""
    ledger = ExposureLedger.open(stream, rows_per_step=BATCH)
    table = stream.documents().to_pylist()
    for part in ("monolingual", "english", "target"):
        rows = [row for row in table if row["part"] == part]
        assert rows
        ids = [row["id"] for row in rows][::-1]
        found = ledger.numbers([*ids, "no such id", ids[0]], part=part).tolist()
        assert found == [*(row["index"] for row in rows[::-1]), -1, rows[-1]["index"]]
    assert ledger.numbers(["ko-0"], part="replay").tolist() == [-1]
    assert ledger.numbers([]).tolist() == []
    with pytest.raises(ValueError, match="'parallel' must be one of"):
        ledger.numbers(["ko-0"], part="parallel")


def test_another_number_of_rows_a_step(written: Stream) -> None:
    """Step 5 of 12 rows ends where step 60 of one row does."""
    documents = np.arange(DOCUMENTS)
    ledgers = {size: ExposureLedger.open(written, rows_per_step=size) for size in (1, 12)}
    one = ledgers[1].consumed(documents, np.array([60, 240]))
    twelve = ledgers[12].consumed(documents, np.array([5, 20]))
    assert np.array_equal(one.bytes, twelve.bytes)
