"""``--dry-run``: steps, FLOPs, device hours, cost, and memory per worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ccx_ray.cli.power import print_power
from ccx_ray.cli.terminal import open_console
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.storage.hashing import KnownHashes
from ccx_ray.storage.publishing import storage_folder
from ccx_ray.study.input_identity import INPUT_HASHES, InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study_graph import read_reruns, study_graph
from ccx_ray.training.cost import TrainingCost, planned_cost
from ccx_ray.training.memory import (
    GIB,
    STAGES,
    USABLE_SHARE,
    NoEstimateError,
    check_memory,
    estimate_memory,
    workload,
)
from ccx_ray.training.model import check_architecture
from ccx_ray.training.size import model_size

FINGERPRINT_WIDTH = 100
"""Narrowest terminal in which they are shown; names and numbers need 80 characters."""


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One line of ``--dry-run``; FLOPs and hours are zero for steps without training."""

    step: Step
    done: bool
    cost: TrainingCost


def plan_study(
    study: StudySpec, graph: Graph, folders: StepFolders, *, flops_per_token: float
) -> list[PlannedStep]:
    """Every step of the graph with its planned cost.

    Args:
        flops_per_token: of the study's model, from ``training/size.py``.
    """
    return [
        PlannedStep(
            step=step,
            done=folders.is_done(step),
            cost=planned_cost(study, step.name, flops_per_token)
            if step.kind == "training"
            else TrainingCost(),
        )
        for step in graph.steps.values()
    ]


def print_dry_run(study: StudySpec, root: Path) -> None:
    """Print the plan of a study, including files that are still missing.

    Raises:
        UserError: the model cannot be built, or cannot fit the GPUs; the plan is printed before.
    """
    check_architecture(study.model)
    folders = StepFolders(storage_folder(study.runtime.storage) / study.name)
    known = KnownHashes(folders.root / INPUT_HASHES)
    inputs = InputFiles(root, allow_missing=True, known=known)
    graph = study_graph(study, inputs, read_reruns(folders.root), folders.root)
    size = model_size(study.model, study.tokenizer.vocabulary_size)
    per_token = size.flops_per_token(study.sequence_length)
    plan = plan_study(study, graph, folders, flops_per_token=per_token)
    console = open_console()
    _print_steps(console, study, plan)
    _print_memory(console, study)
    print_power(console, study, root)
    missing = sorted(set(inputs.missing))
    if missing:
        console.print(
            f"\nMissing files ({len(missing)}), to be supplied first:",
            style="bold",
        )
    for line in missing:
        console.print(f"  {line}", highlight=False)
    check_memory(study)


def _print_steps(console: Console, study: StudySpec, plan: Sequence[PlannedStep]) -> None:
    cost = study.runtime.cost
    table = Table(title=f"study {study.name}: {len(plan)} steps", box=None, pad_edge=False)
    has_room = console.width >= FINGERPRINT_WIDTH
    table.add_column("step", no_wrap=True, overflow="fold")
    for column in (*(["fingerprint"] if has_room else []), "state"):
        table.add_column(column, no_wrap=True)
    for column in ("tokens", "FLOPs", f"{cost.device} hours", "cost, $"):
        table.add_column(column, justify="right")
    for item in plan:
        state = "done" if item.done else "to do"
        numbers = _numbers([item]) if item.cost.tokens else ()
        fingerprint = [item.step.fingerprint] if has_room else []
        table.add_row(item.step.name, *fingerprint, state, *numbers)
    left = [item for item in plan if not item.done]
    table.add_section()
    state = f"{len(left)} of {len(plan)}"
    blank = [""] if has_room else []
    table.add_row("still to do", *blank, state, *_numbers(left), style="bold")
    console.print(table)
    parameters = model_size(study.model, study.tokenizer.vocabulary_size).parameters
    console.print(
        f"\n{parameters:,} parameters; device hours at {cost.model_flops_utilization:.0%} of "
        f"{cost.peak_tflops:g} TFLOP/s, ${cost.dollars_per_device_hour:g} per hour, without "
        "evaluations.",
        highlight=False,
    )


def _numbers(steps: Sequence[PlannedStep]) -> tuple[str, ...]:
    """Tokens, FLOPs, device hours and dollars of some steps together."""
    return (
        f"{sum(step.cost.tokens for step in steps):,}",
        f"{sum(step.cost.flops for step in steps):.2e}",
        f"{sum(step.cost.device_hours for step in steps):,.2f}",
        f"{sum(step.cost.dollars for step in steps):,.2f}",
    )


def _print_memory(console: Console, study: StudySpec) -> None:
    """Print the estimates of base and trials at every ZeRO stage; the chosen one is marked."""
    room = study.runtime.cost.memory_gib * USABLE_SHARE
    table = Table(title="estimated memory of one worker, GiB", box=None, pad_edge=False)
    table.add_column("training")
    table.add_column("workers", justify="right")
    for stage in STAGES:
        table.add_column(f"ZeRO {stage}", justify="right")
    table.add_column("largest part at the chosen stage")
    for part in ("base", "trials"):
        work = workload(study, part)
        try:
            estimates = [estimate_memory(work, zero_stage=stage) for stage in STAGES]
        except NoEstimateError as reason:
            table.add_row(part, str(work.workers), *("?" for _ in STAGES), str(reason))
            continue
        chosen = estimates[work.runtime.zero_stage]
        cells = [f"{item.total / GIB:,.1f}" + "*" * (item is chosen) for item in estimates]
        largest = f"{chosen.largest}, {chosen.terms[chosen.largest] / GIB:,.1f}"
        table.add_row(part, str(work.workers), *cells, largest)
    console.print()
    console.print(table)
    console.print(
        f"* the study's stage; {room:g} of {study.runtime.cost.memory_gib:g} GiB of "
        f"{study.runtime.cost.device} are usable. On CPUs nothing is refused.",
        highlight=False,
    )
