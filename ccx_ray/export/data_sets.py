"""The Parquet files of an export: scores, curves, order of the data, and what is counted.

Invariants: nothing is computed anew; every file of a data set has the same columns, in the order of
the step that wrote them, and ``data_sets.yaml`` says what each means; no text of a source is in
any of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.analysis.tables import BASE_RUN
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.export.checkpoints import Checkpoint
from ccx_ray.export.finished import FinishedStudy, Training
from ccx_ray.export.training_data import write_documents, write_table, write_training
from ccx_ray.study.yaml_text import read_yaml

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
        """Glob of its files, from the export's folder."""
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
        write_training(training, bundle / "data")
        if training.language not in numbered:
            numbered.add(training.language)
            write_documents(training, bundle / "data/documents" / f"{training.language}.parquet")
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
