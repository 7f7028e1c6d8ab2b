"""Expectations of a planted world: what must be found and what must not, and whether it is.

The statistics and the two rules are fixed here and not in a study, so that no run can choose its
own. Invariants: an expectation has one statistic, one interval and one verdict; what has no answers
cannot be told; an expectation about a condition that the study does not have is left out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from ccx_ray.analysis.measures.planted import (
    SOURCE_ONLY,
    Sample,
    Statistic,
    asked_in_source,
    by_direction,
    control_accuracy_rows,
    control_dose_rows,
    estimate,
    mean_value,
    read_planted,
    sample,
    slope,
    with_statements,
)
from ccx_ray.analysis.measures.transfer import Answers, interval_of
from ccx_ray.analysis.tables import AnalysisInputs, Row
from ccx_ray.analysis.wording import condition_name, direction_name, listing, names_of, points, span
from ccx_ray.study.spec import Direction, StudySpec
from ccx_ray.world.planting import NEITHER

Expected = Literal["positive", "zero"]
Verdict = Literal["holds", "does not hold", "cannot be told"]
VERDICTS: tuple[Verdict, ...] = ("holds", "does not hold", "cannot be told")
MARGIN = 0.05
"""What counts as zero: an interval of at most 5 points on either side."""

Facts = Literal["stated", "bridged", "unbridged", "by statements", "unstated", "in the source"]
FACTS: Mapping[Facts, str] = {
    "stated": "asked in {asked}, facts stated in {source} alone",
    "bridged": "asked in {asked}, facts stated in {source} alone, entities with a bridge",
    "unbridged": "asked in {asked}, facts stated in {source} alone, entities without a bridge",
    "by statements": "asked in {asked}, facts stated in {source} alone or nowhere, entities with "
    "a bridge",
    "unstated": "asked in {asked}, facts that no language states",
    "in the source": "asked in {source} itself, facts stated in {source} alone",
}
"""Which questions an expectation is about, in words."""
DOSES: Mapping[str, str] = {
    "statement_dose": "statements in {source}",
    "bridges": "bridges of the entity",
}


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What is expected of one direction of a planted culture."""

    name: str
    expected: Expected
    facts: Facts
    condition: str
    minus: str | None
    """The condition that is subtracted; chance if None."""
    dose: str = ""
    """The column of the truth whose slope is estimated; the mean is where it is empty."""
    cultures: Literal["all", "balanced", "not rare"] = "all"
    """Balanced: both languages state the culture equally often. Not rare: the direction does not
    start from the language that states it more rarely."""

    @property
    def statistic(self) -> Statistic:
        return slope if self.dose else mean_value

    def in_words(self, source: str, asked: str) -> str:
        """The statistic as a phrase."""
        subtracted = condition_name(self.minus or "chance")
        words = f"{condition_name(self.condition)} minus {subtracted}"
        if self.dose:
            words = f"slope of {words} on log2(1 + {DOSES[self.dose]})"
        return f"{words}, {FACTS[self.facts]}".format(source=source, asked=asked)


EXPECTATIONS = (
    Expectation(
        name="transfer", expected="positive", facts="bridged",
        condition="bridge", minus="nobridge",
    ),
    Expectation(
        name="without bridges", expected="zero", facts="stated",
        condition="nobridge", minus=None,
    ),
    Expectation(
        name="deranged", expected="zero", facts="stated",
        condition="deranged", minus="nobridge",
    ),
    Expectation(
        name="no bridge of the entity", expected="zero", facts="unbridged",
        condition="bridge", minus="nobridge",
    ),
    Expectation(
        name="stated nowhere", expected="zero", facts="unstated",
        condition="bridge", minus=None,
    ),
    Expectation(
        name="rising with statements", expected="positive", facts="by statements",
        condition="bridge", minus="nobridge", dose="statement_dose", cultures="balanced",
    ),
    Expectation(
        name="rising with bridges", expected="positive", facts="stated",
        condition="bridge", minus="nobridge", dose="bridges", cultures="balanced",
    ),
    Expectation(
        name="learnt", expected="positive", facts="in the source",
        condition="bridge", minus=None, cultures="not rare",
    ),
)  # fmt: skip
"""Of each culture and direction; where the direction is the rare one, transfer is to be zero."""


def verdict(expected: Expected, low: float, high: float, seeds: Sequence[float]) -> Verdict:
    """The verdict on an estimate.

    The interval is over entities crossed with trainings, or of these trainings alone where they are
    too few. *positive* holds where the interval lies above 0 and so does every seed, and does not
    hold where the interval lies below 0. *zero* holds where the interval lies within ``MARGIN``,
    and does not hold where it reaches further and excludes 0.

    Args:
        low, high: the interval; NaN where there is none.
        seeds: the estimate of each seed alone.
    """
    if expected == "positive":
        holds, fails = low > 0 and min(seeds, default=0.0) > 0, high < 0
    else:
        holds, fails = low >= -MARGIN and high <= MARGIN, low > 0 or high < 0
    return "holds" if holds else "does not hold" if fails else "cannot be told"


