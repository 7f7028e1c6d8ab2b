"""Restart log and failure budget of a training. Plain files, no Ray.

The log says why workers were started again, the budget how often they may be. They lie in the run's
folder, because several processes read them and any may die: the controller that counts failures,
the driver that sees the controller die, and whoever asks afterwards why a trial took so long.

Invariant: an incident is logged before it is decided what follows.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ccx_ray.study.training_spec import TrainingRuntime

RUN_TIME_FOLDER = ".ray"
"""Of a training in progress; a name with a dot is no part of a step's outputs."""
INCIDENTS, GROUPS = "incidents.jsonl", "workers.jsonl"

Kind = Literal["failure", "preemption"]


class RunFailedError(RuntimeError):
    """A training that failed more often than its runtime allows."""


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One reason why the workers had to be started again."""

    time: float
    """Seconds since the epoch."""
    kind: Kind
    cause: str


@dataclass(frozen=True, kw_only=True)
class GroupStart:
    """One start of the workers."""

    time: float
    workers: int
    resumed_from: int
    """Optimizer steps done already."""


def run_time_folder(run_folder: Path) -> Path:
    """The folder of the restart log, of notices, and of Ray Train's own files."""
    return run_folder / RUN_TIME_FOLDER


def read_incidents(run_folder: Path) -> list[Incident]:
    """All incidents of a run, in order, from every attempt."""
    return [Incident(**line) for line in _lines(run_time_folder(run_folder) / INCIDENTS)]


def note_group_start(run_folder: Path, *, workers: int, resumed_from: int) -> None:
    """Log a start of a run's workers."""
    start = GroupStart(time=time.time(), workers=workers, resumed_from=resumed_from)
    _append(run_time_folder(run_folder) / GROUPS, asdict(start))


def read_group_starts(run_folder: Path) -> list[GroupStart]:
    """All starts of a run's workers, in order, from every attempt."""
    return [GroupStart(**line) for line in _lines(run_time_folder(run_folder) / GROUPS)]


@dataclass(frozen=True, kw_only=True)
class FailureBudget:
    """How many failures and preemptions a training may have; goes from driver to controller."""

    run_folder: Path
    failures: int
    preemptions: int
    since: float
    """Incidents before this time are not counted: a training that is started again by hand has a
    whole budget."""

    @classmethod
    def of(cls, runtime: TrainingRuntime, run_folder: Path) -> "FailureBudget":
        """The whole budget of a training that starts now."""
        return cls(
            run_folder=run_folder,
            failures=runtime.max_failures,
            preemptions=runtime.max_preemptions,
            since=time.time(),
        )

    def charge(self, kind: Kind, cause: str) -> bool:
        """Note an incident; whether the training may go on after it."""
        incident = Incident(time=time.time(), kind=kind, cause=cause)
        _append(run_time_folder(self.run_folder) / INCIDENTS, asdict(incident))
        limit = self.failures if kind == "failure" else self.preemptions
        return sum(found.kind == kind for found in self._now()) <= limit

    def exhausted(self, name: str) -> RunFailedError:
        """The error to raise for run ``name`` after ``charge`` said no."""
        last = self._now()[-1]
        limit = self.failures if last.kind == "failure" else self.preemptions
        return RunFailedError(
            f"{name}: training failed for good: {last.cause} (max_{last.kind}s: {limit})"
        )

    def _now(self) -> list[Incident]:
        return [found for found in read_incidents(self.run_folder) if found.time >= self.since]


def _append(path: Path, line: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write, which a kill leaves whole or undone; after a power cut the line before may lack
    # its end, so every line begins with one.
    with path.open("ab", buffering=0) as file:
        file.write(b"\n" + json.dumps(line).encode() + b"\n")
        os.fsync(file.fileno())


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line[-1:] == "}"]
