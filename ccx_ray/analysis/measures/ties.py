"""What the order of the options is worth: broken ties, and where the right option stands.

The right option is the first one in most questions of some probes, and the published scorer breaks
ties in favour of the first, so an accuracy may rest on order alone.

Invariant: seeds are averaged for each question first. An option counts as chosen by position, a
question as right by text, as the published scorer has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ccx_ray.analysis.measures.accuracy import AccuracyRow, last_accuracies
from ccx_ray.analysis.measures.answers import Answers, ProbeAnswers
from ccx_ray.analysis.measures.inputs import BASE_RUN
from ccx_ray.analysis.statistics.intervals import Floats, standard_error
from ccx_ray.study.spec import Condition
from ccx_ray.study.trials import Trial


@dataclass(frozen=True, kw_only=True)
class TieRow:
    """One probe under one condition, at the base or the last checkpoint; shares of questions."""

    language: str
    condition: Condition | Literal["base"]
    step: int
    probe: str
    questions: int
    tied: float
    """Questions whose best score is shared, on average over the seeds."""
    tied_right: float
    """Of them, those that the order of the options made right."""
    accuracy: float
    accuracy_ties_wrong: float
    accuracy_ties_shared: float
    worth_against_wrong: float
    """As published minus ties wrong: what broken ties add to the accuracy."""
    worth_against_shared: float
    """As published minus ties shared: what they add beyond drawing lots."""
    first_option_accuracy: float
    """Accuracy of always choosing the first option."""
    first_chosen: float
    """Share of the choices that fall on the first option."""
    accuracy_gold_first: float
    """Of the questions whose right option is the first; NaN without any."""
    standard_error_gold_first: float
    accuracy_gold_elsewhere: float
    standard_error_gold_elsewhere: float


@dataclass(frozen=True, kw_only=True)
class PositionRow:
    """Questions whose right option stands at one position."""

    language: str
    condition: Condition | Literal["base"]
    step: int
    probe: str
    position: int
    """Counted from 0; -1 where the answer is not among the options."""
    questions: int
    gold_share: float
    """Of all questions; the accuracy of always choosing this position."""
    chosen: float
    """Share of all choices that fall on this position, wherever the right option stands."""
    accuracy: float
    """Of these questions. A model that only prefers positions is right as often as it chooses."""
    standard_error: float


def tie_rows(
    trials: Sequence[Trial], answers: Answers, accuracies: Sequence[AccuracyRow]
) -> list[TieRow]:
    """A row for the base and each condition at the last checkpoint, in the order of accuracies."""
    rows = []
    for row in last_accuracies(accuracies):
        gold, choices, right = _pooled(trials, answers, row)
        first = gold == 0
        tied_right = row.accuracy - row.accuracy_ties_wrong
        rows.append(
            TieRow(
                **_place(row),
                questions=row.questions,
                tied=row.tied,
                tied_right=tied_right * row.questions,
                accuracy=row.accuracy,
                accuracy_ties_wrong=row.accuracy_ties_wrong,
                accuracy_ties_shared=row.accuracy_ties_shared,
                worth_against_wrong=tied_right,
                worth_against_shared=row.accuracy - row.accuracy_ties_shared,
                first_option_accuracy=float(first.mean()),
                first_chosen=float((choices == 0).mean()),
                accuracy_gold_first=_mean(right[first]),
                standard_error_gold_first=standard_error(right[first]),
                accuracy_gold_elsewhere=_mean(right[gold > 0]),
                standard_error_gold_elsewhere=standard_error(right[gold > 0]),
            )
        )
    return rows


def position_rows(
    trials: Sequence[Trial], answers: Answers, accuracies: Sequence[AccuracyRow]
) -> list[PositionRow]:
    """The same cells by position of the right option; positions at which it never stands too."""
    rows = []
    for row in last_accuracies(accuracies):
        gold, choices, right = _pooled(trials, answers, row)
        most = int(max(gold.max(), choices.max()))
        for position in range(-1 if (gold < 0).any() else 0, most + 1):
            here = gold == position
            rows.append(
                PositionRow(
                    **_place(row),
                    position=position,
                    questions=int(here.sum()),
                    gold_share=float(here.mean()),
                    chosen=float((choices == position).mean()),
                    accuracy=_mean(right[here]),
                    standard_error=standard_error(right[here]),
                )
            )
    return rows


def _pooled(
    trials: Sequence[Trial], answers: Answers, row: AccuracyRow
) -> tuple[NDArray[np.int32], NDArray[np.int64], Floats]:
    """Gold [Q], choices [S, Q] and right answers over the seeds [Q] of a row of accuracies."""
    if row.condition == "base":
        runs, step = [BASE_RUN], answers.steps(BASE_RUN, row.probe)[-1]
    else:
        cell = (row.language, row.condition)
        runs = [trial.name for trial in trials if (trial.language, trial.condition) == cell]
        step = row.step
    found: list[ProbeAnswers] = [
        one for run in runs if (one := answers.get(run, step, row.probe)) is not None
    ]
    return (
        found[0].gold,
        np.stack([one.outcomes.choice for one in found]),
        np.mean([one.correct for one in found], axis=0),
    )


def _place(row: AccuracyRow) -> dict[str, Any]:
    return {
        "language": row.language,
        "condition": row.condition,
        "step": row.step,
        "probe": row.probe,
    }


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
