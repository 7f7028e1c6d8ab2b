"""Logistic regression with cluster-robust standard errors that says when it cannot be estimated.

Invariant: a coefficient is either fit to be read or absent, with the reason in words. Whether
maximum likelihood has an estimate at all is decided before it is looked for, exactly.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccx_ray.analysis.statistics.intervals import Floats

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


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """The effect of one unit of a predictor on the log-odds of the outcome."""

    term: str
    coefficient: float
    standard_error: float
    """Robust to dependence within clusters."""
    low: float
    high: float
    p_value: float
    """Two-sided, by the normal distribution."""


@dataclass(frozen=True, kw_only=True)
class LogitFit:
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
    ends = found.conf_int(alpha=1 - confidence)
    return tuple(
        Coefficient(
            term=name,
            coefficient=float(found.params[index]),
            standard_error=float(errors[index]),
            low=float(ends[index][0]),
            high=float(ends[index][1]),
            p_value=float(found.pvalues[index]),
        )
        for index, name in enumerate(names, start=1)
    ), None
