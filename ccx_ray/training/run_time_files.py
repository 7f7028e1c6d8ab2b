"""Files that the processes of a training leave for each other in ``.ray`` of the run's folder.

Ray Train's controller and the driver ask for a state, the workers read that between two steps; the
log of restarts says why workers were started again, and the failure budget how often they may be.
They are files, because any of these processes may die. Plain: no Ray.

Invariants: an incident is logged before it is decided what follows; one group of workers writes
into a run's folder. A new group leaves its name there first, and an older one that finds another
name ends at once: its controller is dead, or could not reach it to end it.
"""

import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ccx_ray.storage.publishing import publish_bytes, publish_json
from ccx_ray.study.training_spec import TrainingRuntime

RUN_TIME_FOLDER = ".ray"
"""A name with a dot is no part of a step's outputs."""
INCIDENTS, GROUPS = "incidents.jsonl", "workers.jsonl"
GROUP, SAVE_REQUEST = "group.json", "save-request"
LOOK_SECONDS = 0.5
"""How often rank 0 looks: a network file system is asked, and small models step in milliseconds."""

Kind = Literal["failure", "preemption"]


class RunFailedError(RuntimeError):
    """A training that failed more often than its runtime allows."""


def run_time_folder(run_folder: Path) -> Path:
    """The folder of these files and of Ray Train's own."""
    return run_folder / RUN_TIME_FOLDER


def log_restart(run_folder: Path, name: str, **line: Any) -> None:
    """Append a line to ``INCIDENTS`` (kind, cause) or ``GROUPS`` (workers, resumed_from)."""
    path = run_time_folder(run_folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write, which a kill leaves whole or undone; after a power cut the line before may lack
    # its end, so every line begins with one.
    with path.open("ab", buffering=0) as file:
        file.write(b"\n" + json.dumps({"time": time.time(), **line}).encode() + b"\n")
        os.fsync(file.fileno())


def read_restarts(run_folder: Path, name: str) -> list[dict[str, Any]]:
    """The whole lines of ``INCIDENTS`` or ``GROUPS``, in order, from every attempt."""
    path = run_time_folder(run_folder) / name
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


class FailureBudget:
    """How many failures and preemptions a training may have; goes from driver to controller.

    A training that is started again by hand has a whole budget.
    """

    def __init__(self, runtime: TrainingRuntime, run_folder: Path) -> None:
        self.run_folder = run_folder
        self._limits = {"failure": runtime.max_failures, "preemption": runtime.max_preemptions}
        self._since = time.time()

    def charge(self, kind: Kind, cause: str) -> bool:
        """Note an incident; whether the training may go on after it."""
        log_restart(self.run_folder, INCIDENTS, kind=kind, cause=cause)
        return [found["kind"] for found in self._incidents()].count(kind) <= self._limits[kind]

    def exhausted(self, name: str) -> RunFailedError:
        """The error to raise for run ``name`` after ``charge`` said no."""
        last = self._incidents()[-1]
        limit = f"max_{last['kind']}s: {self._limits[last['kind']]}"
        return RunFailedError(f"{name}: training failed for good: {last['cause']} ({limit})")

    def _incidents(self) -> list[dict[str, Any]]:
        incidents = read_restarts(self.run_folder, INCIDENTS)
        return [found for found in incidents if found["time"] >= self._since]


def request_save(run_folder: Path) -> None:
    """Ask the running group for a state to resume from."""
    publish_bytes(run_time_folder(run_folder) / SAVE_REQUEST, uuid.uuid4().hex.encode())


def drop_save_request(run_folder: Path) -> None:
    """Remove the request, met or not."""
    (run_time_folder(run_folder) / SAVE_REQUEST).unlink(missing_ok=True)


class NoticeBoard:
    """What one worker is asked; made before the worker reads anything of the run's folder."""

    def __init__(self, run_folder: Path, *, rank: int, is_leaving: Callable[[], bool]) -> None:
        self._folder = run_time_folder(run_folder)
        self._rank = rank
        self._is_leaving = is_leaving  # whether a node of the group is about to be taken away
        self._name = uuid.uuid4().hex
        self._looked = float("-inf")
        self._met = b""
        if rank == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            publish_json(self._folder / GROUP, {"name": self._name})

    def read(self) -> tuple[bool, bool]:
        """Whether to write a state and end, because a node is about to be taken away; and whether
        to write one and go on, because the number of workers is about to change or the driver to
        end. Each request for a state is told once."""
        if self._is_leaving():
            return True, False
        now = time.monotonic()
        if self._rank or now - self._looked < LOOK_SECONDS:
            return False, False
        self._looked = now
        if json.loads((self._folder / GROUP).read_text("utf-8"))["name"] != self._name:
            # Nobody is left to report to, and an exception would first write a last state.
            os._exit(1)
        try:
            request = (self._folder / SAVE_REQUEST).read_bytes()
        except FileNotFoundError:
            return False, False
        is_new, self._met = request not in (b"", self._met), request
        return False, is_new
