"""Which questions transfer: frequency, with culture, direction and lengths held fixed.

Observations are questions x directions at the last checkpoint. A question is asked in both
directions, so it is one cluster. Without the lengths and with them, so that a reader sees whether
frequency is an effect of short or long answers. The same model of questions that are answered
*worse* under bridge is the placebo: what raises both makes answers vary, not knowledge move.

Invariant: every continuous predictor is a base-2 logarithm, so that an odds ratio is of a doubling
(of a count plus one, or of a length).
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from ccx_ray.analysis.measures.rows import Row
from ccx_ray.analysis.statistics.logistic import LogitFit, cluster_logit
from ccx_ray.study.spec import AnalysisSpec

Predictor = Literal["occurrences", "lexical_documents", "exposure"]
PREDICTORS: tuple[Predictor, ...] = ("occurrences", "lexical_documents", "exposure")
Outcome = Literal["transferred", "worse"]
"""Answered rightly more often, or less often, under bridge than under no-bridge."""
MODELS: tuple[tuple[Outcome, bool], ...] = (
    ("transferred", False),
    ("transferred", True),
    ("worse", True),
)
"""Outcome, and whether the lengths of sentence and answer are held fixed."""
FREQUENCY = "log2(1 + {})"
LENGTHS = {
    "log2(tokens of the sentence)": "sentence_tokens",
    "log2(tokens of the answer)": "answer_tokens",
}


def transfer_model(spec: AnalysisSpec, transfers: pd.DataFrame) -> tuple[list[Row], list[Row]]:
    """Every model for which there are data.

    Args:
        transfers: of ``question_transfers``.

    Returns:
        The models that were fitted, or the ``problem`` why one was not; ``clusters`` are questions,
        ``left_out`` cultures and directions in which the outcome does not vary. And the terms:
        change of the log-odds, and of the odds, for a doubling, or against a reference.
    """
    fits: list[Row] = []
    terms: list[Row] = []
    for predictor in PREDICTORS:
        known = transfers[transfers["last"]].dropna(subset=[predictor])
        if known.empty:
            continue
        # Without a blank or without the answer among the options no condition can win.
        observations = known.dropna(subset=["answer_tokens"])
        for outcome, lengths in MODELS:
            model = {"predictor": predictor, "outcome": outcome, "lengths": lengths}
            fit = _fit(spec, observations, predictor, outcome, lengths=lengths)
            fits.append(
                Row(
                    **model,
                    observations=fit.observations,
                    clusters=fit.clusters,
                    events=fit.events,
                    left_out=fit.left_out,
                    without_length=len(known) - len(observations),
                    problem=fit.problem,
                )
            )
            terms += [
                Row(
                    **model,
                    term=one.term,
                    coefficient=one.coefficient,
                    standard_error=one.standard_error,
                    low=one.low,
                    high=one.high,
                    odds_ratio=math.exp(one.coefficient),
                    odds_low=math.exp(one.low),
                    odds_high=math.exp(one.high),
                    p_value=one.p_value,
                )
                for one in fit.coefficients
            ]
    return fits, terms


def frequency_term(
    terms: Sequence[Row], predictor: Predictor, outcome: Outcome, *, lengths: bool
) -> Row | None:
    """The coefficient that the hypothesis is about; None where the model has no estimate."""
    for row in terms:
        of_model = (row.predictor, row.outcome, row.lengths) == (predictor, outcome, lengths)
        if of_model and row.term == FREQUENCY.format(predictor.replace("_", " ")):
            return row
    return None


def _fit(
    spec: AnalysisSpec,
    observations: pd.DataFrame,
    predictor: Predictor,
    outcome: Outcome,
    *,
    lengths: bool,
) -> LogitFit:
    name = FREQUENCY.format(predictor.replace("_", " "))
    predictors = {name: np.log2(1 + observations[predictor].to_numpy(np.float64))}
    if lengths:
        predictors |= {
            name: np.log2(observations[column].to_numpy()) for name, column in LENGTHS.items()
        }
    differences = observations["difference"].to_numpy()
    items = observations["culture"] + "/" + observations["question"].astype(str)
    return cluster_logit(
        differences > 0 if outcome == "transferred" else differences < 0,
        predictors,
        {name: observations[name].to_numpy(str) for name in ("culture", "direction")},
        items.to_numpy(str),
        confidence=spec.confidence,
    )