def control_tables(inputs: AnalysisInputs, answers: Answers) -> dict[str, list[Row]]:
    """The tables that a planted world adds; without rows where there is none."""
    if inputs.world is None:
        return {"expectations": [], "control_accuracies": [], "control_doses": []}
    planted = read_planted(answers, inputs.world)
    return {
        "expectations": list(expectation_rows(inputs.study, planted)),
        "control_accuracies": list(control_accuracy_rows(inputs.study, planted)),
        "control_doses": list(control_dose_rows(inputs.study, planted)),
    }


def expectation_rows(study: StudySpec, planted: pd.DataFrame) -> Iterator[Row]:
    """Every expectation of the study's world: ``name``, ``culture``, ``direction`` (None where both
    are compared), ``cell`` (these in words), ``statistic`` (in words), ``expected``, the
    columns of ``estimate``, and ``verdict``.

    Estimates are shares, and slopes are shares for each doubling of 1 + dose.

    Args:
        planted: the table of ``read_planted``.
    """
    assert study.world is not None
    conditions = set(planted["condition"])
    names, base = names_of(study), study.base_language.name
    for culture, direction, rows in by_direction(study, planted):
        imbalance, target = study.world.languages[culture].imbalance, names[culture]
        rare, applies = _rarer(imbalance) == direction, {"all"}
        applies |= {"balanced"} if imbalance == 1 else set()
        applies |= set() if rare else {"not rare"}
        cell = direction_name(direction, base, target)
        source, asked = (base, target) if direction == "base-to-target" else (target, base)
        for one in EXPECTATIONS:
            if one.cultures in applies and {one.condition, one.minus} - {None} <= conditions:
                facts = _facts(rows, direction, one.facts)
                yield _row(
                    study,
                    {"name": one.name, "culture": culture, "direction": direction, "cell": cell},
                    [sample(facts, one.condition, one.minus, one.dose)],
                    statistic=one.statistic,
                    words=one.in_words(source, asked),
                    expected="zero" if rare and one.name == "transfer" else one.expected,
                )
        if direction == "target-to-base" and {"bridge", "nobridge"} <= conditions:
            yield _asymmetry(study, culture, rows, imbalance)


def _rarer(imbalance: float) -> Direction | None:
    """The direction that starts from the language in which the culture is rarer, if it is."""
    if imbalance == 1:
        return None
    return "base-to-target" if imbalance > 1 else "target-to-base"


def _facts(rows: pd.DataFrame, direction: Direction, facts: Facts) -> pd.DataFrame:
    """The answers of a culture to the questions about some facts."""
    if facts == "in the source":
        rows = asked_in_source(rows, direction)
    else:
        rows = rows[rows["direction"] == direction]
    if facts == "by statements":
        return with_statements(rows, direction)
    rows = rows[rows["group"] == (NEITHER if facts == "unstated" else SOURCE_ONLY[direction])]
    if facts in ("bridged", "unbridged"):
        rows = rows[(rows["bridges"] > 0) == (facts == "bridged")]
    return rows


def _asymmetry(study: StudySpec, culture: str, rows: pd.DataFrame, imbalance: float) -> Row:
    """The transfer of one direction minus that of the other, which is the rarer one if any is."""
    names, base = names_of(study), study.base_language.name
    order: tuple[Direction, Direction] = ("target-to-base", "base-to-target")
    more, less = reversed(order) if _rarer(imbalance) == order[0] else order
    samples = [
        sample(_facts(rows, direction, "bridged"), "bridge", "nobridge")
        for direction in (more, less)
    ]
    cells = [direction_name(direction, base, names[culture]) for direction in (more, less)]
    words = f"transfer {cells[0]} minus transfer {cells[1]}"
    place = {"name": "asymmetry", "culture": culture, "direction": None, "cell": names[culture]}
    expected: Expected = "zero" if imbalance == 1 else "positive"
    return _row(study, place, samples, statistic=mean_value, words=words, expected=expected)


def _row(
    study: StudySpec,
    place: Mapping[str, Any],
    samples: Sequence[Sample],
    *,
    statistic: Statistic,
    words: str,
    expected: Expected,
) -> Row:
    names = ("expectation", place["culture"], str(place["direction"]), place["name"])
    found = estimate(study, statistic, samples, *names)
    outcome = verdict(expected, *interval_of(Row(**found)), found["seeds"])
    return Row(**place, statistic=words, expected=expected, **found, verdict=outcome)


def verdict_counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many expectations have each verdict."""
    counted = Counter(row.verdict for row in rows)
    return {one: counted[one] for one in VERDICTS}


def control_sentence(rows: Sequence[Row]) -> str:
    """How many expectations hold, which ones do not or cannot be told, and the transfers found."""
    parts = [f"{verdict_counts(rows)['holds']} of {len(rows)} expectations hold"]
    for one, several in (("does not hold", "do not hold"), ("cannot be told", "cannot be told")):
        which = [f"{row.name} ({row.cell})" for row in rows if row.verdict == one]
        if which:
            parts.append(f"{len(which)} {several if len(which) > 1 else one}: {listing(which)}")
    found = [
        f"{row.cell} {points(row.estimate)} points ({span(*interval_of(row), points)})"
        for row in rows
        if (row.name, row.expected, row.verdict) == ("transfer", "positive", "holds")
    ]
    transfers = f"Transfer is found: {listing(found)}." if found else "No transfer is found."
    return f"{'; '.join(parts)}. {transfers}"
