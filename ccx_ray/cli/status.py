"""``jobs/status.py``: show the progress of a study; stop, resume or rerun it."""

import difflib
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ccx_ray.cli.command import run_steps
from ccx_ray.cli.terminal import open_console
from ccx_ray.errors import UserError
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress_table import StepLine, elapsed, shortened, study_table
from ccx_ray.orchestration.provenance import HIDDEN
from ccx_ray.orchestration.record import RUN, request_stop, seconds_since
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.status import StudyStatus, read_run, read_status, recorded_study
from ccx_ray.storage.publishing import storage_folder
from ccx_ray.study.loading import PROJECT_ROOT, load_study, shipped_studies
from ccx_ray.study.spec import RuntimeSpec, StudySpec

WATCH_SECONDS = 2.0
STOP_SECONDS = 60.0
"""Longest time for a driver to end; saving takes up to 10 s and MLflow up to 3 s."""
STOP_POLL_SECONDS = 0.2
SHOWN_FAILURES = 3
"""Failures shown with --watch."""
STYLES = {"complete": "green", "failed": "red", "killed": "red", "stopped": "yellow"}


def find_study(name_or_file: str, storage: str | None) -> Path:
    """The folder of a study's results; the study file is not needed.

    Raises:
        UserError: there is none in the storage.
    """
    name, default = name_or_file, RuntimeSpec().storage
    if name in shipped_studies() or name.endswith((".yaml", ".yml")):
        study, _ = load_study(name_or_file)
        name, default = study.name, study.runtime.storage
    elif not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise UserError(
            f"--study: {name_or_file!r} is neither the name of a study (lower-case letters, "
            "digits, - and _) nor an existing .yaml file"
        )
    folder = storage_folder(storage or default) / name
    if not folder.is_dir():
        known = sorted(path.parent.name for path in folder.parent.glob(f"*/{RUN}"))
        empty = "it is empty" if folder.parent.is_dir() else "that folder does not exist"
        near = _near(name, known) or (f"it has {', '.join(known)}" if known else empty)
        raise UserError(f"--study: {str(folder.parent)!r} has no study {name!r}; {near}")
    return folder


def show(folder: Path, *, as_json: bool, watch: bool) -> None:
    """Print the progress of a study, with ``watch`` until its driver ends."""
    console = open_console()
    status = read_status(folder)
    if as_json:
        for shown in _watched(status, folder) if watch else [status]:
            print(shown.as_json(), flush=True)
    elif not watch or status.state != "running":
        _print(console, page(status, console.width))
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for shown in _watched(status, folder):
                width, height = console.size
                live.update(watched_page(shown, width, height - 1), refresh=True)
    else:
        said = None
        for shown in _watched(status, folder):
            states = [step.state for step in shown.steps]
            if states != said:
                _print(console, page(shown, console.width))
            said = states


def _watched(status: StudyStatus, folder: Path) -> Iterator[StudyStatus]:
    yield status
    while status.state == "running":
        time.sleep(WATCH_SECONDS)
        status = read_status(folder)
        yield status


def _print(console: Console, parts: Sequence[RenderableType]) -> None:
    for part in parts:
        # Lines of words, paths among them, are never broken; tables fit by themselves.
        console.print(part, soft_wrap=isinstance(part, Text), highlight=False)


def stop(folder: Path) -> None:
    """Request the end of the study's driver, and wait for it."""
    status = read_status(folder)
    if status.state != "running":
        raise UserError(
            f"--stop: no driver of study {status.study!r} is running ({_ended(status)}), so there "
            "is nothing to stop"
        )
    request_stop(folder)
    deadline = time.monotonic() + STOP_SECONDS
    while (status := read_status(folder)).state == "running":
        if time.monotonic() > deadline:
            raise UserError(
                f"--stop: the driver (process {status.process} on {status.host}) did not end "
                f"within {STOP_SECONDS:.0f} s; end the process there"
            )
        time.sleep(STOP_POLL_SECONDS)
    _print(open_console(), [Text(f"study {status.study}: {_ended(status)}"), *_commands(status)])


