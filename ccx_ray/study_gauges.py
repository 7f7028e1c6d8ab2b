"""The driver's Prometheus gauges of a whole study, read from the runner and from files.

Like ``study_graph.py``, it covers all stages. Dashboard and alerts (``dashboards/``) use these
gauges and those of rank 0 of every training (``training/metrics.py``).
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ccx_ray.corpus.steps import RECORDS
from ccx_ray.evaluation.steps import EVALUATIONS
from ccx_ray.frequency.judges.records import read_spending
from ccx_ray.frequency.models import VERDICTS
from ccx_ray.orchestration.gauges import Gauge, Gauges, Reading
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import STATES, Runner
from ccx_ray.study.spec import StudySpec
from ccx_ray.training.run_time_files import GROUPS, INCIDENTS, read_restarts

STEPS = Gauge("steps", "Steps, by stage and state", ("stage", "state"))
TRIALS = Gauge("trials", "Trials, by state", ("state",))
STORAGE_FREE = Gauge("storage_free_bytes", "Free space on the disk of the study's folder")
STORAGE = Gauge("storage_bytes", "Size of the disk of the study's folder")
QUIET = Gauge(
    "training_quiet_seconds",
    "Seconds since a running training reported progress; 0 if it is not running",
    ("run",),
)
STARTS = Gauge("training_starts", "Times that the workers of a training were started", ("run",))
KINDS = ("failure", "preemption")
INCIDENT_COUNT = Gauge(
    "training_incidents",
    "Workers lost by a failure of the program, or with their node",
    ("run", "kind"),
)
DEVICE_SECONDS = Gauge(
    "training_device_seconds", "Training time of the workers times their devices", ("run",)
)
DOLLARS = Gauge(
    "training_dollars", "Device hours times runtime.cost.dollars_per_device_hour", ("run",)
)
REQUESTS = Gauge("judge_requests", "Requests to endpoint judges, over all runs of the study")
JUDGE_DOLLARS = Gauge("judge_dollars", "Cost of these requests at the prices of runtime.judge")
DRIVER_GAUGES = (
    STEPS, TRIALS, STORAGE_FREE, STORAGE, QUIET, STARTS, INCIDENT_COUNT, DEVICE_SECONDS, DOLLARS,
    REQUESTS, JUDGE_DOLLARS, RECORDS, EVALUATIONS,
)  # fmt: skip


def watch_study(gauges: Gauges, study: StudySpec, runner: Runner) -> None:
    """Read the gauges of steps, disk, trainings and judges while the study runs.

    The corpus stage and the evaluators add their own gauges when they start.
    """
    trainings = [
        TrainingReader(step, runner, study.runtime.cost.dollars_per_device_hour)
        for step in runner.graph.of_kind("training")
    ]
    gauges.watch("steps", lambda: _steps(runner))
    gauges.watch("storage", lambda: _storage(runner.folders.root))
    gauges.watch("trainings", lambda: (each for one in trainings for each in one.read()))
    gauges.watch("judges", lambda: _judges(runner.folders.root / VERDICTS))


def _steps(runner: Runner) -> Iterator[Reading]:
    steps = list(runner.graph.steps.values())
    by_stage = Counter((step.kind, runner.states[step.name]) for step in steps)
    trials = Counter(runner.states[step.name] for step in steps if step.name.startswith("trial-"))
    for state in STATES:
        for stage in dict.fromkeys(step.kind for step in steps):
            yield STEPS, (stage, state), by_stage[stage, state]
        yield TRIALS, (state,), trials[state]


def _storage(folder: Path) -> Iterator[Reading]:
    disk = shutil.disk_usage(folder)
    yield STORAGE_FREE, (), disk.free
    yield STORAGE, (), disk.total


def _judges(folder: Path) -> Iterator[Reading]:
    requests, dollars = read_spending(folder)
    yield REQUESTS, (), requests
    yield JUDGE_DOLLARS, (), dollars


class TrainingReader:
    """The gauges of one training, from the files that its workers write."""

    def __init__(self, step: Step, runner: Runner, dollars_per_device_hour: float) -> None:
        self._step, self._runner, self._price = step, runner, dollars_per_device_hour
        self._name = step.name.removeprefix("trial-")
        self._folder = runner.folders.final(step)
        self._progress = self._folder / "progress.json"
        self._written = -1
        """When the progress that was read last was written, by the clock of its file system."""
        self._seen = 0.0
        """When it was seen, by this process's clock, which no other machine's has to agree with."""
        self._device_seconds = 0.0
        self._incidents: Counter[str] = Counter()
        self._starts = 0

    def read(self) -> Iterator[Reading]:
        """The readings; none for a training that has not started."""
        runs = self._runner.states[self._step.name] == "running"
        if not runs and not self._folder.is_dir():
            return
        now = time.monotonic()
        self._seen = self._seen if runs and self._seen else now
        if self._progress.is_file():
            written = self._progress.stat().st_mtime_ns
            if written != self._written:
                progress = json.loads(self._progress.read_text("utf-8"))
                self._device_seconds = progress.get("device_seconds", 0.0)
                self._written, self._seen = written, now
        if runs or not self._starts:
            self._incidents = Counter(
                found["kind"] for found in read_restarts(self._folder, INCIDENTS)
            )
            self._starts = len(read_restarts(self._folder, GROUPS))
        run = (self._name,)
        yield QUIET, run, now - self._seen
        yield STARTS, run, self._starts
        for kind in KINDS:
            yield INCIDENT_COUNT, (self._name, kind), self._incidents[kind]
        yield DEVICE_SECONDS, run, self._device_seconds
        yield DOLLARS, run, self._device_seconds / 3600 * self._price
