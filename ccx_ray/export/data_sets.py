"""The Parquet files of an export: scores, curves, order of the data, and what is counted.

Invariants: nothing is computed anew; every file of a data set has the same columns, in the order of
the step that wrote them, and ``data_sets.yaml`` says what each means; no text of a source is in
any of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.analysis.tables import BASE_RUN
from ccx_ray.corpus.packing.stream import ROW_FILES, Stream
from ccx_ray.evaluation.perplexity import SCHEMA as PERPLEXITY
from ccx_ray.evaluation.results import SCHEMA as SCORES
from ccx_ray.export.checkpoints import Checkpoint
from ccx_ray.export.finished import FinishedStudy, Training
from ccx_ray.study.yaml_text import read_yaml
from ccx_ray.training.checkpoints import LOSSES

TRAININGS = pa.schema(
    [
        *((name, pa.string()) for name in ("training", "kind", "language", "condition")),
        ("seed", pa.int64()),
        ("base", pa.string()),
        *((name, pa.int64()) for name in ("steps", "sequences_per_step", "sequence_length",
                                          "parameters", "tokens", "predicted_tokens")),
        ("final_loss", pa.float64()),
        ("updates", pa.int64()),
        *((name, pa.string()) for name in ("stream_language", "stream_fingerprint",
                                           "fingerprint")),
    ]
)  # fmt: skip
FILE = pa.struct([("name", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string())])
CHECKPOINTS = pa.schema(
    [
        ("training", pa.string()),
        ("step", pa.int64()),
        ("bytes", pa.int64()),
        ("files", pa.list_(FILE)),
        *((name, pa.string()) for name in ("place", "uri", "folder")),
    ]
)
CURVES = pa.schema(
    [
        ("training", pa.string()),
        ("step", pa.int64()),
        ("measure", pa.string()),
        ("of", pa.string()),
        ("value", pa.float64()),
        ("standard_error", pa.float64()),
        ("count", pa.int64()),
    ]
)
ORDER = pa.schema([("training", pa.string()), ("step", pa.int64()), ("rows", pa.list_(pa.int64()))])
STEPS_AT_ONCE = 256
"""Optimizer steps whose rows are held in memory."""
OF_A_STEP = (
    ("frequency", "frequency", "questions.parquet", ()),
    ("exposure", "exposure", "exposure.parquet", ()),
    ("planted", "exposure", "planted.parquet", ()),
    ("interventions", "interventions", "interventions.parquet", ("sentences",)),  # are text
    ("truth", "world", "truth.parquet", ()),
)
"""Data set, kind of the steps that it is taken from, their file, and columns that are left out."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One configuration of the export's data set: files with the same columns."""

    name: str
    files: tuple[Path, ...]

    @property
    def pattern(self) -> str:
        """Of its files, from the export's folder."""
        return f"data/{self.name}/*.parquet"

    @property
    def rows(self) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    @property
    def schema(self) -> pa.Schema:
        return pq.read_schema(self.files[0])


@cache
def described() -> Mapping[str, Mapping[str, Any]]:
    """Data set -> ``about`` and ``columns`` (name -> meaning), in the order of the card."""
    text = (resources.files("ccx_ray.export") / "data_sets.yaml").read_text("utf-8")
    content: dict[str, dict[str, Any]] = read_yaml(text)
    return content


def write_data_sets(
    finished: FinishedStudy, checkpoints: Sequence[Checkpoint], bundle: Path
) -> list[DataSet]:
    """Write all data sets that the study has; one that it has nothing of has no files."""
    write_table(
        bundle / "data/trainings/trainings.parquet",
        pa.Table.from_pylist([_training_row(finished, one) for one in finished.trainings],
                             schema=TRAININGS),
    )  # fmt: skip
    rows = [_checkpoint_row(one) for one in checkpoints]
    write_table(
        bundle / "data/checkpoints/checkpoints.parquet",
        pa.Table.from_pylist(rows, schema=CHECKPOINTS),
    )
    curves = pa.Table.from_pylist(list(curve_rows(finished)), schema=CURVES)
    write_table(bundle / "data/curves/curves.parquet", curves)
    numbered: set[str] = set()
    for training in finished.trainings:
        _write_training(training, bundle / "data")
        if training.language not in numbered:
            numbered.add(training.language)
            _write_documents(training, bundle / "data/documents" / f"{training.language}.parquet")
    for name, kind, file, without in OF_A_STEP:
        for step in finished.of_kind(kind):
            if (step.folder / file).is_file():
                table = pq.read_table(step.folder / file).drop_columns(list(without))
                write_table(bundle / "data" / name / f"{step.name}.parquet",
                            table.replace_schema_metadata(None))  # fmt: skip
    found = (
        DataSet(name=name, files=tuple(sorted((bundle / "data" / name).glob("*.parquet"))))
        for name in described()
    )
    return [one for one in found if one.files]


