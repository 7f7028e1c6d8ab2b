"""The exposure ledger over a generated stream, and the same answers by reading the stream.

    python benchmarks/exposure_ledger.py [--rows 1000000] [--folder DIR]

Asked is what a study asks: for 100 questions of each of four cultures, 50 retrieved documents each,
what had been consumed at every checkpoint. Naive reading goes through the segments from checkpoint
to checkpoint and sums what concerns the documents: once for each question, or, where all questions
are known beforehand, once for all of them together.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from ccx_ray.corpus.packing.exposure import ExposureLedger, Exposures, Ints
from ccx_ray.corpus.packing.stream import DESCRIPTION, DOCUMENTS, Stream, segments_of

CULTURES, QUESTIONS, RETRIEVED, CHECKPOINTS = 4, 100, 50, 50
ROW_BYTES = 8192
"""2,048 tokens of 4 bytes."""
DOCUMENT_BYTES = 3000
READ_SINGLY = 3
"""Questions for which the stream is read anew; the others would take as long each."""
SEQUENCE_LENGTH = 8
"""Of the ids, which nobody reads here."""
ROW_GROUP_SIZE = 256
ROWS_PER_FILE = 64 * ROW_GROUP_SIZE
SEGMENT = [pa.field(name, pa.int64()) for name in ("document", "start", "length")]


def write_stream(folder: Path, rows: int, random: np.random.Generator) -> None:
    """Documents of random length one after another, rows shuffled."""
    total = rows * ROW_BYTES
    ends = np.cumsum(random.geometric(1 / DOCUMENT_BYTES, int(1.1 * total / DOCUMENT_BYTES)))
    ends = np.append(ends[ends < total], total)
    cuts = np.union1d(ends, np.arange(1, rows + 1) * ROW_BYTES)
    starts = np.concatenate([[0], cuts[:-1]])
    document = np.searchsorted(ends, starts, side="right")
    number = random.permutation(len(ends))
    first = np.concatenate([[0], ends[:-1]])
    fields = (number[document], starts - first[document], cuts - starts)
    offsets = np.searchsorted(starts, np.arange(rows + 1) * ROW_BYTES).astype(np.int32)
    segments = pa.ListArray.from_arrays(
        pa.array(offsets),
        pa.StructArray.from_arrays([pa.array(f) for f in fields], fields=SEGMENT),
    ).take(pa.array(random.permutation(rows)))
    for file, begin in enumerate(range(0, rows, ROWS_PER_FILE)):
        part = segments.slice(begin, ROWS_PER_FILE)
        ids = pa.array(np.zeros(len(part) * SEQUENCE_LENGTH, np.int32))
        input_ids = pa.FixedSizeListArray.from_arrays(ids, SEQUENCE_LENGTH)
        table = pa.table({"input_ids": input_ids, "segments": part})
        path = folder / f"rows-{file:05d}.parquet"
        pq.write_table(table, path, row_group_size=ROW_GROUP_SIZE, compression="zstd")
    index = np.arange(len(ends))
    parts = {"language": "ko", "source": "generated", "part": "monolingual"}
    constants = {name: pa.repeat(value, len(ends)) for name, value in parts.items()}
    ids = pc.binary_join_element_wise("document", pc.cast(index, pa.string()), "-")
    table = pa.table({"index": index, "id": ids, **constants})
    pq.write_table(table, folder / DOCUMENTS, compression="zstd")
    description = {"rows": rows, "sequence_length": SEQUENCE_LENGTH, "seed": 0, "counts": {}}
    description |= {"eos_id": 0, "pad_id": 1, "vocabulary_size": 2, "fingerprint": "generated"}
    (folder / DESCRIPTION).write_text(json.dumps(description), "utf-8")


def answer(ledger: ExposureLedger, asked: list[list[str]], steps: Ints) -> list[Exposures]:
    """Question by question, as an analysis would."""
    return [ledger.consumed(ledger.numbers(ids), steps) for ids in asked]


def read_naively(stream: Stream, documents: Ints, rows: Ints) -> Ints:
    """[documents, checkpoints] bytes, from one reading of the segments."""
    wanted = np.unique(documents)
    consumed = np.zeros((len(wanted), len(rows)), np.int64)
    for checkpoint, (begin, end) in enumerate(zip([0, *rows[:-1]], rows, strict=True)):
        table = segments_of(stream, int(begin), int(end))
        table = table.filter(pc.is_in(table["document"], value_set=pa.array(wanted)))
        place = np.searchsorted(wanted, table["document"].to_numpy())
        np.add.at(consumed[:, checkpoint], place, table["length"].to_numpy())
    return np.cumsum(consumed, axis=1)[np.searchsorted(wanted, documents)]


def compare(folder: Path, rows: int, console: Console) -> None:
    """Write, open, ask, check, print."""
    random = np.random.default_rng(0)
    if not (folder / DESCRIPTION).exists():
        write_stream(folder, rows, random)
    stream = Stream.open(folder)
    batch = max(1, stream.rows // 2000)
    last_step = stream.rows // batch
    steps = np.linspace(last_step / CHECKPOINTS, last_step, CHECKPOINTS).astype(np.int64)
    held = pq.read_metadata(folder / DOCUMENTS).num_rows
    numbers = random.integers(0, held, (CULTURES * QUESTIONS, RETRIEVED))
    asked = [[f"document-{number}" for number in row] for row in numbers.tolist()]

    clock = [time.perf_counter()]
    ledger = ExposureLedger.open(stream, rows_per_step=batch)
    clock.append(time.perf_counter())
    ledger.numbers(["nothing"])
    clock.append(time.perf_counter())
    answers = answer(ledger, asked, steps)
    clock.append(time.perf_counter())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    naive = read_naively(stream, numbers.ravel(), steps * batch)
    clock.append(time.perf_counter())
    assert np.array_equal(naive, np.concatenate([a.bytes for a in answers])), "both must agree"
    for row in numbers[:READ_SINGLY]:
        read_naively(stream, row, steps * batch)
    clock.append(time.perf_counter())

    opening, sorting, answering, reading, singly = np.diff(clock).tolist()
    singly *= len(numbers) / READ_SINGLY
    table = Table(
        title=f"{CULTURES} x {QUESTIONS} questions x {RETRIEVED} documents x {CHECKPOINTS} "
        f"checkpoints; {stream.rows:,} rows, {ledger.segments:,} segments, {held:,} documents"
    )
    for column in ("", "seconds", "one reading / this", "reading singly / this"):
        table.add_column(column, justify="right" if column else "left")
    for name, seconds in (
        ("open the ledger", opening),
        ("sort the ids, once", sorting),
        ("answer all questions, one by one", answering),
        ("all three", opening + sorting + answering),
        ("naive: one reading for all questions", reading),
        (f"naive: a reading for each question (from {READ_SINGLY})", singly),
    ):
        ratios = (f"{other / seconds:,.1f} x" for other in (reading, singly))
        table.add_row(name, f"{seconds:.2f}", *ratios)
    console.print(table)
    console.print(f"the ledger: {ledger.size / 1e6:.0f} MB; peak until then {peak:.2f} GB")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keep the stream here and use it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        compare(folder, arguments.rows, Console(width=110))
    return 0


if __name__ == "__main__":
    sys.exit(main())
