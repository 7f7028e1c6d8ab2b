"""Where a study stands, read from its storage alone, from any machine: steps, trainings, failures,
what is left of time and money.

What is finished is told by the completion markers, what runs by the driver's record
(``orchestration/record.py``), how far it is by the files in the steps' own folders.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.orchestration.progress_table import Reading
from ccx_ray.orchestration.record import is_driven, read_record
from ccx_ray.orchestration.step_folders import MARKER
from ccx_ray.orchestration.tasks import step_progress
from ccx_ray.orchestration.time_left import StepLeft, time_left
from ccx_ray.study.spec import StudySpec
from ccx_ray.training.checkpoints import published_steps
from ccx_ray.training.cost import measured_dollars, measured_hours, planned_cost
from ccx_ray.training.metrics import PROGRESS, recent_seconds

FORMAT = 1
"""Of ``--json``; raised when a name in it changes its meaning."""


@dataclass(frozen=True, kw_only=True)
class StepStatus:
    """One step of the study's graph."""

    name: str
    kind: str
    state: str
    """done, running, waiting, failed, skipped (needs what failed), stopped (its driver is gone), or
    left out (the last run was not asked for it)."""
    folder: str
    reading: Reading | None = None
    """(done, total, note) of one that is begun and not done."""


@dataclass(frozen=True, kw_only=True)
class TrainingStatus:
    """A base or a trial, and its checkpoints."""

    name: str
    state: str
    step: int
    steps: int
    loss: float | None
    tokens_per_second: float | None
    sign_of_life: str | None
    """When it last wrote something; ISO 8601, UTC."""
    checkpoints: int
    """That it will publish."""
    scored: int
    waiting: int
    """Published and not scored."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A step that failed."""

    step: str
    cause: str
    traceback: str
    """File."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of the trainings; see ``training/cost.py``."""

    device: str
    device_hours: float
    """Measured."""
    dollars: float | None
    """None on CPUs."""
    planned_device_hours_left: float
    planned_dollars_left: float


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Everything that ``jobs/status.py`` shows."""

    format: int = FORMAT
    study: str
    folder: str
    state: str
    """running, complete, failed, stopped (by a signal or a request), or killed."""
    cause: str | None
    """Why the run as a whole ended, where no step says it."""
    command: list[str]
    host: str
    process: int
    begun: str
    heartbeat: str
    ended: str | None
    steps: list[StepStatus]
    trainings: list[TrainingStatus]
    failures: list[Failure]
    seconds_left: float | None
    """None while nothing is left, or nothing has been measured."""
    seconds_unknown_of: list[str] = field(default_factory=list)
    """Kinds of steps that are left and of which none has been measured: not in ``seconds_left``."""
    cost: Cost

    def as_json(self) -> str:
        """On one line."""
        return json.dumps({**asdict(self), "stages": self.stages()}, ensure_ascii=False)

    def stages(self) -> dict[str, dict[str, int]]:
        """Kind of step -> how many there are in every state."""
        stages: dict[str, dict[str, int]] = {}
        for step in self.steps:
            counts = stages.setdefault(step.kind, {"steps": 0})
            counts["steps"] += 1
            counts[step.state] = counts.get(step.state, 0) + 1
        return stages


def recorded_study(folder: Path, run: Mapping[str, Any]) -> StudySpec:
    """The spec that a run was started with."""
    try:
        return StudySpec.model_validate_json(json.dumps(run["spec"]))
    except ValueError as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{folder}: written by another version of ccx_ray ({problem[:200]}); run the study's "
            "command once with this one"
        ) from None


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of a study's last run; ``UserError`` without one."""
    record = read_record(folder)
    if record is None:
        raise UserError(
            f"{folder}: no run of this study is recorded there; start it with "
            f"python jobs/full_study.py --study {folder.name} --storage {folder.parent}, or give "
            "another --storage"
        )
    return record


def read_status(folder: Path) -> StudyStatus:
    """Read where the study in ``<storage>/<study>`` stands.

    Raises:
        UserError: no run was recorded there.
    """
    run, state = read_run(folder)
    return _Reader(folder, run, state).status()


