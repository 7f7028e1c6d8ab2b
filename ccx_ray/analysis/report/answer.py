"""The answer of a study: its question, what is found in up to three sentences, and four checks.

Invariant: a sentence never says more than its test does: what is not found stands beside the
intervals of what remains possible, and trainings that are too few are named.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ccx_ray.analysis.crossed import FEWEST_TRAININGS, POWER
from ccx_ray.analysis.measures.signatures import signature_counts
from ccx_ray.analysis.measures.transfer import (
    interval_of,
    is_claim,
    is_significant,
)
from ccx_ray.analysis.tables import Results, Row
from ccx_ray.analysis.wording import (
    direction_name,
    listing,
    names_of,
    plural,
    points,
    short_name,
    span,
)
from ccx_ray.study.spec import StudySpec


@dataclass(frozen=True)
class Check:
    """A check that stands beside the answer; ``section`` is where the page shows it in full."""

    name: str
    state: Literal["passed", "in part", "failed", "open"]
    text: str
    section: str


def question(study: StudySpec) -> str:
    """What the study asks."""
    if study.world is not None:
        return (
            "Does this instrument find the transfer that was planted, and none where there is none?"
        )
    targets = listing([short_name(language) for language in study.trial_languages])
    return (
        f"Does what a model knows in {study.base_language.name} become known in {targets}, and the "
        "other way round, when translations stand side by side in its training?"
    )


def answer(study: StudySpec, results: Results, control: Mapping[str, Any] | None) -> list[str]:
    """What is found, what remains possible elsewhere, and what the instrument has been shown to
    find.

    Args:
        control: what was found of a planted world, as ``read_control`` returns it.
    """
    sentences = [_found(study, results)]
    rest = [row for row in results.headlines if not is_significant(study, row)]
    if rest:
        sentences.append(_possible(study, rest))
    return [*sentences, _instrument(results, control)]


def _found(study: StudySpec, results: Results) -> str:
    rows = results.headlines
    if not rows:
        return (
            "Transfer cannot be computed, because no language was trained and evaluated under both "
            "conditions with the same seed."
        )
    significant = [row for row in rows if is_significant(study, row)]
    found = [row for row in significant if row.transfer > 0]
    worse = [row for row in significant if row.transfer <= 0]
    stated = f"Transfer is found in {len(found)} of {plural(len(rows), 'cell')}"
    stated += " (language and direction"
    if any(row.group for row in rows):
        stated += ", over the facts stated in the language alone that knowledge moves from"
    stated += ")"
    if found:
        stated += f": {_named(study, found)}"
    if worse:
        stated += f"; bridges make the answers worse in {_named(study, worse)}"
    if all(map(is_claim, rows)):
        return f"{stated}."
    return f"{stated}; {no_claim(study)}."


def no_claim(study: StudySpec) -> str:
    """Why nothing is said of other trainings."""
    seeds = plural(len(study.trials.seeds), "training")
    return (
        f"{seeds} of each condition allow no claim beyond these very trainings (that takes "
        f"{FEWEST_TRAININGS})"
    )


def _possible(study: StudySpec, rest: Sequence[Row]) -> str:
    """What transfer may be where it is not found, and what the design could have seen there."""
    ends = [interval_of(row) for row in rest]
    reach = span(min(low for low, _ in ends), max(high for _, high in ends), points)
    where = "In that cell" if len(rest) == 1 else f"In the {len(rest)} others"
    where = where if len(rest) < len(study.trial_languages) * 2 else "There"
    confidence = f"{study.analysis.confidence:.0%}"
    return (
        f"{where} it cannot be told from 0, which proves no absence: the {confidence} intervals "
        f"run from {reach} points, and {could_be_seen(rest)}."
    )


def could_be_seen(rows: Sequence[Row]) -> str:
    """The smallest transfers that the design could have seen, from the spreads that it measured."""
    ends = [100 * (row.visible if is_claim(row) else row.question_visible) for row in rows]
    known = [end for end in ends if not math.isnan(end)]
    if not known:
        return "what this design could have seen is not known"
    low, high = min(known), max(known)
    reach = f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
    return f"this design sees transfers of {reach} points with a chance of {POWER:.0%}"


def _instrument(results: Results, control: Mapping[str, Any] | None) -> str:
    """What was found where the truth is known, and which failure signatures fire."""
    if control is None:
        said = "No control study is named, so what this instrument finds has not been shown"
    elif control["counts"] is None:
        said = (
            f"What this instrument finds is not shown: the control study {control['study']} has "
            "not been run in this storage"
        )
    else:
        counts = control["counts"]
        said = (
            f"Of what was planted in {'this world' if results.expectations else control['study']}, "
            f"{counts['holds']} of {sum(counts.values())} expectations hold"
        )
        shown = [
            f"{row['cell']} {points(row['estimate'])} points"
            for row in map(_fields, control.get("expectations") or results.expectations)
            if (row["name"], row["expected"], row["verdict"]) == ("transfer", "positive", "holds")
        ]
        said += (
            f"; of its entities that have a bridge, transfer is {listing(shown)}"
            if shown
            else ", and no transfer is found"
        )
    firing = signature_counts(results.signatures)["fires"]
    if firing:
        said += f"; {firing} of {len(results.signatures)} failure signatures fire"
    return f"{said}."


def checks(
    results: Results, control: Mapping[str, Any] | None, declared: Mapping[str, Any] | None
) -> list[Check]:
    """Whether the control passed, whether a failure signature fires, of what trainings is spoken,
    and whether this analysis is the one that was declared."""
    signatures = signature_counts(results.signatures)
    claims = [is_claim(row) for row in results.headlines]
    return [
        _control_check(control),
        Check(
            "Failure signatures",
            "failed" if signatures["fires"] else "passed",
            f"{signatures['fires']} of {len(results.signatures)} fire, "
            f"{signatures['cannot be told']} cannot be told",
            "signatures",
        ),
        Check(
            "Claim",
            "passed" if claims and all(claims) else "open",
            "about trainings like these" if claims and all(claims) else "these very trainings only",
            "findings",
        ),
        _plan_check(declared),
    ]


def _control_check(control: Mapping[str, Any] | None) -> Check:
    if control is None or control["counts"] is None:
        return (
            Check("Control", "open", "not run", "control")
            if control
            else Check("Control", "open", "none is named", "limits")
        )
    counts = control["counts"]
    broken, untold = counts["does not hold"], counts["cannot be told"]
    state: Literal["passed", "in part", "failed"] = (
        "failed" if broken else "in part" if untold else "passed"
    )
    said = f"{counts['holds']} of {sum(counts.values())} expectations hold"
    said += f", {broken} do not" if broken else ""
    said += f", {untold} cannot be told" if untold else ""
    return Check("Control", state, said, "control")


def _plan_check(declared: Mapping[str, Any] | None) -> Check:
    if declared is None:
        return Check("Plan", "open", "nothing was declared before the trials", "findings")
    if declared["changes"]:
        return Check("Plan", "failed", "another analysis was declared", "findings")
    if not declared["in_time"]:
        return Check("Plan", "in part", "declared when trials had begun", "findings")
    return Check("Plan", "passed", "declared before the first trial", "findings")


def _named(study: StudySpec, rows: Sequence[Row]) -> str:
    """Cells with their transfer and its interval."""
    base, names = study.base_language.name, names_of(study)
    return listing(
        [
            f"{direction_name(row.direction, base, names[row.language])} {points(row.transfer)} "
            f"points ({span(*interval_of(row), points)})"
            for row in rows
        ]
    )


def _fields(row: Row | Mapping[str, Any]) -> Mapping[str, Any]:
    return row if isinstance(row, Mapping) else vars(row)