def curve_rows(finished: FinishedStudy) -> Iterator[dict[str, Any]]:
    """The report's accuracies and bits per byte of every training by itself, base's at the step at
    which it was measured; the report does not show further bases."""
    results, last = finished.results, finished.study.base.steps
    seen = set()
    for table, of, measure, error, count in (
        ("accuracies", "probe", "accuracy", "standard_error", "questions"),
        ("proficiencies", "text", "bits_per_byte", "standard_error", "documents"),
    ):
        for row in results[table]:
            is_base = row["condition"] == BASE_RUN
            if not is_base and row["seed"] is None:
                continue  # the mean over the seeds
            trial = f"{row['language']}-{row['condition']}-s{row['seed']}"
            found = {
                "training": BASE_RUN if is_base else trial,
                "step": last if is_base else row["step"],
                "measure": measure,
                "of": row[of],
                "value": row[measure],
                "standard_error": row[error],
                "count": row[count],
            }
            key = tuple(list(found.values())[:4])
            if key not in seen:  # the base's proficiency stands beside each language's
                seen.add(key)
                yield found


def write_table(path: Path, table: pa.Table) -> None:
    """One table as one Parquet file."""
    write_batches(path, table.schema, [table])


def write_batches(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """One Parquet file of tables that come one after another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)


def _write_training(training: Training, data: Path) -> None:
    """Everything that has a file a training."""
    for name, pattern, schema in (
        ("scores", "step-*.parquet", SCORES),
        ("perplexity", "perplexity-*.parquet", PERPLEXITY),
    ):
        files = sorted(training.evaluation.folder.glob(pattern))
        if files:
            tables = (pq.read_table(file, schema=schema) for file in files)
            write_batches(data / name / f"{training.name}.parquet", schema, tables)
    losses = pq.read_table(training.step.folder / LOSSES)
    named = _named(training, losses)
    write_table(data / "losses" / f"{training.name}.parquet", named)
    stream = Stream.open(training.stream)
    write_batches(
        data / "order" / f"{training.name}.parquet", ORDER, _order(training, stream, losses)
    )
    rows = _rows(training, stream)
    first = next(rows)
    write_batches(
        data / "rows" / f"{training.name}.parquet", first.schema, _chained(first, rows)
    )


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


def _chained(first: pa.Table, others: Iterable[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


def _named(training: Training, table: pa.Table) -> pa.Table:
    names = pa.array([training.name] * table.num_rows, pa.string())
    return table.add_column(0, "training", names).replace_schema_metadata(None)


def _write_documents(training: Training, path: Path) -> None:
    """Of all trainings of a language the numbers are the same: of its tokens, then of the replayed
    documents."""

    def named(table: pa.Table) -> pa.Table:
        codes = pa.array([training.language] * table.num_rows, pa.string())
        return table.add_column(0, "stream_language", codes).replace_schema_metadata(None)

    batches = map(named, Stream.open(training.stream).document_batches())
    first = next(batches)
    write_batches(path, first.schema, _chained(first, batches))


def _training_row(finished: FinishedStudy, training: Training) -> dict[str, Any]:
    study, trial, counts = finished.study, training.trial, training.step.counts
    spec = study.trials if trial else study.base
    return {
        "training": training.name,
        "kind": "trial" if trial else "base",
        "language": trial and trial.language,
        "condition": training.condition,
        "seed": training.seed,
        "base": trial and trial.base,
        "steps": spec.steps,
        "sequences_per_step": spec.sequences_per_step,
        "sequence_length": study.sequence_length,
        **{name: counts[name] for name in ("parameters", "tokens", "predicted_tokens", "updates")},
        "final_loss": counts["loss"],
        "stream_language": training.language,
        "stream_fingerprint": Stream.open(training.stream).fingerprint,
        "fingerprint": training.step.marker["fingerprint"],
    }


def _checkpoint_row(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "training": checkpoint.training,
        "step": checkpoint.step,
        "bytes": checkpoint.bytes,
        "files": [{"name": name, **file} for name, file in checkpoint.files.items()],
        "place": checkpoint.place,
        "uri": checkpoint.uri,
        "folder": checkpoint.folder,
    }
