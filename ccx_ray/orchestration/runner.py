"""Runs a graph of steps: each as soon as what it needs is there, reusing what is done.

Invariants: nothing that is done and unchanged is computed again; one failing step stops only what
depends on it; the outcome names every step and its final state; an interruption ends the run within
seconds, whatever its steps are doing, and leaves what the next run continues from.
"""

import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Literal, Self, TypeVar, cast, get_args

from ccx_ray.errors import InputError, TrackingError, UserError, last_line
from ccx_ray.orchestration.driver import interruptible
from ccx_ray.orchestration.gauges import Gauges
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.progress_table import Reading
from ccx_ray.orchestration.provenance import now
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.orchestration.tasks import RunTasks, step_progress
from ccx_ray.tracking.runs import Tracking

State = Literal["waiting", "running", "done", "reused", "failed", "skipped"]
STATES: tuple[State, ...] = get_args(State)
FINISHED: tuple[State, ...] = ("done", "reused")
POLL_SECONDS = 0.5
STOP_SECONDS = 10.0
"""How long an interrupted run waits for its steps to save what they can go on from."""
T = TypeVar("T")


@dataclass(kw_only=True)
class Outcome:
    """The final state of every step."""

    states: dict[str, State]
    errors: dict[str, str] = field(default_factory=dict)
    """Step -> cause, for the failed ones."""
    mistakes: set[str] = field(default_factory=set)
    """Those of the failed ones whose cause is an ``InputError``."""
    outages: set[str] = field(default_factory=set)
    """Those whose cause is a ``TrackingError``, or the name of what could not be told to MLflow."""
    seconds: dict[str, float] = field(default_factory=dict)
    markers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return not self.errors and all(state in FINISHED for state in self.states.values())

    @property
    def told_last(self) -> set[str]:
        """Whose causes are told once each, as the job's last lines."""
        return self.mistakes | self.outages


