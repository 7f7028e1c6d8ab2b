"""Terminal tables of the audit, the tests of the frequency estimate, and scores of models.

Invariant: every number is also in a file: of the audit, the validation, or ``OUT.json``.
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from ccx_ray.cli.terminal import open_console
from ccx_ray.corpus.audit.figures import AuditFigures, Verdict
from ccx_ray.frequency.validation.estimated import EVERY_CULTURE

SHOWN_SCRIPTS = 3
DASH = "–"


def _table(
    title: str, text: Iterable[str], numbers: Iterable[str], *last: str, no_wrap: bool = True
) -> Table:
    """A table with columns of words, columns of numbers, and long ones."""
    made = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for name in text:
        made.add_column(name, no_wrap=no_wrap, overflow="fold")
    for name in numbers:
        made.add_column(name, justify="right", overflow="fold")
    for name in last:
        made.add_column(name, overflow="fold")
    return made


def print_audit(
    figures: AuditFigures, judged: Sequence[Verdict], page: Path, console: Console | None = None
) -> None:
    """Print scripts, findings and verdicts; ``page`` is the full audit."""
    console = console or open_console()
    texts = _table(
        "all text", ["corpus"], ["texts", "characters", "forbidden", "not NFC"], "scripts"
    )
    for part in figures.scripts:
        whole = max(1, part.characters)
        shares = [f"{name} {number / whole:.1%}" for name, number in part.scripts.items()]
        counts = (part.texts, part.characters, part.forbidden, part.not_normalized)
        bad = part.forbidden or part.not_normalized
        numbers = (f"{number:,}" for number in counts)
        style = "red" if bad else None
        texts.add_row(part.corpus, *numbers, ", ".join(shares[:SHOWN_SCRIPTS]), style=style)
    console.print(texts, "")
    met = [part for part in figures.contamination if part.is_met]
    questions = _table(
        "questions in the text",
        ["culture", "corpus"],
        ["questions", "exact match", "half of the 8-grams", "any 8-gram"],
    )
    for hits in met:
        counts = (hits.questions, hits.exact, hits.half_overlapping, hits.overlapping)
        questions.add_row(hits.culture, hits.corpus, *(f"{number:,}" for number in counts))
    if met:
        console.print(questions, "")
    apart = list(dict.fromkeys(name for stream in figures.streams for name in stream.apart))
    streams = _table(
        "all rows of all conditions",
        ["stream"],
        [
            *("rows", "token difference", "pairs in bridge", "together"),
            *(f"{name} rows with both" for name in apart),
        ],
    )
    for stream in figures.streams:
        bridge = stream.bridge
        found = (
            bridge.rows, stream.token_difference, bridge.pairs, bridge.together,
            *(condition.rows_with_both_sides_of_a_group for condition in stream.apart.values()),
        )  # fmt: skip
        bad = stream.rows_with_both or stream.differing_rows or not stream.same_halves
        streams.add_row(
            stream.stream, *(f"{number:,}" for number in found), style="red" if bad else None
        )
    if figures.streams:
        console.print(streams, "")
    limits = _table("limits", ["figure"], ["largest", "limit"], "where")
    for verdict in judged:
        figure, limit = (
            f"{value:.2%}" if verdict.is_share else f"{value:,.0f}"
            for value in (verdict.figure, verdict.limit)
        )
        where = verdict.where if verdict.figure and verdict.passed else "; ".join(verdict.crossed)
        limits.add_row(verdict.name, figure, limit, where, style=None if verdict.passed else "red")
    console.print(limits)
    crossed = sum(not verdict.passed for verdict in judged)
    outcome = f"{crossed} of {len(judged)} limits exceeded" if crossed else "no limit exceeded"
    console.print(
        f"\n{outcome}\naudit:   open {shlex.quote(str(page))}", soft_wrap=True, highlight=False
    )


def print_validation(folder: Path) -> None:
    """Recall, planted facts and agreement, from the folder of the validation."""
    console = open_console()
    recall = _table(
        "recall of the top documents, against an exhaustive lexical scan",
        ["corpus", "culture", "retriever"],
        ["questions", "accepted", "reachable", "found", "recall", "95 % interval"],
        no_wrap=False,
    )
    for row in pq.read_table(folder / "recall.parquet").to_pylist():
        recall.add_row(
            *_cells(row, "{}", "corpus", "culture", "retriever"),
            *_cells(row, "{:,}", "questions", "holders", "reachable", "found"),
            *_cells(row, "{:.1%}", "recall"),
            _range(row, "{:.1%}", "recall_low", "recall_high"),
        )
    console.print(recall, "")
    planted = _table(
        "planted facts: rank correlation of estimated and true frequency",
        ["corpus", "retriever", "judge"],
        ["facts", "correlation"],
        no_wrap=False,
    )
    content = json.loads((folder / "validation.json").read_text("utf-8"))
    for row in content["planted"]:
        places = _cells(row, "{}", "corpus", "retriever", "judge", "facts")
        planted.add_row(*places, *_cells(row, "{:.3f}", "spearman"))
    console.print(planted, "")
    rows = pq.read_table(folder / "agreement.parquet").to_pylist()
    if rows:
        agreement = _table(
            "agreement of judges",
            ["corpus", "judge", "other"],
            ["pairs", "both", "first only", "second only", "kappa", "95 % interval"],
            no_wrap=False,
        )
        for row in (row for row in rows if row["culture"] == EVERY_CULTURE):
            agreement.add_row(
                *_cells(row, "{}", "corpus", "judge", "other"),
                *_cells(row, "{:,}", "pairs", "both", "only_judge", "only_other"),
                *_cells(row, "{:.3f}", "kappa"),
                _range(row, "{:.3f}", "low", "high"),
            )
        console.print(agreement, "")


def print_review(folder: Path) -> None:
    """Print the results of human review, from the folder of the review."""
    table = _table(
        "human review",
        ["corpus", "culture"],
        ["reviewed", "unclear", "precision", "95 %", "missed", "kappa", "density", "corrected",
         "95 %"],
        no_wrap=False,
    )  # fmt: skip
    for row in pq.read_table(folder / "review.parquet").to_pylist():
        table.add_row(
            *_cells(row, "{}", "corpus", "culture"),
            *_cells(row, "{:,}", "reviewed", "unclear"),
            *_cells(row, "{:.1%}", "precision"),
            _range(row, "{:.1%}", "precision_low", "precision_high"),
            *_cells(row, "{:.1%}", "omission"),
            *_cells(row, "{:.3f}", "kappa"),
            *_cells(row, "{:.2e}", "density", "corrected_density"),
            " to ".join(_cells(row, "{:.2e}", "corrected_low", "corrected_high")),
        )
    open_console().print(table)


def _cells(row: Mapping[str, Any], shown: str, *columns: str) -> list[str]:
    return [DASH if row[column] is None else shown.format(row[column]) for column in columns]


def _range(row: Mapping[str, Any], shown: str, low: str, high: str) -> str:
    cells = _cells(row, shown, low, high)
    return DASH if DASH in cells else " to ".join(cells)


def print_scores(content: Mapping[str, Any]) -> None:
    """Print the accuracies of every file of ``jobs/evaluate.py``, and harness metrics and RankC if
    there are any."""
    console, probes = open_console(), content["probes"]
    names = ["questions", "correct", "accuracy", "tied", "ties\nwrong", "ties\nshared"]
    names += ["left\nout"] if any(probe["left_out"] for probe in probes) else []
    title = f"accuracy with the score {content['scoring']}, with standard error"
    table = _table(title, ["probe file"], names)
    for probe in probes:
        error = probe["standard_error"]
        cells = [
            Path(probe["file"]).name,
            f"{probe['questions']:,}",
            f"{probe['correct']:,}",
            f"{probe['accuracy']:.1%}" + (f" ±{100 * error:.1f}" if error is not None else ""),
            f"{probe['tied']:,}",
            f"{probe['accuracy_ties_wrong']:.1%}",
            f"{probe['accuracy_ties_shared']:.1%}",
            f"{len(probe['left_out']):,}",
        ]
        table.add_row(*cells[: len(table.columns)])
    console.print(table)
    harness = [probe for probe in probes if "lm_evaluation_harness" in probe]
    if harness:
        metrics = list(harness[0]["lm_evaluation_harness"])
        table = _table("metrics of lm-evaluation-harness", ["task"], metrics, no_wrap=False)
        for probe in harness:
            values = _cells(probe["lm_evaluation_harness"], "{:.4f}", *metrics)
            table.add_row(Path(probe["file"]).name, *values)
        console.print(table)
    if pairs := content.get("consistency"):
        weights = [key for key in pairs[0] if key not in ("files", "questions")]
        names = ["questions", *weights]
        table = _table("RankC, by weighting", ["files"], names, no_wrap=False)
        for pair in pairs:
            files = " and ".join(Path(file).name for file in pair["files"])
            table.add_row(files, f"{pair['questions']:,}", *_cells(pair, "{:.4f}", *weights))
        console.print(table)
