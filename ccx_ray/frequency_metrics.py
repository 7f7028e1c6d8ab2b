"""What MLflow is told of frequencies and of their tests; what is not known is not told."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ccx_ray.tracking.runs import flat_metrics

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


def analysis_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Of the report's headline: densities and their ratios, and the odds of the transfer model."""
    metrics: dict[str, Any] = {}
    for row in summary["densities"]:
        for name in ("base_density", "target_density", "ratio", "ratio_low", "ratio_high"):
            metrics[f"density/{row['culture']}/{name}"] = row[name]
    for row in summary["transfer_model"]:
        lengths = "lengths held fixed" if row["lengths"] else "frequency alone"
        term = row["frequency"] or {}
        for name in ("odds_ratio", "odds_low", "odds_high", "p_value"):
            key = f"transfer_model/{row['predictor']}/{row['outcome']}/{lengths}/{name}"
            metrics[key] = term.get(name)
    return {name: value for name, value in metrics.items() if value is not None}


def _name(kind: str, row: Mapping[str, Any], *keys: str) -> str:
    """MLflow takes letters, digits, blanks and ``_-./:`` in a name."""
    parts = "/".join(str(row[key]) for key in keys).replace("+", " and ")
    return f"{kind}/{''.join(c if c.isalnum() or c in ' _-./:' else '_' for c in parts)}"