class Services:
    """What the steps of one run share: the tracking, and resources that are opened once."""

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking
        self.gauges = Gauges()
        self.run_id = uuid.uuid4().hex
        """Names this run of the driver."""
        self._stack = ExitStack()
        self._opened: dict[str, Any] = {}
        self._lock = Lock()

    def shared(self, name: str, make: Callable[[], AbstractContextManager[T]]) -> T:
        """The resource of this name, opened by the first step that asks and closed with the run."""
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._stack.enter_context(make())
            return cast("T", self._opened[name])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not isinstance(error, KeyboardInterrupt):  # else nobody waits for what they are doing
            self._stack.close()


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """What the ``run`` of a step is given: the folder to write into, and the steps it needs."""

    step: Step
    folder: Path
    services: Services
    runner: "Runner"

    @property
    def tracking(self) -> Tracking:
        return self.services.tracking

    @property
    def study_folder(self) -> Path:
        return self.runner.folders.root

    def input(self, role: str) -> Path:
        """The folder of the one step that is needed under this role."""
        needed = self.step.needs[role]
        assert isinstance(needed, Step), f"{self.step.name} needs several steps as {role}"
        return self.runner.folders.final(needed)

    def inputs(self, role: str) -> dict[str, Path]:
        """Name -> folder of the steps that are needed under this role; empty without any."""
        needed = self.step.needs.get(role, {})
        assert not isinstance(needed, Step), f"{self.step.name} needs one step as {role}"
        return {name: self.runner.folders.final(step) for name, step in needed.items()}

    def folder_of(self, step: Step) -> Path:
        return self.runner.folders.final(step)

    def marker_of(self, step: Step) -> dict[str, Any]:
        return self.runner.folders.marker(step)

    def markers(self) -> dict[str, dict[str, Any]]:
        """Name -> marker of every other step of this run's graph that is finished."""
        steps = self.runner.graph.steps.values()
        return {s.name: self.marker_of(s) for s in steps if self.runner.folders.is_done(s)}

    def state_of(self, step: Step) -> State:
        return self.runner.states[step.name]

    def run_tasks(
        self,
        *,
        cpus: float,
        gpus: float = 0.0,
        observe: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> RunTasks:
        """Runs tasks of this step on the Ray cluster, each with so much of a node.

        Args:
            observe: told the result of each task as it ends.
        """
        from ccx_ray.orchestration.ray_tasks import run_tasks

        return partial(
            run_tasks,
            cpus_per_task=cpus,
            gpus_per_task=gpus,
            background=self.step.background,
            observe=observe,
        )

    def record(self, metrics: Mapping[str, float]) -> None:
        """Log this step to MLflow as a run of its own, with its files as artifacts."""
        self.tracking.record(
            self.step.name,
            kind=self.step.kind,
            fingerprint=self.step.fingerprint,
            metrics=metrics,
            folder=self.folder,
        )

    def watch(self, read: Callable[[], Reading | None]) -> None:
        """Show ``(done, total, note)`` of this step in the live table, read every second.

        Without it the finished tasks of its work log are shown.
        """
        self.runner.progress.watch(self.step.name, read)

    def on_interrupt(self, save: Callable[[float], None]) -> None:
        """Call ``save(seconds)`` when the run is interrupted while this step is running."""
        self.runner.savers[self.step.name] = save


class Runner:
    """Runs the steps of a graph in threads; the heavy work itself happens in Ray."""

    def __init__(self, graph: Graph, folders: StepFolders, progress: StudyProgress) -> None:
        self.graph = graph
        self.folders = folders
        self.progress = progress
        self.states: dict[str, State] = dict.fromkeys(graph.steps, "waiting")
        self.savers: dict[str, Callable[[float], None]] = {}
        self._outcome = Outcome(states=self.states)

    def reuse(self, *, every_byte: bool = False) -> Outcome:
        """Take over what is done; see ``StepFolders.verify``."""
        for step in self.graph.steps.values():
            self.progress.stop_if_requested()
            if self.folders.is_done(step):
                self.folders.verify(step, every_byte=every_byte)
                self._settle(step, "reused")
        self.progress.reused()
        return self._outcome

    def run(self, services: Services, *, limit: Callable[[str], int | None]) -> Outcome:
        """Run everything that is not done.

        Args:
            limit: pool -> how many of its steps may run at once now, None for any number; asked
                again and again, because a cluster grows and shrinks.

        Raises:
            KeyboardInterrupt: a signal came; running steps were asked to save, and go on
                in threads that end with the process.
        """
        ended: SimpleQueue[BaseException | None] = SimpleQueue()

        def execute(step: Step) -> None:
            try:
                self._execute(step, services)
            except BaseException as error:
                ended.put(error)
            else:
                ended.put(None)

        running = 0
        with interruptible():
            try:
                while True:
                    self.progress.stop_if_requested()
                    self._skip_hopeless()
                    for step in self._ready(limit):
                        self.states[step.name] = "running"
                        self.progress.started(step)
                        # Daemons, because the threads of a pool would be waited for at exit.
                        Thread(target=execute, args=[step], name=step.name, daemon=True).start()
                        running += 1
                    if not running:
                        return self._outcome
                    with suppress(Empty):
                        error = ended.get(timeout=POLL_SECONDS)
                        running -= 1
                        if error is not None:
                            raise error
            except KeyboardInterrupt:
                self._save_running()
                raise

    def _save_running(self) -> None:
        """Let running steps save what they can go on from, all at once, for a few seconds."""
        running = {n: save for n, save in self.savers.items() if self.states[n] == "running"}
        if running:
            names = ", ".join(running)
            self.progress.console.print(f"interrupted; saving {names}", markup=False)
        threads = [Thread(target=s, args=[STOP_SECONDS], daemon=True) for s in running.values()]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _ready(self, limit: Callable[[str], int | None]) -> list[Step]:
        """Waiting steps that may start now, at most as many of a pool as its limit says."""
        ready: list[Step] = []
        running = [s for s in self.graph.steps.values() if self.states[s.name] == "running"]
        for step in self.graph.steps.values():
            if self.states[step.name] != "waiting":
                continue
            needed = all(self.states[s.name] in FINISHED for s in step.upstream)
            begun = all(self.states[s.name] in (*FINISHED, "running") for s in step.before)
            most = limit(step.pool) if needed and begun and step.pool else None
            in_pool = sum(s.pool == step.pool for s in (*running, *ready))
            if needed and begun and (most is None or in_pool < most):
                ready.append(step)
        return ready

    def _skip_hopeless(self) -> None:
        for step in self.graph.steps.values():
            bad = any(self.states[s.name] in ("failed", "skipped") for s in step.before)
            if self.states[step.name] == "waiting" and bad:
                self._settle(step, "skipped")

    def _execute(self, step: Step, services: Services) -> None:
        started, clock = now(), time.monotonic()
        try:
            folder = self.folders.begin(step)
            self.progress.watch(step.name, lambda: step_progress(folder))
            counts = step.run(StepWork(step=step, folder=folder, services=services, runner=self))
            if step.replaced is not None:
                services.tracking.supersede(step.replaced, step.fingerprint)
            self.folders.complete(step, counts=counts, started=started)
        except Exception as error:  # one failing step must not stop the others; it is reported
            cause = str(error) if isinstance(error, UserError) else last_line(error)
            self._outcome.errors[step.name] = cause
            if isinstance(error, InputError):
                self._outcome.mistakes.add(step.name)
            elif isinstance(error, TrackingError):
                self._outcome.outages.add(step.name)
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
        self.progress.settled(
            step,
            state,
            self._outcome.errors.get(step.name, ""),
            told_later=step.name in self._outcome.told_last,
        )
