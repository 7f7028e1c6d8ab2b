"""The summary that a job prints at its end: steps, densities, control, transfer, report, cost."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ccx_ray.cli.terminal import open_console
from ccx_ray.errors import UserError
from ccx_ray.orchestration.progress_table import elapsed
from ccx_ray.tracking.places import default_tracking_uri, without_password
from ccx_ray.training.cost import measured_dollars, measured_hours

DASH = "–"
VERDICT_STYLES = {
    "holds": "bold green",
    "does not hold": "bold white on red",
    "cannot be told": "bold yellow",
    "fires": "bold white on red",
}

if TYPE_CHECKING:
    import pyarrow as pa

    from ccx_ray.corpus.packing.exposure import ExposureLedger
    from ccx_ray.run import StudyRun


def print_outcome(run: "StudyRun") -> None:
    """Print the summary, failures with causes, results, their places, and the cost."""
    console = open_console()
    outcome = run.outcome
    states = list(outcome.states.values())
    counts = ", ".join(
        f"{states.count(state)} {state}"
        for state in ("done", "reused", "failed", "skipped")
        if states.count(state)
    )
    console.print(
        f"\nstudy {run.study.name}: {counts} of {len(states)} steps in {elapsed(run.seconds)}",
        style="bold",
        highlight=False,
    )
    _print_failures(console, run)
    _print_warnings(console, run)
    _print_densities(console, run)
    if "analysis" in outcome.markers:
        print_control(outcome.markers["analysis"]["counts"].get("control"), console)
        print_signatures(outcome.markers["analysis"]["counts"]["signatures"], console)
        _print_transfer(console, run)
        report = run.folders.final(run.graph["analysis"]) / "report.html"
        console.print(
            f"\nreport:  open {shlex.quote(str(report))}", soft_wrap=True, highlight=False
        )
    console.print(
        f"MLflow:  python jobs/ui.py --study {run.study.name} {_tracking_option(run)}",
        soft_wrap=True,
        highlight=False,
    )
    console.print(_cost_line(run), soft_wrap=True, highlight=False)


def _tracking_option(run: "StudyRun") -> str:
    """The options with which ``jobs/ui.py`` finds the runs."""
    storage, uri = run.folders.root.parent, run.tracking_uri
    if uri == default_tracking_uri(storage):
        return f"--storage {shlex.quote(str(storage))}"
    return f"--tracking-uri {shlex.quote(without_password(uri, uri))}"


def _cost_line(run: "StudyRun") -> str:
    """Wall time of this run, and device hours of its trainings and of the reused ones."""
    spent = {"done": 0.0, "reused": 0.0}
    dollars: list[float | None] = []
    for name, marker in run.outcome.markers.items():
        if marker.get("kind") == "training":
            hours = measured_hours(run.folders.final(run.graph[name]))
            spent[run.outcome.states[name]] += hours
            dollars.append(measured_dollars(run.study, name, hours))
    line = f"cost:    {elapsed(run.seconds)} of wall time"
    if not dollars:
        return line
    priced = [price for price in dollars if price is not None]
    device = run.study.runtime.cost.device if priced else "CPU worker"
    line += f"; {sum(spent.values()):,.2f} {device} hours of training"
    line += f", ${sum(priced):,.2f}" if priced else ""
    return f"{line}, of which {spent['done']:,.2f} in this run"


def _print_failures(console: Console, run: "StudyRun") -> None:
    failed = {n: c for n, c in run.outcome.errors.items() if n not in run.outcome.told_last}
    for name, cause in failed.items():
        line = f"failed   {name}: {cause}"
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    skipped = [name for name, state in run.outcome.states.items() if state == "skipped"]
    if skipped:
        line = f"skipped  {', '.join(skipped)}: they need a failed step"
        console.print(line, markup=False, soft_wrap=True)
    if failed:
        console.print(
            f"tracebacks: {run.folders.root / 'errors'}; "
            "give the same command again to run the missing steps",
            soft_wrap=True,
            highlight=False,
        )


def _print_warnings(console: Console, run: "StudyRun") -> None:
    """Files from which little was kept, also those of earlier runs."""
    for name, marker in run.outcome.markers.items():
        for line in marker["counts"].get("warnings", ()) if name.startswith("text-") else ():
            console.print(
                f"warning  {line}", style="yellow", markup=False, highlight=False, soft_wrap=True
            )


def _print_densities(console: Console, run: "StudyRun") -> None:
    found = {
        name.removeprefix("frequency-"): marker["counts"]
        for name, marker in run.outcome.markers.items()
        if name.startswith("frequency-")
    }
    if not found:
        return
    table = Table(title="cultural density (retrieved and judged), and scan of all text", box=None)
    for column in ("culture", "corpus"):
        table.add_column(column)
    for column in ("documents", "questions", "found", "by scan", "occurrences", "density"):
        table.add_column(column, justify="right")
    for culture, corpora in found.items():
        for corpus, counts in corpora.items():
            density = counts["mean_density"]
            names = ("documents", "questions", "questions_found", "questions_found_by_scan")
            table.add_row(
                culture,
                corpus,
                *(f"{counts[name]:,}" for name in names),
                f"{counts['mean_occurrences']:.3f}",
                "–" if density is None else f"{density:.2e}",
            )
    console.print()
    console.print(table)


def print_control(control: Mapping[str, Any] | None, console: Console) -> None:
    """Print the verdicts of a planted world, of this study or of its control study.

    Args:
        control: from the analysis's marker; None if the study has neither.
    """
    if control is None:
        return
    name = control["study"]
    console.print()
    if control["expectations"] is None:
        console.print(
            f"control study {name}: not run in this storage, so its verdicts are missing; run "
            f"python jobs/full_study.py --study {name} with the same storage",
            style="yellow",
            soft_wrap=True,
            highlight=False,
        )
        return
    table = Table(title=f"expectations of control study {name}, in points of accuracy", box=None)
    for column in ("expectation", "expected"):
        table.add_column(column)
    for column in ("estimate", "interval"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    cells = list(dict.fromkeys(row["cell"] for row in control["expectations"]))
    headed: set[str] = set()
    for row in sorted(control["expectations"], key=lambda row: cells.index(row["cell"])):
        if row["cell"] not in headed:  # a heading: a column does not fit into 80 characters
            headed.add(row["cell"])
            table.add_row(Text(row["cell"], style="italic"))
        prefix = "question_" if row["low"] is None else ""
        estimate, low, high = (
            DASH if row.get(key) is None else f"{100 * row[key]:+.1f}"
            for key in ("estimate", f"{prefix}low", f"{prefix}high")
        )
        outcome = Text(row["verdict"], style=VERDICT_STYLES[row["verdict"]])
        interval = DASH if low == DASH else f"{low} to {high}"
        table.add_row(f"  {row['name']}", row["expected"], estimate, interval, outcome)
    console.print(table)
    console.print(control["sentence"], style="bold", highlight=False)


def print_signatures(signatures: Mapping[str, Any], console: Console) -> None:
    """Print the failure signatures that fire, and those that cannot be told with the reason.

    Args:
        signatures: of the analysis's marker.
    """
    console.print()
    console.print(signatures["sentence"], style="bold", soft_wrap=True, highlight=False)
    for row in signatures["rows"]:
        if row["verdict"] != "clear":
            where = f" ({row['cell']})" if row["cell"] else ""
            said = "; ".join(filter(None, (row["looked_at"], row["reason"])))
            verdict = Text(f"{row['verdict']:<15}", style=VERDICT_STYLES[row["verdict"]])
            console.print(verdict.append(f"{row['name']}{where}: {said}", style="not bold default"),
                          soft_wrap=True)  # fmt: skip


def _print_transfer(console: Console, run: "StudyRun") -> None:
    cells = run.outcome.markers["analysis"]["counts"].get("transfer", [])
    few = any(cell["low"] is None for cell in cells)
    what = cells[0]["statistic"] if cells else "transfer"
    over = "questions only" if few else "questions and trainings"
    table = Table(title=f"{what}, in points of accuracy, over {over}", box=None)
    table.add_column("language")
    table.add_column("direction")
    for column in ("bridge", "no-bridge", "transfer", "interval", "p"):
        table.add_column(column, justify="right")
    for cell in cells:
        prefix = "question_" if few else ""
        low, high, p_value = (cell[prefix + name] for name in ("low", "high", "p_value"))
        table.add_row(
            cell["language"],
            cell["direction"],
            f"{cell['bridge']:.1%}",
            f"{cell['nobridge']:.1%}",
            f"{100 * cell['transfer']:+.1f}",
            DASH if low is None else f"{100 * low:+.1f} to {100 * high:+.1f}",
            DASH if p_value is None else f"{p_value:.3f}",
        )
    console.print()
    console.print(table)
    headline = run.outcome.markers["analysis"]["counts"].get("headline", "")
    console.print(headline, style="bold", highlight=False)


def print_consumed(consumed: "pa.Table", *, title: str) -> None:
    """Print by part of the stream the documents and how often they were read."""
    table = Table(title=title, box=None, pad_edge=False)
    table.add_column("part")
    for column in ("documents", "times read, mean", "most"):
        table.add_column(column, justify="right")
    wanted = [("times", "count"), ("times", "mean"), ("times", "max")]
    found = consumed.group_by("part").aggregate(wanted).sort_by("part")
    for row in found.to_pylist():
        shown = (f"{row['times_mean']:.2f}", f"{row['times_max']:.2f}")
        table.add_row(row["part"], f"{row['times_count']:,}", *shown)
    open_console().print(table)


def print_exposures(
    ledger: "ExposureLedger", ids: Sequence[str], checkpoints: Sequence[int]
) -> None:
    """Print how often some documents were read by every checkpoint.

    Raises:
        UserError: the stream has no document with such an id.
    """
    import numpy as np

    from ccx_ray.corpus.tokenizing.tokens import PARTS

    table = Table(title="times read by each checkpoint", box=None, pad_edge=False)
    table.add_column("document")
    table.add_column("part")
    for step in checkpoints:
        table.add_column(f"{step:,}", justify="right")
    table.add_column("first step", justify="right")
    known: set[str] = set()
    for part in PARTS:
        numbers = ledger.numbers(ids, part=part)
        found = ledger.consumed(numbers, np.array(checkpoints))
        for row, id_ in enumerate(ids):
            if numbers[row] >= 0:
                known.add(id_)
                first = int(found.first_step[row])
                shown = [f"{times:.2f}" for times in found.times[row]]
                table.add_row(id_, part, *shown, f"{first:,}" if first > 0 else "never")
    for id_ in ids:
        if id_ not in known:
            raise UserError(f"--documents: {id_!r} is not in this trial's corpus; give other ids")
    open_console().print(table)
