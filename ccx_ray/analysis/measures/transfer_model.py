"""Which questions transfer: frequency, with culture, direction and lengths held fixed.

Observations are questions x directions at the last checkpoint. A question is asked in both
directions, so it is one cluster, or part of one that the probe names. Without the lengths and with
them, so that a reader sees whether frequency is an effect of short or long answers. The same model
of questions that are answered *worse* under bridge is the placebo: what raises both makes answers
vary, not knowledge move.

Invariants: every continuous predictor is a base-2 logarithm, so that an odds ratio is of a doubling
(of a count plus one, or of a length). A coefficient is either fit to be read or absent, with the
reason in words; whether maximum likelihood has an estimate at all is decided before it is looked
for, exactly.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ccx_ray.analysis.statistics import Floats
from ccx_ray.analysis.tables import Row
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
EVENTS_PER_PREDICTOR = 10
"""Below this coefficients are biased away from 0 and their intervals are off (Peduzzi et al. 1996;
Vittinghoff and McCulloch 2007 find 5 to 9 often tolerable)."""
FEWEST_CLUSTERS = 40
"""Below this cluster-robust standard errors are known to be too small (Angrist and Pischke 2009,
8.2.3)."""
FEWEST_DIFFERING = 20
"""Clusters with another value of a predictor than its commonest; below this they are too few for
their robust standard error, however many others there are (MacKinnon and Webb 2017)."""
FEWEST_DIFFERING_EVENTS = 5
"""Of these observations with either outcome: of fewer a Wald interval means nothing."""


class Coefficient(NamedTuple):
    """The effect of one unit of a predictor on the log-odds of the outcome, and on the odds."""

    term: str
    coefficient: float
    standard_error: float
    """Robust to dependence within clusters."""
    low: float
    high: float
    odds_ratio: float
    odds_low: float
    odds_high: float
    p_value: float
    """Two-sided, by the normal distribution."""


class LogitFit(NamedTuple):
    """A fit, or why there is none."""

    observations: int
    clusters: int
    events: int
    """Observations with the outcome."""
    left_out: tuple[str, ...]
    """Levels of a category in which no outcome, or every one, is an event: their own effect takes
    them up wholly, so that they say nothing of the rest."""
    coefficients: tuple[Coefficient, ...]
    """Without the intercept; empty where there is a problem."""
    problem: str | None
    """Why it cannot be estimated."""


def transfer_model(spec: AnalysisSpec, transfers: pd.DataFrame) -> tuple[list[Row], list[Row]]:
    """Every model for which there are data.

    Args:
        transfers: of ``question_transfers``.

    Returns:
        The models that were fitted, or the ``problem`` why one was not; ``clusters`` are questions,
        or what the probe names as such, ``left_out`` cultures and directions in which the outcome
        does not vary. And the terms: change of the log-odds, and of the odds, for a doubling, or
        against a reference.
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
            fit = _fit_model(spec, observations, predictor, outcome, lengths=lengths)
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
            terms += [Row(**model, **one._asdict()) for one in fit.coefficients]
    return fits, terms


def frequency_term(
    terms: Sequence[Row], predictor: Predictor, outcome: Outcome, *, lengths: bool
) -> Row | None:
    """The coefficient that the hypothesis is about; None where the model has no estimate."""
    model = (predictor, outcome, lengths)
    return next(
        (
            row
            for row in terms
            if (row.predictor, row.outcome, row.lengths) == model
            and row.term.startswith("log2(1 + ")
        ),
        None,
    )


