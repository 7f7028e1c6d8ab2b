"""What MLflow is told of the tests of the frequency estimate."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ccx_ray.tracking import flat_metrics

REVIEWED = (
    "reviewed", "precision", "precision_low", "precision_high", "omission", "kappa", "density",
    "corrected_density", "corrected_low", "corrected_high",
)  # fmt: skip


def validation_metrics(folder: Path) -> dict[str, float]:
    """Recall, planted facts and agreement as ``recall/en/ko/bm25`` and the like."""
    metrics: dict[str, float] = {}
    for row in pq.read_table(folder / "recall.parquet").to_pylist():
        if row["recall"] is not None:
            metrics[_name("recall", row, "corpus", "culture", "retriever")] = row["recall"]
    for row in json.loads((folder / "validation.json").read_text("utf-8"))["planted"]:
        if row["spearman"] is not None:
            metrics[_name("planted", row, "corpus", "retriever", "judge")] = row["spearman"]
    for row in pq.read_table(folder / "agreement.parquet").to_pylist():
        if row["kappa"] is not None:
            metrics[_name("kappa", row, "corpus", "culture", "judge", "other")] = row["kappa"]
    return metrics


def review_metrics(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What people said, as ``review/ko/all/precision`` and the like."""
    return flat_metrics(
        {
            f"{row['corpus']}/{row['culture']}": {
                name: row[name] for name in REVIEWED if row[name] is not None
            }
            for row in rows
        },
        "review/",
    )


def _name(kind: str, row: Mapping[str, Any], *keys: str) -> str:
    """MLflow takes letters, digits, blanks and ``_-./:`` in a name."""
    parts = "/".join(str(row[key]) for key in keys).replace("+", " and ")
    return f"{kind}/{''.join(c if c.isalnum() or c in ' _-./:' else '_' for c in parts)}"
