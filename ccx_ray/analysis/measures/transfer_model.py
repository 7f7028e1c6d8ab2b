"""Which questions transfer: frequency, with culture, direction and lengths held fixed.

Observations are questions x directions at the last checkpoint. A question is asked in both
directions, so it is one cluster. Without the lengths and with them, so that a reader sees whether
frequency is an effect of short or long answers. The same model of questions that are answered
*worse* under bridge is the placebo: what raises both makes answers vary, not knowledge move.

Invariant: every continuous predictor is a base-2 logarithm, so that an odds ratio is of a doubling
(of a count plus one, or of a length).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ccx_ray.analysis.measures.answer_lengths import Lengths
from ccx_ray.analysis.measures.exposure_effect import Exposures, join_exposures
from ccx_ray.analysis.measures.frequency_effect import join_occurrences
from ccx_ray.analysis.measures.occurrences import Counted
from ccx_ray.analysis.measures.question_transfer import Joined, QuestionTransfer
from ccx_ray.analysis.measures.transfer import DIRECTIONS, Direction
from ccx_ray.analysis.statistics.intervals import Floats
from ccx_ray.analysis.statistics.logistic import LogitFit, cluster_logit
from ccx_ray.study.spec import AnalysisSpec

Predictor = Literal["occurrences", "lexical_documents", "exposure"]
PREDICTORS: tuple[Predictor, ...] = ("occurrences", "lexical_documents", "exposure")
Outcome = Literal["transferred", "worse"]
"""Answered rightly more often, or less often, under bridge than under no-bridge."""
FREQUENCY = "log2(1 + {})"
LENGTHS = ("log2(tokens of the sentence)", "log2(tokens of the answer)")


@dataclass(frozen=True, kw_only=True)
class ModelFitRow:
    """One model that was fitted, or why it was not."""

    predictor: Predictor
    outcome: Outcome
    lengths: bool
    """Whether the lengths of sentence and answer are held fixed too."""
    observations: int
    clusters: int
    """Questions."""
    events: int
    left_out: tuple[str, ...]
    """Cultures and directions in which the outcome does not vary."""
    without_length: int
    """Observations in no model: without a blank or without the answer among the options, no
    condition can win."""
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class ModelTermRow:
    """One coefficient of a model: change of the log-odds for a doubling, or against a reference."""

    predictor: Predictor
    outcome: Outcome
    lengths: bool
    term: str
    coefficient: float
    standard_error: float
    low: float
    high: float
    odds_ratio: float
    odds_low: float
    odds_high: float
    p_value: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Observations:
    """Arrays [N]."""

    frequency: Floats
    transferred: NDArray[np.bool_]
    worse: NDArray[np.bool_]
    culture: NDArray[np.str_]
    direction: NDArray[np.str_]
    item: NDArray[np.str_]
    lengths: tuple[Floats, Floats]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whose answer has a length."""
        return ~np.isnan(self.lengths[1])


def transfer_model(
    spec: AnalysisSpec,
    transfers: Sequence[QuestionTransfer],
    counted: Counted,
    exposures: Exposures,
    lengths: Mapping[str, Lengths],
) -> tuple[list[ModelFitRow], list[ModelTermRow]]:
    """Every model for which there are data.

    Args:
        transfers: of the last checkpoint.
        lengths: of every probe.
    """
    joins: dict[Predictor, Callable[[Direction], list[Joined]]] = {
        "occurrences": lambda d: join_occurrences(transfers, counted, d, "occurrences"),
        "lexical_documents": lambda d: join_occurrences(transfers, counted, d, "lexical_documents"),
        "exposure": lambda d: [
            part
            for part, _ in join_exposures(
                [one for one in transfers if one.direction == d], exposures, "exposure"
            )
        ],
    }
    fits: list[ModelFitRow] = []
    terms: list[ModelTermRow] = []
    for predictor in PREDICTORS:
        parts = {
            (part.culture, direction): part
            for direction in DIRECTIONS
            for part in joins[predictor](direction)
        }
        if not parts:
            continue
        observations = _observations(transfers, parts, lengths)
        kinds: tuple[tuple[Outcome, bool], ...] = (
            ("transferred", False), ("transferred", True), ("worse", True),
        )  # fmt: skip
        for outcome, with_lengths in kinds:
            fit = _fit(spec, observations, predictor, outcome, lengths=with_lengths)
            fits.append(
                ModelFitRow(
                    predictor=predictor,
                    outcome=outcome,
                    lengths=with_lengths,
                    observations=fit.observations,
                    clusters=fit.clusters,
                    events=fit.events,
                    left_out=fit.left_out,
                    without_length=int((~observations.known).sum()),
                    problem=fit.problem,
                )
            )
            terms += [
                ModelTermRow(
                    predictor=predictor,
                    outcome=outcome,
                    lengths=with_lengths,
                    odds_ratio=math.exp(one.coefficient),
                    odds_low=math.exp(one.low),
                    odds_high=math.exp(one.high),
                    **vars(one),
                )
                for one in fit.coefficients
            ]
    return fits, terms


def frequency_term(
    terms: Sequence[ModelTermRow], predictor: Predictor, outcome: Outcome, *, lengths: bool
) -> ModelTermRow | None:
    """The coefficient that the hypothesis is about; None where the model has no estimate."""
    for row in terms:
        of_model = (row.predictor, row.outcome, row.lengths) == (predictor, outcome, lengths)
        if of_model and row.term == FREQUENCY.format(predictor.replace("_", " ")):
            return row
    return None


def _observations(
    transfers: Sequence[QuestionTransfer],
    parts: Mapping[tuple[str, Direction], Joined],
    lengths: Mapping[str, Lengths],
) -> _Observations:
    here = [one for one in transfers if (one.culture, one.direction) in parts]
    counts = [len(one.question) for one in here]
    differences = np.concatenate([one.differences for one in here])
    selected = [
        (one.select(of.question, of.sentence), one.select(of.question, of.answer))
        for one in here
        for of in (lengths[one.probe],)
    ]
    return _Observations(
        frequency=np.log2(1 + np.concatenate([parts[o.culture, o.direction].values for o in here])),
        transferred=differences > 0,
        worse=differences < 0,
        culture=np.repeat([one.culture for one in here], counts),
        direction=np.repeat([one.direction for one in here], counts),
        item=np.concatenate([[f"{one.culture}/{q}" for q in one.question] for one in here]),
        lengths=(
            np.log2(np.concatenate([sentence for sentence, _ in selected])),
            np.log2(np.concatenate([answer for _, answer in selected])),
        ),
    )


def _fit(
    spec: AnalysisSpec,
    observations: _Observations,
    predictor: Predictor,
    outcome: Outcome,
    *,
    lengths: bool,
) -> LogitFit:
    known = observations.known
    named = {FREQUENCY.format(predictor.replace("_", " ")): observations.frequency}
    if lengths:
        named |= dict(zip(LENGTHS, observations.lengths, strict=True))
    chosen = observations.transferred if outcome == "transferred" else observations.worse
    return cluster_logit(
        chosen[known],
        {name: values[known] for name, values in named.items()},
        {"culture": observations.culture[known], "direction": observations.direction[known]},
        observations.item[known],
        confidence=spec.confidence,
    )
