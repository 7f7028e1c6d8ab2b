"""Accuracy under each condition at every checkpoint, and the base before any of them.

Invariant: the question is the unit of every standard error; seeds are averaged first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ccx_ray.analysis.measures.answers import Answers, ProbeAnswers
from ccx_ray.analysis.measures.inputs import BASE_RUN
from ccx_ray.analysis.measures.transfer import (
    COUNTINGS,
    DIRECTIONS,
    evaluated_steps,
    probe_of,
    right_answers,
)
from ccx_ray.analysis.statistics.intervals import standard_error
from ccx_ray.study.spec import Condition, StudySpec
from ccx_ray.study.trials import Trial


@dataclass(frozen=True, kw_only=True)
class AccuracyRow:
    """Accuracy on one probe at one checkpoint; the base stands at step 0."""

    language: str
    condition: Condition | Literal["base"]
    seed: int | None
    """None: the mean over the seeds of every question."""
    step: int
    probe: str
    questions: int
    accuracy: float
    standard_error: float
    accuracy_ties_wrong: float
    standard_error_ties_wrong: float
    accuracy_ties_shared: float
    standard_error_ties_shared: float
    tied: float
    """Questions whose best score is shared, on average over the seeds."""


def accuracy_rows(study: StudySpec, trials: Sequence[Trial], answers: Answers) -> list[AccuracyRow]:
    """Accuracy of the base, of every trial and over the seeds, at every checkpoint."""
    rows: list[AccuracyRow] = []
    for language in dict.fromkeys(trial.language for trial in trials):
        of_language = [trial for trial in trials if trial.language == language]
        for direction in DIRECTIONS:
            probe = probe_of(direction, language, study.base_language.code)
            rows += _base_rows(language, answers, probe)
            for condition in study.trials.conditions:
                runs = [trial for trial in of_language if trial.condition == condition]
                rows += _condition_rows(runs, answers, probe)
    return rows


def last_accuracies(rows: Sequence[AccuracyRow]) -> list[AccuracyRow]:
    """Over the seeds: the base, and each condition at the last checkpoint of its probe."""
    pooled = [row for row in rows if row.seed is None]
    last: dict[str, int] = {}
    for row in pooled:
        last[row.probe] = max(row.step, last.get(row.probe, 0))
    return [row for row in pooled if row.condition == "base" or row.step == last[row.probe]]


def _base_rows(language: str, answers: Answers, probe: str) -> list[AccuracyRow]:
    """The base's last checkpoint, which every trial starts from."""
    last = answers.steps(BASE_RUN, probe)[-1:]
    found = [one for step in last if (one := answers.get(BASE_RUN, step, probe)) is not None]
    row: dict[str, Any] = {
        "language": language,
        "seed": None,
        "step": 0,
        "probe": probe,
    }
    return [AccuracyRow(**row, condition="base", **_measure(found))] if found else []


def _condition_rows(runs: Sequence[Trial], answers: Answers, probe: str) -> list[AccuracyRow]:
    rows = []
    for step in evaluated_steps(answers, runs, probe):
        found = {
            trial: one
            for trial in runs
            if (one := answers.get(trial.name, step, probe)) is not None
        }
        trial = runs[0]
        row: dict[str, Any] = {
            "language": trial.language,
            "condition": trial.condition,
            "step": step,
            "probe": probe,
        }
        rows += [
            AccuracyRow(**row, seed=trial.seed, **_measure([one])) for trial, one in found.items()
        ]
        rows.append(AccuracyRow(**row, seed=None, **_measure(list(found.values()))))
    return rows


def _measure(runs: Sequence[ProbeAnswers]) -> dict[str, Any]:
    """The measured fields of a row, over runs that answered the same probe."""
    published, strict, shared = (
        np.mean([right_answers(answers, counting) for answers in runs], axis=0)
        for counting in COUNTINGS
    )
    return {
        "questions": len(published),
        "accuracy": float(published.mean()),
        "standard_error": standard_error(published),
        "accuracy_ties_wrong": float(strict.mean()),
        "standard_error_ties_wrong": standard_error(strict),
        "accuracy_ties_shared": float(shared.mean()),
        "standard_error_ties_shared": standard_error(shared),
        "tied": float(np.mean([answers.tied.sum() for answers in runs])),
    }
