"""The findings: a verdict on every cell of transfer, and what could and could not be measured.

Invariant: a verdict never says more than its test does. "not found" stands beside the interval of
what remains possible, and what cannot be said has its reason.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import Literal

from ccx_ray.analysis.measures.transfer import (
    DIRECTIONS,
    is_claim,
    is_significant,
    probe_of,
    significance_level,
)
from ccx_ray.analysis.report.paper import SIGNIFICANT
from ccx_ray.analysis.tables import Results, Row
from ccx_ray.analysis.wording import (
    SCORE_NAMES,
    condition_name,
    decimal,
    direction_name,
    listing,
    names_of,
    percent,
    plural,
    points,
)
from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.study.spec import Direction, StudySpec

STANDARD_ERRORS = 2.0
"""By which two accuracies, or an accuracy and guessing, must differ to be called different."""

CellVerdict = Literal["found", "found, negative", "not found", "cannot be said"]
Verdict = Literal["found", "in part", "the opposite", "not found", "measured", "cannot be said"]
Cell = tuple[str, Direction]
"""Language and direction."""


@dataclass(frozen=True)
class Finding:
    """A row of the table of what could and could not be measured."""

    section: str
    """Identifier of the section of the page that shows it in full."""
    question: str
    result: str
    verdict: Verdict
    reason: str = ""
    """Why it cannot be said, or what the result does not show."""


def transfer_verdicts(study: StudySpec, results: Results) -> list[Row]:
    """What the headline says of transfer in every ``language`` of the grid and ``direction``,
    whether it could be tested or not. ``is_claim`` is whether it is of trainings like these, or of
    these alone; ``paper`` whether it is significant in the paper, None where that says nothing."""
    found = {_cell(row): row for row in results.headlines}

    def verdict(row: Row | None) -> CellVerdict:
        if row is None:
            return "cannot be said"
        if not is_significant(study, row):
            return "not found"
        return "found" if row.transfer > 0 else "found, negative"

    return [
        Row(
            language=language.code,
            direction=direction,
            verdict=verdict(row := found.get((language.code, direction))),
            is_claim=row is not None and is_claim(row),
            paper=SIGNIFICANT.get((language.code, direction)),
        )
        for language in study.trial_languages
        for direction in DIRECTIONS
    ]


def transfer_findings(study: StudySpec, results: Results) -> list[Finding]:
    """How far transfer and accuracy rest on knowledge, proficiency, score, ties and seeds."""
    parts: tuple[Callable[[StudySpec, Results], Finding | None], ...] = (
        _agreement,
        _above_guessing,
        _proficiency,
        _scores,
        _ties,
        _first_option,
        _questions_alone,
        _seeds,
        _consistency,
        _forgetting,
    )
    return [found for part in parts if (found := part(study, results)) is not None]


def _agreement(study: StudySpec, results: Results) -> Finding | None:
    known = [
        row
        for row in transfer_verdicts(study, results)
        if row.paper is not None and row.verdict != "cannot be said"
    ]
    same = [row for row in known if (row.verdict == "found") == row.paper]
    question = "Agreement with the paper's first table"
    reason = "Cells that agree because nothing was detected are weak agreement."
    if not known:
        return None
    result = f"in {_of(same, known)}, of whether positive transfer is significant"
    return Finding("transfer", question, result, "measured", reason)


def _above_guessing(_: StudySpec, results: Results) -> Finding | None:
    """Whether any accuracy is better than what a model without knowledge gets."""
    guessing = {row.probe: max(row.chance, row.first_option_accuracy) for row in results.probes}
    cells = [
        (row.accuracy - guessing[row.probe], row)
        for row in results.last("accuracies")
        if row.condition != "base"
    ]
    above = [(gap, row) for gap, row in cells if gap > STANDARD_ERRORS * row.standard_error]
    if not cells:
        return None
    result = f"{_of(above, cells)} two standard errors above chance and the first-option rule"
    reason = "A difference between the conditions is then one between ways of guessing."
    if above:
        best = max(above, key=lambda cell: cell[0])[1]
        against = percent(guessing[best.probe])
        result, reason = f"{result}; furthest {_at(best, best.accuracy)} against {against}", ""
    return Finding("accuracy", "Accuracy above guessing", result, _share(above, cells), reason)


def _proficiency(study: StudySpec, results: Results) -> Finding:
    """Whether bridge models are better at the languages, where they are better at questions."""
    question = "Better proficiency with bridges"
    rows = {_cell(row): row for row in results.last("proficiency_differences")}
    if not rows:
        reason = (
            "No held-out text was scored under both conditions, so transfer cannot be told from a "
            "model that merely became better at the language."
        )
        return Finding("proficiency", question, "", "cannot be said", reason)
    better = [cell for cell, row in rows.items() if row.high < 0]
    worse = [cell for cell, row in rows.items() if row.low > 0]
    verdicts = transfer_verdicts(study, results)
    moved = [_cell(row) for row in verdicts if row.verdict == "found"]
    both = _cells(study, (cell for cell in moved if cell in better))
    alone = _cells(study, (cell for cell in moved if cell in rows and cell not in better))
    result = (
        f"fewer bits per byte in the language asked in: {_of(better, rows)}, more: {len(worse)}, "
        f"not told apart: {len(rows) - len(better) - len(worse)}"
    )
    reason = f"Transfer that may be proficiency in part: {both}. " if both else ""
    reason += f"Transfer without better proficiency: {alone}." if alone else ""
    return Finding("proficiency", question, result, _share(better, rows), reason.strip())


def _scores(study: StudySpec, results: Results) -> Finding | None:
    """In which cells significance or sign depends on the score."""
    published = [row for row in results.score_transfers if row.counting == "published"]
    if not published:
        return None
    significant = [row for row in published if is_significant(study, row)]
    signs: dict[Cell, set[int]] = defaultdict(set)
    for row in published:
        signs[_cell(row)].add((row.transfer > 0) - (row.transfer < 0))
    times = Counter(map(_cell, significant))
    by_score = [sum(row.score == kind for row in significant) for kind in SCORE_TYPES]
    scores, one_sign = len(SCORE_TYPES), [sign for sign in signs.values() if sign in ({1}, {-1})]
    every = _cells(study, (cell for cell in signs if times[cell] == scores)) or "none"
    some = [f"{_cells(study, [c])} ({n} of {scores})" for c, n in times.items() if n < scores]
    result = (
        f"by one score {min(by_score)} to {max(by_score)} of {plural(len(signs), 'cell')} "
        f"significant; by all {scores}: {every}; by some: {listing(some) or 'none'}; transfer has "
        f"one sign by all in {_of(one_sign, signs)}"
    )
    question = f"Dependence on the score (here {SCORE_NAMES[study.evaluation.scoring]})"
    reason = "A cell that is significant by another score alone is a hint and no result."
    if not some:
        return Finding("score-types", question, result, "not found")
    return Finding("score-types", question, result, "found", reason)


def _ties(_: StudySpec, results: Results) -> Finding | None:
    """What ties, broken by the order of the options, are worth to an accuracy and to transfer."""
    if not results.ties:
        return None
    if not any(row.tied for row in results.ties):
        return Finding("ties", "Effect of ties", "there are none", "not found")
    most = max(results.ties, key=lambda row: abs(row.worth_against_wrong))
    changes = [
        abs(row.transfer - other.transfer)
        for counting in ("ties-wrong", "ties-shared")
        for row, other in zip(
            results.last("transfers", counting="published"),
            results.last("transfers", counting=counting),
            strict=True,
        )
    ]
    largest = round(100 * max(changes, default=most.worth_against_wrong), 1)
    result = f"a cell's transfer changes by at most {largest:.1f} points; " if changes else ""
    result += (
        f"most worth to an accuracy ({_at(most, most.accuracy)}): "
        f"{points(most.worth_against_wrong)} points against ties wrong, "
        f"{points(most.worth_against_shared)} against ties shared"
    )
    question = f"Effect of ties on {'transfer' if changes else 'accuracy'}"
    return Finding("ties", question, result, "found" if largest else "not found")


def _first_option(_: StudySpec, results: Results) -> Finding | None:
    """Whether questions whose right option is the first are answered rightly more often."""
    cells = [
        (
            row.accuracy_gold_first - row.accuracy_gold_elsewhere,
            math.hypot(row.standard_error_gold_first, row.standard_error_gold_elsewhere),
            row,
        )
        for row in results.ties
        if row.condition != "base"
    ]
    cells = [cell for cell in cells if not math.isnan(cell[0])]
    if not cells:
        return None
    above = [gap for gap, error, _ in cells if gap > STANDARD_ERRORS * error]
    below = [gap for gap, error, _ in cells if gap < -STANDARD_ERRORS * error]
    most = max(cells, key=lambda cell: abs(cell[0]))[2]
    result = (
        f"by two standard errors in {_of(above, cells)}, lower in {len(below)}; furthest apart "
        f"{_at(most, most.accuracy_gold_first)} against {percent(most.accuracy_gold_elsewhere)}"
    )
    reason = "Order itself acts through ties alone; the rest is in the texts of the options."
    question = "Higher accuracy where the right option is the first"
    return Finding("ties", question, result, _share(above, cells), reason)


def _seeds(_: StudySpec, results: Results) -> Finding | None:
    question = "Seeds of opposite signs"
    rows = results.headlines
    several = [row.seed_transfers for row in rows if len(row.seeds) > 1]
    if not rows:
        return None
    if not several:
        reason = "There is one seed, so nothing shows how much a repetition would differ."
        return Finding("transfer", question, "", "cannot be said", reason)
    opposed = [seeds for seeds in several if min(seeds) < 0 < max(seeds)]
    widest = 100 * max(max(seeds) - min(seeds) for seeds in several)
    result = f"in {_of(opposed, several)}; seeds are up to {widest:.1f} points apart"
    alone = (
        f"Intervals are over {results.units}; they do not contain the variation between trainings."
    )
    reason = "" if all(map(is_claim, rows)) else alone
    return Finding("transfer", question, result, _share(opposed, several), reason)


def _questions_alone(study: StudySpec, results: Results) -> Finding | None:
    """What a test over questions alone would have found, where there are trainings enough."""
    rows = [row for row in results.headlines if is_claim(row)]
    if not rows:
        return None
    level = significance_level(study)
    alone = [row for row in rows if row.question_p_holm < level]
    more = [row for row in alone if not is_significant(study, row)]
    result = f"significant over {results.units} alone: {_of(alone, rows)}"
    reason = (
        "These trainings differ there, and that is no effect of their condition: "
        f"{_cells(study, map(_cell, more))}."
        if more
        else ""
    )
    question = "Differences of these very trainings"
    return Finding("transfer", question, result, _share(alone, rows), reason)


def _consistency(study: StudySpec, results: Results) -> Finding | None:
    """Whether the two versions of a question are ranked alike, beyond what chance gives."""
    cells = [row for row in results.last("consistencies") if row.condition != "base"]
    if not cells:
        return None
    above = [row for row in cells if row.low > row.random]
    most = max(cells, key=lambda row: row.consistency - row.random)
    result = (
        f"RankC above unrelated rankings in {_of(above, cells)}; furthest "
        f"{names_of(study)[most.language]}, {condition_name(most.condition)}: "
        f"{decimal(most.consistency, 3)} against {decimal(most.random, 3)}"
    )
    reason = (
        "Options of like length in both languages are ranked alike without any knowledge, so a "
        "value above chance is no proof of knowledge that is shared."
    )
    question = "Consistency between the languages above chance"
    return Finding("consistency", question, result, _share(above, cells), reason)


def _forgetting(study: StudySpec, results: Results) -> Finding | None:
    base, changes = study.base_language, []
    for language in study.trial_languages:
        probe = probe_of("target-to-base", language.code, base.code)
        rows = [row for row in results.accuracies if row.probe == probe and row.seed is None]
        last = {row.condition: row.accuracy for row in rows}
        start = last.pop("base", None)
        changes += [
            f"{names_of(study)[language.code]} {condition_name(one)} {points(accuracy - start)}"
            for one, accuracy in last.items()
            if start is not None
        ]
    if not changes:
        return None
    result = f"accuracy on {base.name} questions, last minus base, in points: {', '.join(changes)}"
    return Finding("accuracy", "Forgetting", result, "measured")


def _cell(row: Row) -> Cell:
    return row.language, row.direction


def _share(some: Sized, cells: Sized) -> Verdict:
    return "found" if len(some) == len(cells) else "in part" if len(some) else "not found"


def _of(some: Sized, cells: Sized) -> str:
    return f"{len(some)} of {plural(len(cells), 'cell')}"


def _at(row: Row, accuracy: float) -> str:
    return f"{row.probe}, {condition_name(row.condition)}: {percent(accuracy)}"


def _cells(study: StudySpec, cells: Iterable[Cell]) -> str:
    base, names = study.base_language.name, names_of(study)
    return listing([direction_name(direction, base, names[code]) for code, direction in cells])