def resume(folder: Path, tracking_uri: str | None, rerun: Sequence[str] = ()) -> int:
    """Run the unfinished steps of the last run, in this process.

    Args:
        rerun: trials, steps or kinds of steps to compute again instead.
    """
    run, _ = read_run(folder)
    study = recorded_study(folder, run)
    if folder.name != study.name:
        raise UserError(f"{folder}: contains study {study.name!r}; rename the folder to that")
    changes = {"storage": str(folder.parent), "tracking_uri": tracking_uri}
    runtime = {key: value for key, value in changes.items() if value is not None}
    study = study.model_copy(update={"runtime": study.runtime.model_copy(update=runtime)})
    _check_credentials(study)
    root = PROJECT_ROOT if run["root"] is None else Path(run["root"])
    if not root.is_dir():
        raise UserError(
            f"{folder}: the study's data is below {str(root)!r}, which does not exist on this "
            "machine; run the command on a machine that has it"
        )
    names = [name for asked in rerun for name in steps_named(run, asked)]

    def targets(graph: Graph, folders: StepFolders) -> list[Step]:
        from ccx_ray.run import with_analysis_when_possible

        if names:
            return with_analysis_when_possible(graph, folders, names)
        return [graph[name] for name in run["targets"]]

    return run_steps(study, root, targets, rerun=names)


def steps_named(run: dict[str, Any], asked: str) -> list[str]:
    """The steps with the name of a step, a trial or a kind of steps."""
    kinds = {step["name"]: step["kind"] for step in run["steps"]}
    for name in (asked, f"trial-{asked}"):
        if name in kinds:
            return [name]
    if asked in kinds.values():
        return [name for name, kind in kinds.items() if kind == asked]
    known = [*kinds, *(name.removeprefix("trial-") for name in kinds), *kinds.values()]
    near = _near(asked, known) or f"the kinds are {', '.join(dict.fromkeys(kinds.values()))}"
    raise UserError(f"--rerun: {asked!r} is not a trial, step or kind of steps; {near}")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, dict.fromkeys(known), n=3)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _check_credentials(study: StudySpec) -> None:
    runtime = study.runtime
    if HIDDEN in (runtime.tracking_uri or ""):
        raise UserError(
            f"--tracking-uri: {runtime.tracking_uri!r} had a credential, which is not stored; give "
            "the complete URI again"
        )
    for field, value in (
        ("checkpoint_storage", runtime.checkpoint_storage),
        ("judge.url", runtime.judge.url),
    ):
        if f"://{HIDDEN}" in (value or ""):
            raise UserError(
                f"runtime.{field}: {value!r} had a credential, which is not stored; give the "
                "study's own command again"
            )


def page(status: StudyStatus, width: int) -> list[RenderableType]:
    """The full status, for a terminal of any height."""
    parts: list[RenderableType] = [*_head(status), Text()]
    parts.append(study_table(_counted(status), _lines(status), width=width, height=None))
    begun = [found for found in status.trainings if found.sign_of_life]
    if begun:
        table = Table(box=None, pad_edge=False, collapse_padding=True)
        table.add_column("training", no_wrap=True)
        for column in ("step", "loss", "tokens/s", "updated", "scored", "waiting"):
            table.add_column(column, justify="right")
        table.add_column("", no_wrap=True)
        for found in begun:
            ago = seconds_since(found.sign_of_life or 0.0)
            table.add_row(
                shortened(found.name, 24),
                f"{found.step:,}/{found.steps:,}",
                "" if found.loss is None else f"{found.loss:.3f}",
                "" if found.tokens_per_second is None else f"{found.tokens_per_second:,.0f}",
                f"{elapsed(ago)} ago" if found.state == "running" else "",
                f"{found.scored}/{found.checkpoints}",
                str(found.waiting or ""),
                found.state,
            )
        parts += [Text(), table]
    return [*parts, *_failures(status, len(status.failures)), Text(), *_foot(status)]