def _fit_model(
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
    items = observations["culture"] + "/" + observations["cluster"]
    return cluster_logit(
        differences > 0 if outcome == "transferred" else differences < 0,
        predictors,
        {name: observations[name].to_numpy(str) for name in ("culture", "direction")},
        items.to_numpy(str),
        confidence=spec.confidence,
    )


def cluster_logit(
    outcome: NDArray[np.bool_],
    predictors: Mapping[str, Floats],
    categories: Mapping[str, NDArray[Any]],
    clusters: NDArray[Any],
    *,
    confidence: float,
) -> LogitFit:
    """Fit by maximum likelihood, with an intercept.

    Args:
        outcome: of every observation [N].
        predictors: name -> values [N], entered as they are.
        categories: name -> level [N], entered as fixed effects; the first level is the reference.
        clusters: [N] observations of one cluster may depend on one another.
    """
    kept, left_out = _informative(outcome, categories)
    outcome, clusters = outcome[kept], clusters[kept]
    columns = {name: np.asarray(values[kept], np.float64) for name, values in predictors.items()}
    for name, levels in categories.items():
        for level in sorted(set(levels[kept].tolist()))[1:]:
            columns[f"{name} {level}"] = (levels[kept] == level).astype(np.float64)
    names = list(columns)
    design = np.column_stack([np.ones(len(outcome)), *columns.values()])
    groups = np.unique(clusters, return_inverse=True)[1]
    problem = (
        _too_little(outcome, names, groups)
        or _too_alike(outcome, columns, list(predictors), groups)
        or _undetermined(outcome, design, names)
    )
    coefficients: tuple[Coefficient, ...] = ()
    if problem is None:
        coefficients, problem = _fit(outcome, design, names, groups, confidence)
    return LogitFit(
        observations=len(outcome),
        clusters=len(set(groups.tolist())),
        events=int(outcome.sum()),
        left_out=left_out,
        coefficients=coefficients,
        problem=problem,
    )


def _informative(
    outcome: NDArray[np.bool_], categories: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which observations are of levels in which the outcome varies; and the other levels. If it
    varies nowhere, all observations, so that the reason is the outcome."""
    kept, left_out = np.ones(len(outcome), np.bool_), []
    changed = True
    while changed:  # leaving out a level of one category may empty one of another
        changed = False
        for name, levels in categories.items():
            for level in sorted(set(levels[kept].tolist())):
                of_level = kept & (levels == level)
                if outcome[of_level].all() or not outcome[of_level].any():
                    kept, changed = kept & ~of_level, True
                    left_out.append(f"{name} {level}")
    return (kept, tuple(left_out)) if kept.any() else (np.ones(len(outcome), np.bool_), ())


def _too_little(
    outcome: NDArray[np.bool_], names: Sequence[str], groups: NDArray[np.int64]
) -> str | None:
    """Why there is not enough to fit anything on."""
    events, observations = int(outcome.sum()), len(outcome)
    rarer, needed = min(events, observations - events), EVENTS_PER_PREDICTOR * len(names)
    if not observations:
        return "there is no observation"
    if not rarer:
        return "the outcome occurs in every observation" if events else "the outcome never occurs"
    if rarer < needed:
        rare, many = "with" if rarer == events else "without", "s" if len(names) > 1 else ""
        return (
            f"too few observations {rare} the outcome: {rarer} for {len(names)} predictor{many}, "
            f"where {EVENTS_PER_PREDICTOR} each are needed"
        )
    if (clusters := len(set(groups.tolist()))) < FEWEST_CLUSTERS:
        return f"too few clusters for robust standard errors: {clusters} of {FEWEST_CLUSTERS}"
    return None


def _too_alike(
    outcome: NDArray[np.bool_],
    columns: Mapping[str, Floats],
    predictors: Sequence[str],
    groups: NDArray[np.int64],
) -> str | None:
    """Why a predictor, though not a level of a category, has too little to be told by."""
    for name in predictors:
        found, places, counts = np.unique(columns[name], return_inverse=True, return_counts=True)
        differs, usual = places != counts.argmax(), f"{found[counts.argmax()]:g}"
        if not differs.any():
            return f"{name} is the same in every observation"
        clusters = len(set(groups[differs].tolist()))
        if clusters < FEWEST_DIFFERING:
            return (
                f"{name} differs from {usual} in too few clusters: {clusters}, where "
                f"{FEWEST_DIFFERING} are needed"
            )
        events = int(outcome[differs].sum())
        rarer = min(events, int(differs.sum()) - events)
        if rarer < FEWEST_DIFFERING_EVENTS:
            rare = "with" if rarer == events else "without"
            return (
                f"{name} differs from {usual} in too few observations {rare} the outcome: {rarer}, "
                f"where {FEWEST_DIFFERING_EVENTS} are needed"
            )
    return None


def _undetermined(outcome: NDArray[np.bool_], design: Floats, names: Sequence[str]) -> str | None:
    """Why there is no one estimate, or none at all."""
    scaled = design / np.linalg.norm(design, axis=0)
    if np.linalg.matrix_rank(scaled) < design.shape[1]:
        return (
            f"the predictors determine one another ({', '.join(names)}), so none has an effect of "
            "its own"
        )
    if _separated(outcome, scaled):
        return "the predictors separate the outcomes, wholly or in part, and estimates are infinite"
    return None


def _separated(outcome: NDArray[np.bool_], design: Floats) -> bool:
    """Whether some combination of the predictors has all outcomes on one side of it.

    Then, and only then, the likelihood has no maximum (Albert and Anderson 1984). A linear program
    decides it (Konis 2007): the largest sum of margins, none of them negative, is 0 or it is not.
    """
    from scipy.optimize import linprog

    margins = np.where(outcome, 1.0, -1.0)[:, None] * design * np.sqrt(len(outcome))
    found = linprog(
        -margins.sum(axis=0),
        A_ub=-margins,
        b_ub=np.zeros(len(margins)),
        bounds=(-1, 1),
        method="highs",
    )
    # The solver lets every margin be negative by 1e-7; a real separation is of the order of 1.
    return bool(found.status == 0 and -found.fun > 1e-3)


def _fit(
    outcome: NDArray[np.bool_],
    design: Floats,
    names: Sequence[str],
    groups: NDArray[np.int64],
    confidence: float,
) -> tuple[tuple[Coefficient, ...], str | None]:
    # Two seconds of import, which a report without frequencies does not need.
    from statsmodels.discrete.discrete_model import Logit

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they would say is asked of the result below
        try:
            found = Logit(outcome.astype(np.float64), design).fit(
                disp=False, maxiter=100, cov_type="cluster", cov_kwds={"groups": groups}
            )
        except (np.linalg.LinAlgError, ValueError) as error:
            return (), f"the fit fails: {error}"
    errors = found.bse
    if not found.mle_retvals["converged"]:
        return (), "the fit does not converge in 100 iterations"
    if not (np.isfinite(found.params).all() and np.isfinite(errors).all() and (errors > 0).all()):
        return (), "the robust standard errors cannot be computed"
    columns = (found.params, errors, *found.conf_int(alpha=1 - confidence).T, found.pvalues)
    coefficients = []
    for name, values in zip(names, np.column_stack(columns)[1:].tolist(), strict=True):
        coefficient, deviation, low, high, p_value = values
        odds = (math.exp(coefficient), math.exp(low), math.exp(high))
        coefficients.append(Coefficient(name, coefficient, deviation, low, high, *odds, p_value))
    return tuple(coefficients), None
