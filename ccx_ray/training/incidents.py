"""What befell a training, and whether its budgets still allow to go on. Plain files, no Ray.

A run's folder remembers it, because those who must know are several processes and any of them may
die: the controller that counts failures, the driver that sees the controller die, and whoever
reads afterwards why a trial took as long as it did.

Invariant: an incident is written down before it is decided what follows from it.
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
    """Where a training in progress keeps its notes, and Ray Train its own files."""
    return run_folder / RUN_TIME_FOLDER


def read_incidents(run_folder: Path) -> list[Incident]:
    """All incidents of a run, in order, from every attempt."""
    return [Incident(**line) for line in _lines(run_time_folder(run_folder) / INCIDENTS)]


def note_group_start(run_folder: Path, *, workers: int, resumed_from: int) -> None:
    """Append to the timeline of a run's workers."""
    start = GroupStart(time=time.time(), workers=workers, resumed_from=resumed_from)
    _append(run_time_folder(run_folder) / GROUPS, asdict(start))


def read_group_starts(run_folder: Path) -> list[GroupStart]:
    """The timeline of a run's workers, from every attempt."""
    return [GroupStart(**line) for line in _lines(run_time_folder(run_folder) / GROUPS)]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may still befall one training; a value that the driver hands to the controller."""

    run_folder: Path
    failures: int
    preemptions: int
    since: float
    """Incidents before this time were another start's: who starts again has a whole budget."""

    @classmethod
    def of(cls, runtime: TrainingRuntime, run_folder: Path) -> "Budget":
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

    def spent(self, name: str) -> RunFailedError:
        """What to raise for the run ``name`` when the last incident was one too many."""
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