def watched_page(status: StudyStatus, width: int, height: int) -> Group:
    """The part of the status that fits a screen."""
    head, foot = _head(status), [*_failures(status, SHOWN_FAILURES), *_foot(status)]
    for line in (*head, *foot):
        line.no_wrap, line.overflow = True, "ellipsis"
    room = height - len(head) - len(foot)
    table = study_table(_counted(status), _lines(status), width=width, height=room)
    return Group(*head, table, *foot)


def _head(status: StudyStatus) -> list[Text]:
    line = Text(f"study {status.study}: ", style="bold")
    if status.state == "running":
        age = seconds_since(status.heartbeat)
        where = f"process {status.process} on {status.host}"
        line.append(
            f"running for {elapsed(seconds_since(status.begun))}, heartbeat {elapsed(age)} ago "
            f"({where})"
        )
    else:
        line.append(_ended(status), style=STYLES.get(status.state, ""))
    return [line, *([Text(status.cause, style="red")] if status.cause else [])]


def _ended(status: StudyStatus) -> str:
    when = status.ended or f"after its last heartbeat, {status.heartbeat}"
    return f"{status.state} {when}"


def _counted(status: StudyStatus) -> str:
    done = sum(step.state == "done" for step in status.steps)
    left = ""
    if status.seconds_left is not None:
        left = f", about {elapsed(status.seconds_left)} left"
        if status.seconds_unknown_of:
            left += f" and {', '.join(status.seconds_unknown_of)}"
    return f"{done} of {len(status.steps)} steps done{left}"


def _lines(status: StudyStatus) -> list[StepLine]:
    return [
        StepLine(name=step.name, kind=step.kind, state=step.state, reading=step.reading)
        for step in status.steps
    ]


def _failures(status: StudyStatus, most: int) -> list[Text]:
    lines: list[Text] = []
    for failure in status.failures[:most]:
        lines.append(Text(f"failed   {failure.step}: {failure.cause}", style="red"))
        lines.append(Text(f"         traceback: {failure.traceback}"))
    if len(status.failures) > most:
        lines.append(Text(f"         and {len(status.failures) - most} more", style="red"))
    return lines


def _foot(status: StudyStatus) -> list[Text]:
    return [Text(cost_line(status)), *_commands(status)]


def cost_line(status: StudyStatus) -> str:
    """Measured device hours and dollars, and the planned ones of the rest."""
    cost = status.cost
    spent = f"{cost.device_hours:,.2f} {cost.device} hours"
    spent += "" if cost.dollars is None else f", ${cost.dollars:,.2f}"
    left = ""
    if cost.planned_device_hours_left and cost.dollars is not None:
        left = f"; planned for the rest: {cost.planned_device_hours_left:,.2f}, "
        left += f"${cost.planned_dollars_left:,.2f}"
    return f"cost:    {spent} of training{left}"


def _commands(status: StudyStatus) -> list[Text]:
    """Commands for the next action."""
    folder = Path(status.folder)
    here = ["python", "jobs/status.py", "--study", status.study, "--storage", str(folder.parent)]
    if status.state == "running":
        return [Text(f"stop:    {shlex.join([*here, '--stop'])}")]
    if status.state != "complete":
        began = shlex.join(["python", f"jobs/{status.command[0]}", *status.command[1:]])
        return [Text(f"resume:  {shlex.join([*here, '--resume'])}"), Text(f"or:      {began}")]
    reports = [s.folder for s in status.steps if s.kind == "analysis" and s.state == "done"]
    return [Text(f"report:  open {shlex.quote(str(folder / name / 'report.html'))}")
            for name in reports]  # fmt: skip
