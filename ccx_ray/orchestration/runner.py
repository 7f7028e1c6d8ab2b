"""Runs a graph of steps: each as soon as what it needs is there, reusing what is done.

Invariants: nothing that is done and unchanged is computed again; one failing step stops only what
depends on it; the outcome names every step and what became of it.
"""

import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ccx_ray.errors import UserError
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.provenance import now
from ccx_ray.orchestration.step_folders import StepFolders

State = Literal["waiting", "running", "done", "reused", "failed", "skipped"]
FINISHED: tuple[State, ...] = ("done", "reused")
POLL_SECONDS = 0.5


@dataclass(kw_only=True)
class Outcome:
    """What became of every step."""

    states: dict[str, State]
    errors: dict[str, str] = field(default_factory=dict)
    """Step -> cause, for the failed ones."""
    seconds: dict[str, float] = field(default_factory=dict)
    markers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return all(state in FINISHED for state in self.states.values())


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """What an action is given: its step, the folder to write into, and the rest of the study."""

    step: Step
    folder: Path
    runner: "Runner"

    def folder_of(self, step: Step) -> Path:
        """The folder of a step upstream, or of one that this step follows."""
        return self.runner.folders.final(step)

    def marker_of(self, step: Step) -> dict[str, Any]:
        return self.runner.folders.marker(step)

    def state_of(self, step: Step) -> State:
        return self.runner.states[step.name]

    def watch(self, read: Callable[[], tuple[int, int, str] | None]) -> None:
        """Show ``(done, total, note)`` of this step in the live table, read every second."""
        self.runner.progress.watch(self.step.name, read)


Action = Callable[[StepWork], Mapping[str, Any]]


class Runner:
    """Runs the steps of a graph in threads; the work itself happens in Ray."""

    def __init__(self, graph: Graph, folders: StepFolders, progress: StudyProgress) -> None:
        self.graph = graph
        self.folders = folders
        self.progress = progress
        self.states: dict[str, State] = dict.fromkeys(graph.steps, "waiting")
        self._actions: Mapping[str, Action] = {}
        self._outcome = Outcome(states=self.states)

    def reuse(self) -> Outcome:
        """Take over what is done.

        Raises:
            UserError: a finished step's content differs from its marker.
        """
        for step in self.graph.steps.values():
            if self.folders.is_done(step):
                self.folders.verify(step)
                self._settle(step, "reused")
        return self._outcome

    def run(self, actions: Mapping[str, Action], *, limit: Callable[[str], int]) -> Outcome:
        """Run everything that is not done.

        Args:
            actions: kind of step -> what it does.
            limit: kind of step -> how many of it may run at once now; asked again and again,
                because a cluster grows and shrinks.
        """
        self._actions = actions
        futures: dict[Future[None], Step] = {}
        with ThreadPoolExecutor(max_workers=len(self.graph.steps)) as pool:
            while True:
                self._skip_hopeless()
                for step in self._ready(limit):
                    self.states[step.name] = "running"
                    self.progress.started(step)
                    futures[pool.submit(self._execute, step)] = step
                if not futures:
                    break
                finished, _ = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in finished:
                    futures.pop(future)
                    future.result()
        return self._outcome

    def _ready(self, limit: Callable[[str], int]) -> list[Step]:
        ready: list[Step] = []
        for step in self.graph.steps.values():
            if self.states[step.name] != "waiting":
                continue
            upstream = all(self.states[s.name] in FINISHED for s in step.upstream)
            follows = all(self.states[s.name] in (*FINISHED, "running") for s in step.follows)
            running = sum(
                self.states[other.name] == "running" for other in self.graph.of_kind(step.kind)
            ) + sum(other.kind == step.kind for other in ready)
            if upstream and follows and running < limit(step.kind):
                ready.append(step)
        return ready

    def _skip_hopeless(self) -> None:
        for step in self.graph.steps.values():
            needs = (*step.upstream, *step.follows)
            bad = [s.name for s in needs if self.states[s.name] in ("failed", "skipped")]
            if self.states[step.name] == "waiting" and bad:
                self._settle(step, "skipped")

    def _execute(self, step: Step) -> None:
        started, clock = now(), time.monotonic()
        try:
            work = StepWork(step=step, folder=self.folders.begin(step), runner=self)
            counts = self._actions[step.kind](work)
            self.folders.complete(step, counts=counts, started=started)
        except Exception as error:  # one failing step must not stop the others; it is reported
            cause = str(error) if isinstance(error, UserError) else _last_line(error)
            self._outcome.errors[step.name] = cause
            log = self.folders.root / "errors" / f"{step.folder_name}.txt"
            log.parent.mkdir(exist_ok=True)
            log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
            self._settle(step, "failed")
        else:
            self._outcome.seconds[step.name] = time.monotonic() - clock
            self._settle(step, "done")

    def _settle(self, step: Step, state: State) -> None:
        if state in FINISHED:
            self._outcome.markers[step.name] = self.folders.marker(step)
        self.states[step.name] = state
        self.progress.settled(step, state, self._outcome.errors.get(step.name, ""))


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"
