"""The figures of the report that MLflow is told."""

from collections.abc import Mapping
from typing import Any


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
