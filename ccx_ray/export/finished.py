"""A finished study, read from its storage alone: the steps of its last run and its trainings.

Invariant: every step that the analysis is made of is done, and what is exported is byte for byte
what its completion marker lists.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ccx_ray.analysis.wording import listing
from ccx_ray.errors import UserError
from ccx_ray.orchestration.record import is_driven
from ccx_ray.orchestration.step_folders import MARKER, verify_step
from ccx_ray.status import read_run, recorded_study
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import Trial, base_seeds, trial_grid

ANALYSIS = "analysis"
EXPORTED_KINDS = (
    "world", "text", "interventions", "stream", "training", "evaluation", "frequency", "exposure",
    ANALYSIS,
)  # fmt: skip
"""Kinds of steps whose outputs are exported."""
SHOWN = 3
"""Steps that are named when they are missing."""


@dataclass(frozen=True, kw_only=True)
class FinishedStep:
    """A step that is done."""

    name: str
    kind: str
    folder: Path
    marker: Mapping[str, Any]

    @property
    def counts(self) -> Mapping[str, Any]:
        counts: Mapping[str, Any] = self.marker["counts"]
        return counts


@dataclass(frozen=True, kw_only=True)
class Training:
    """A base or a trial of the study."""

    name: str
    """``base``, ``ko-bridge-s0``."""
    trial: Trial | None
    seed: int
    step: FinishedStep
    evaluation: FinishedStep
    stream: Path
    """The folder of the stream that it consumed."""
    language: str
    """Code of the language whose documents the stream numbers first."""

    @property
    def condition(self) -> str | None:
        return self.trial.condition if self.trial else None


@dataclass(frozen=True, kw_only=True)
class FinishedStudy:
    """A finished study: its folder, spec, steps and trainings."""

    folder: Path
    study: StudySpec
    steps: Mapping[str, FinishedStep]
    """By name, in the order of the graph."""
    is_shipped: bool
    """Its relative paths start from the project and not from a file of the user's."""

    def of_kind(self, kind: str) -> list[FinishedStep]:
        return [step for step in self.steps.values() if step.kind == kind]

    @property
    def analysis(self) -> FinishedStep:
        return self.steps[ANALYSIS]

    @cached_property
    def results(self) -> Mapping[str, Any]:
        """``results.json`` of the analysis."""
        content: dict[str, Any] = json.loads((self.analysis.folder / "results.json").read_bytes())
        return content

    @cached_property
    def trainings(self) -> tuple[Training, ...]:
        """The bases, then the trials in the order of the grid."""
        code = self.study.base_language.code
        bases = [
            self._training(name, None, seed, self.steps[f"stream-{name}"].folder, code)
            for name, seed in base_seeds(self.study).items()
        ]
        trials = [
            self._training(
                trial.name,
                trial,
                trial.seed,
                self.steps[f"stream-{trial.language}-s{trial.seed}"].folder / trial.condition,
                trial.language,
            )
            for trial in trial_grid(self.study)
        ]
        return (*bases, *trials)

    def _training(
        self, name: str, trial: Trial | None, seed: int, stream: Path, language: str
    ) -> Training:
        return Training(
            name=name,
            trial=trial,
            seed=seed,
            step=self.steps[trial.step if trial else name],
            evaluation=self.steps[f"evaluate-{name}"],
            stream=stream,
            language=language,
        )


def open_finished(folder: Path) -> FinishedStudy:
    """Open the study in ``<storage>/<study>`` as its last run left it.

    Raises:
        UserError: no run is recorded there, it is not finished, or a file is not what was written.
    """
    run, state = read_run(folder)
    study = recorded_study(folder, run)
    recorded = {step["name"]: step for step in run["steps"]}
    steps = _needed_for(recorded, ANALYSIS)
    missing = [step for step in steps if not (folder / step["folder"] / MARKER).is_file()]
    if missing:
        names = [step["name"] for step in missing]
        raise _unfinished(
            folder, names, wanted=run["wanted"], is_running=is_driven(folder, run, state)
        )
    finished = {step["name"]: _finished(folder, step) for step in steps}
    return FinishedStudy(folder=folder, study=study, steps=finished, is_shipped=run["root"] is None)


def _needed_for(recorded: Mapping[str, Any], target: str) -> list[dict[str, Any]]:
    """The steps that a step is computed from, with it, in the order of the graph."""
    wanted = {target}
    for name in reversed(list(recorded)):  # each step comes after what it needs
        if name in wanted:
            wanted |= {*recorded[name]["needs"], *filter(None, [recorded[name]["follows"]])}
    return [step for name, step in recorded.items() if name in wanted]


def _finished(folder: Path, step: Mapping[str, Any]) -> FinishedStep:
    place = folder / step["folder"]
    if step["kind"] in EXPORTED_KINDS:
        verify_step(place, step["name"])
    marker = json.loads((place / MARKER).read_text("utf-8"))
    return FinishedStep(name=step["name"], kind=step["kind"], folder=place, marker=marker)


def _unfinished(
    folder: Path, missing: Sequence[str], *, wanted: Sequence[str], is_running: bool
) -> UserError:
    """Message about an unfinished study: missing steps, and the command that computes them."""
    others = len(missing) - SHOWN
    names = [*missing[:SHOWN], *([f"{others} more"] if others > 0 else [])]
    is_wanted = set(missing) <= set(wanted)
    act = ["--watch"] if is_running else ["--resume"] if is_wanted else ["--rerun", ANALYSIS]
    command = ["python", "jobs/status.py", "--study", folder.name, "--storage", str(folder.parent)]
    remedy = "a driver is at work, see" if is_running else "finish it with"
    return UserError(
        f"{folder}: not finished, without {listing(names)}; {remedy} {shlex.join([*command, *act])}"
    )
