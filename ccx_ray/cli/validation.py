"""The tests of the estimate in the terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from ccx_ray.frequency.validation.estimated import EVERY_CULTURE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_validation(folder: Path, *, console: "Console | None" = None) -> None:
    """Recall, planted facts and agreement, from the folder of the validation."""
    from rich.console import Console

    console = console or Console()
    recall = _table(
        "recall at the top against an exhaustive lexical scan",
        ["corpus", "culture", "retriever"],
        ["questions", "held", "reachable", "found", "recall", "95 % interval"],
    )
    for row in pq.read_table(folder / "recall.parquet").to_pylist():
        recall.add_row(
            row["corpus"], row["culture"], row["retriever"],
            *(f"{row[name]:,}" for name in ("questions", "holders", "reachable", "found")),
            _share(row["recall"]), _range(row["recall_low"], row["recall_high"]),
        )  # fmt: skip
    console.print(recall, "")
    planted = _table(
        "planted facts: rank correlation of estimated and true frequency",
        ["corpus", "retriever", "judge"],
        ["facts", "correlation"],
    )
    content = json.loads((folder / "validation.json").read_text("utf-8"))
    for row in content["planted"]:
        planted.add_row(
            row["corpus"], row["retriever"], row["judge"],
            str(row["facts"]), _number(row["spearman"]),
        )  # fmt: skip
    console.print(planted, "")
    rows = pq.read_table(folder / "agreement.parquet").to_pylist()
    if rows:
        agreement = _table(
            "agreement of judges",
            ["corpus", "judge", "other"],
            ["pairs", "both", "first only", "second only", "kappa", "95 % interval"],
        )
        for row in (row for row in rows if row["culture"] == EVERY_CULTURE):
            names = ("pairs", "both", "only_judge", "only_other")
            agreement.add_row(
                row["corpus"], row["judge"], row["other"], *(f"{row[name]:,}" for name in names),
                _number(row["kappa"]), _range(row["low"], row["high"], share=False),
            )  # fmt: skip
        console.print(agreement, "")


def print_review(folder: Path, *, console: "Console | None" = None) -> None:
    """What people said of the retrieved documents, from the folder of the review."""
    from rich.console import Console

    table = _table(
        "reviewed by people",
        ["corpus", "culture"],
        ["reviewed", "unclear", "precision", "95 %", "missed", "kappa", "density", "corrected",
         "95 %"],
    )  # fmt: skip
    for row in pq.read_table(folder / "review.parquet").to_pylist():
        table.add_row(
            row["corpus"], row["culture"], f"{row['reviewed']:,}", f"{row['unclear']:,}",
            _share(row["precision"]), _range(row["precision_low"], row["precision_high"]),
            _share(row["omission"]), _number(row["kappa"]), _density(row["density"]),
            _density(row["corrected_density"]),
            f"{_density(row['corrected_low'])} to {_density(row['corrected_high'])}",
        )  # fmt: skip
    (console or Console()).print(table)


def _table(title: str, text: Sequence[str], numbers: Sequence[str]) -> "Table":
    from rich.table import Table

    made = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for name in text:
        made.add_column(name)
    for name in numbers:
        made.add_column(name, justify="right")
    return made


def _share(value: Any) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _density(value: Any) -> str:
    return "–" if value is None else f"{value:.2e}"


def _range(low: Any, high: Any, *, share: bool = True) -> str:
    if low is None or high is None:
        return "–"
    return f"{_share(low)} to {_share(high)}" if share else f"{_number(low)} to {_number(high)}"
