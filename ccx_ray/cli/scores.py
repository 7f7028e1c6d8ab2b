"""The tables at the end of ``jobs/evaluate.py``.

Invariant: every number stands in ``OUT.json`` too.
"""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ccx_ray.study.spec import ScoreType


def print_tables(content: dict[str, Any]) -> None:
    """Accuracies of every file; those of the harness, and RankC, where there are any."""
    console = Console()
    console.print(_accuracies(content["probes"], content["scoring"]))
    harness = [probe for probe in content["probes"] if "lm_evaluation_harness" in probe]
    if harness:
        console.print(_harness(harness))
    if content.get("consistency"):
        console.print(_consistency(content["consistency"]))


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(
            column,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number == 0 and len(columns) > 6,
        )
    return table


def _accuracies(probes: list[dict[str, Any]], scoring: ScoreType) -> Table:
    table = _table(
        f"accuracy by the score {scoring}, with its standard error",
        *("probe file", "questions", "correct", "accuracy", "tied", "ties\nwrong", "ties\nshared"),
        *(["left\nout"] if any(probe["left_out"] for probe in probes) else []),
    )
    for probe in probes:
        cells = [
            Path(probe["file"]).name,
            f"{probe['questions']:,}",
            f"{probe['correct']:,}",
            f"{probe['accuracy']:.1%} ±{100 * probe['standard_error']:.1f}",
            f"{probe['tied']:,}",
            f"{probe['accuracy_ties_wrong']:.1%}",
            f"{probe['accuracy_ties_shared']:.1%}",
            f"{len(probe['left_out']):,}",
        ]
        table.add_row(*cells[: len(table.columns)])
    return table


def _harness(probes: list[dict[str, Any]]) -> Table:
    metrics = list(probes[0]["lm_evaluation_harness"])
    table = _table("as lm-evaluation-harness counts", "task", *metrics)
    for probe in probes:
        values = probe["lm_evaluation_harness"]
        table.add_row(Path(probe["file"]).name, *(f"{values[one]:.4f}" for one in metrics))
    return table


def _consistency(pairs: list[dict[str, Any]]) -> Table:
    weights = [key for key in pairs[0] if key not in ("files", "questions")]
    table = _table("RankC, by its weights", "files", "questions", *weights)
    for pair in pairs:
        names = " and ".join(Path(file).name for file in pair["files"])
        table.add_row(names, f"{pair['questions']:,}", *(f"{pair[one]:.4f}" for one in weights))
    return table