class _Reader:
    """The files of one study at one moment."""

    def __init__(self, folder: Path, run: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        self.folder, self.run, self.state = folder, run, state
        self.study = recorded_study(folder, run)
        self.is_driven = is_driven(folder, run, state)
        self.markers = {
            step["name"]: _marker(folder / step["folder"] / MARKER)
            for step in run["steps"]
            if (folder / step["folder"] / MARKER).is_file()
        }
        self.states = {step["name"]: self._state(step) for step in run["steps"]}

    def status(self) -> StudyStatus:
        trainings = [self._training(s) for s in self.run["steps"] if s["kind"] == "training"]
        seconds, unknown = self._time_left()
        return StudyStatus(
            study=self.run["study"],
            folder=str(self.folder),
            state=self._whole(),
            cause=self.state["cause"],
            command=self.run["command"],
            host=self.run["host"],
            process=self.run["process"],
            begun=self.run["begun"],
            heartbeat=self.state["heartbeat"],
            ended=self.state["ended"],
            steps=[
                StepStatus(
                    name=step["name"],
                    kind=step["kind"],
                    state=self.states[step["name"]],
                    folder=step["folder"],
                    reading=self._reading(step),
                )
                for step in self.run["steps"]
            ],
            trainings=trainings,
            failures=list(self._failures()),
            seconds_left=seconds,
            seconds_unknown_of=unknown,
            cost=self._cost(),
        )

    def _state(self, step: Mapping[str, Any]) -> str:
        if step["name"] in self.markers:
            return "done"
        recorded: str = self.state["steps"].get(step["name"], {}).get("state", "waiting")
        if recorded == "running" and not self.is_driven:
            return "stopped"
        if recorded in ("running", "failed", "skipped"):
            return recorded
        if not self.is_driven and self._traceback(step).is_file():
            return "failed"  # in an earlier run, and the last one did not come to it
        return "waiting" if step["name"] in self.run["wanted"] else "left out"

    def _whole(self) -> str:
        if self.is_driven:
            return "running"
        outcome: str = self.state["outcome"]
        if outcome == "complete" and not self.markers.keys() >= set(self.run["wanted"]):
            return "stopped"  # somebody deleted what was done
        return "killed" if self.state["ended"] is None else outcome

    def _work_folder(self, step: Mapping[str, Any]) -> Path:
        name = step["folder"] if step["resumable"] else f".{step['folder']}.partial"
        return self.folder / name

    def _reading(self, step: Mapping[str, Any]) -> Reading | None:
        if self.states[step["name"]] not in ("running", "stopped", "failed"):
            return None
        if step["kind"] == "training":
            found = self._training(step)
            if found.loss is None:
                return None
            note = f"loss {found.loss:.3f}, {found.tokens_per_second or 0:,.0f} tokens/s"
            return found.step, found.steps, note
        if step["kind"] == "evaluation":
            scored = len(_scored(self.folder / step["folder"]))
            return scored, len(self._checkpoints(step["follows"])), "checkpoints scored"
        try:
            return step_progress(self._work_folder(step))
        except (OSError, ValueError):  # published in this moment
            return None

    def _checkpoints(self, training: str) -> Sequence[int]:
        spec = self.study.trials if training.startswith("trial-") else self.study.base
        return spec.checkpoint_steps

    def _training(self, step: Mapping[str, Any]) -> TrainingStatus:
        name, folder = step["name"], self.folder / step["folder"]
        spec = self.study.trials if name.startswith("trial-") else self.study.base
        reached = _read_json(folder / PROGRESS) or {}
        evaluations = [s for s in self.run["steps"] if s["follows"] == name]
        scored = {n for s in evaluations for n in _scored(self.folder / s["folder"])}
        signs = [path.stat().st_mtime for path in (folder / PROGRESS, folder) if path.exists()]
        return TrainingStatus(
            name=name,
            state=self.states[name],
            step=reached.get("step", 0),
            steps=spec.steps,
            loss=reached.get("loss"),
            tokens_per_second=reached.get("tokens_per_second"),
            sign_of_life=_iso(max(signs)) if signs else None,
            checkpoints=len(spec.checkpoint_steps),
            scored=len(scored),
            waiting=len(set(published_steps(folder)) - scored),
        )

    def _traceback(self, step: Mapping[str, Any]) -> Path:
        return self.folder / "errors" / f"{step['folder']}.txt"

    def _failures(self) -> Iterator[Failure]:
        for step in self.run["steps"]:
            if self.states[step["name"]] == "failed":
                path = self._traceback(step)
                cause = self.state["steps"].get(step["name"], {}).get("cause")
                yield Failure(
                    step=step["name"], cause=cause or _last_line(path), traceback=str(path)
                )

    def _time_left(self) -> tuple[float | None, list[str]]:
        """Seconds, and the kinds of steps that they leave out."""
        left = [
            step
            for step in self.run["steps"]
            if step["name"] in self.run["wanted"] and step["name"] not in self.markers
        ]
        if not left or not self.markers:
            return None, []
        durations = {step["name"]: self._seconds(step) for step in left}
        unknown = {step["kind"] for step in left if durations[step["name"]] is None}
        if len(unknown) == len({step["kind"] for step in left}):
            return None, sorted(unknown)
        steps = [
            StepLeft(
                name=step["name"],
                seconds=durations[step["name"]] or 0.0,
                running=self.states[step["name"]] == "running",
                pool=step["pool"],
                needs=step["needs"],
                follows=step["follows"],
            )
            for step in left
        ]
        return time_left(steps, self.state["at_once"]), sorted(unknown)

    def _seconds(self, step: Mapping[str, Any]) -> float | None:
        """That a step will still take, by those of its kind that are done; None without any."""
        if step["kind"] == "training":
            return self._training_seconds(step)
        done = [s for s in self.run["steps"] if s["kind"] == step["kind"]]
        took = [
            _between(self.markers, s["follows"], s["name"])
            if s["follows"]
            else _between(self.markers, None, s["name"])
            for s in done
            if s["name"] in self.markers and (s["follows"] or s["name"]) in self.markers
        ]
        if not took:
            return None
        reading = self._reading(step)
        share = reading[0] / reading[1] if reading and reading[1] and not step["follows"] else 0.0
        return fmean(took) * (1.0 - share)

    def _training_seconds(self, step: Mapping[str, Any]) -> float | None:
        name, counts = step["name"], list(self._training_counts().values())
        spec = self.study.trials if name.startswith("trial-") else self.study.base
        own = recent_seconds(self.folder / step["folder"])
        reached = self._training(step).step
        if own is not None:
            return own * (spec.steps - reached)
        if not counts:
            return None
        per_second = fmean(found["tokens_per_second"] for found in counts)
        tokens = (spec.steps - reached) * spec.sequences_per_step * self.study.sequence_length
        return fmean(found["startup_seconds"] for found in counts) + tokens / per_second

    def _training_counts(self) -> dict[str, dict[str, Any]]:
        return {n: m["counts"] for n, m in self.markers.items() if m["kind"] == "training"}

    def _cost(self) -> Cost:
        hours, dollars, on_gpus = 0.0, 0.0, False
        hours_left = dollars_left = 0.0
        for step in (s for s in self.run["steps"] if s["kind"] == "training"):
            name = step["name"]
            own = measured_hours(self.folder / step["folder"])
            if name not in self.markers:
                reached = self._training(step)
                share = 1.0 - reached.step / reached.steps
                plan = planned_cost(self.study, name, self.run["flops_per_token"])
                hours_left += plan.device_hours * share
                dollars_left += plan.dollars * share
            price = measured_dollars(self.study, name, own)
            on_gpus = on_gpus or price is not None
            hours, dollars = hours + own, dollars + (price or 0.0)
        return Cost(
            device=self.study.runtime.cost.device if on_gpus else "CPU worker",
            device_hours=hours,
            dollars=dollars if on_gpus else None,
            planned_device_hours_left=hours_left,
            planned_dollars_left=dollars_left,
        )


def _scored(folder: Path) -> set[int]:
    return {int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.parquet")}


def _iso(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).isoformat(timespec="seconds")


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content


@lru_cache(maxsize=10_000)
def _marker(path: Path) -> dict[str, Any]:
    """A completion marker, which never changes; its list of files is dropped."""
    marker: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {key: marker[key] for key in ("kind", "started", "finished", "counts")}


def _between(markers: Mapping[str, Any], followed: str | None, name: str) -> float:
    """Seconds that a finished step took; of one that follows another, after the end of that."""
    start = markers[followed]["finished"] if followed else markers[name]["started"]
    end = datetime.fromisoformat(markers[name]["finished"])
    return max(0.0, (end - datetime.fromisoformat(start)).total_seconds())


def _last_line(path: Path) -> str:
    lines = path.read_text("utf-8").strip().splitlines() if path.is_file() else []
    return lines[-1].removeprefix("ccx_ray.errors.") if lines else "no cause was recorded"
