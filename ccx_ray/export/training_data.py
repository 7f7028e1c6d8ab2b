"""The data sets of one training: scores, perplexities, losses, and the order of its data.

The order needs no tokens: which rows each step consumed, which bytes of which documents each row
holds, and what the documents' numbers mean.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.packing.stream import ROW_FILES, Stream
from ccx_ray.evaluation.perplexity import SCHEMA as PERPLEXITY
from ccx_ray.evaluation.results import SCHEMA as SCORES
from ccx_ray.export.finished import Training
from ccx_ray.training.checkpoints import LOSSES

ORDER = pa.schema([("training", pa.string()), ("step", pa.int64()), ("rows", pa.list_(pa.int64()))])
STEPS_AT_ONCE = 256
"""Number of optimizer steps whose rows are in memory at once."""


def write_table(path: Path, table: pa.Table) -> None:
    """One table as one Parquet file."""
    write_tables(path, [table])


def write_tables(path: Path, tables: Iterable[pa.Table]) -> None:
    """One Parquet file of one or more tables, one after another, with the columns of the first."""
    tables = iter(tables)
    first = next(tables)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in chain([first], tables):
            writer.write_table(table)


def write_training(training: Training, data: Path) -> None:
    """Everything that has a file a training."""
    for name, pattern, schema in (
        ("scores", "step-*.parquet", SCORES),
        ("perplexity", "perplexity-*.parquet", PERPLEXITY),
    ):
        files = sorted(training.evaluation.folder.glob(pattern))
        if files:
            tables = (pq.read_table(file, schema=schema) for file in files)
            write_tables(data / name / f"{training.name}.parquet", tables)
    losses = pq.read_table(training.step.folder / LOSSES)
    named = _named(training, losses)
    write_table(data / "losses" / f"{training.name}.parquet", named)
    stream = Stream.open(training.stream)
    write_tables(data / "order" / f"{training.name}.parquet", _order(training, stream, losses))
    write_tables(data / "rows" / f"{training.name}.parquet", _rows(training, stream))


def _order(training: Training, stream: Stream, losses: pa.Table) -> Iterator[pa.Table]:
    """The rows of every step; epochs after the first are permutations of the stream's rows."""
    for start in range(0, losses.num_rows, STEPS_AT_ONCE):
        part = losses.select(["step", "first_row", "last_row"]).slice(start, STEPS_AT_ONCE)
        steps = part.to_pylist()
        rows = [stream.physical_rows(one["first_row"], one["last_row"]) for one in steps]
        columns = {
            "training": [training.name] * len(steps),
            "step": part["step"],
            "rows": pa.array(rows, pa.list_(pa.int64())),
        }
        yield pa.table(columns, schema=ORDER)


def _rows(training: Training, stream: Stream) -> Iterator[pa.Table]:
    """The segments of every row, a row group at a time: the tokens are not read."""
    first = 0
    for path in sorted(stream.folder.glob(ROW_FILES)):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["segments"], batch_size=2**16):
                numbers = pa.array(range(first, first + batch.num_rows), pa.int64())
                first += batch.num_rows
                table = pa.table({"row": numbers, "segments": batch["segments"]})
                yield _named(training, table)


def _named(training: Training, table: pa.Table) -> pa.Table:
    names = pa.array([training.name] * table.num_rows, pa.string())
    return table.add_column(0, "training", names).replace_schema_metadata(None)


def write_documents(training: Training, path: Path) -> None:
    """Of all trainings of a language the numbers are the same: of its tokens, then of the replayed
    documents."""

    def named(table: pa.Table) -> pa.Table:
        codes = pa.array([training.language] * table.num_rows, pa.string())
        return table.add_column(0, "stream_language", codes).replace_schema_metadata(None)

    write_tables(path, map(named, Stream.open(training.stream).document_batches()))
