"""Findings on how far the headline rests on how it is measured, in plain sentences.

Invariant: as for the other findings, a sentence says what its numbers say; where an interval
includes 0 it does not say that there is no difference.
"""

import math
from collections.abc import Sequence

from ccx_ray.analysis.measures.consistency import last_consistencies
from ccx_ray.analysis.measures.proficiency import ProficiencyDifferenceRow, last_differences
from ccx_ray.analysis.measures.results import Results
from ccx_ray.analysis.measures.score_types import ScoreTransferRow
from ccx_ray.analysis.measures.transfer import Direction, is_significant, last_rows
from ccx_ray.analysis.report.wording import (
    condition_name,
    decimal,
    direction_name,
    listing,
    percent,
    plural,
    score_name,
    short_name,
    signed,
)
from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.study.spec import StudySpec

STANDARD_ERRORS_APART = 2.0


def score_types(study: StudySpec, results: Results) -> list[str]:
    """In which cells significance or sign depends on the score."""
    cells: dict[tuple[str, Direction], list[ScoreTransferRow]] = {}
    for row in results.score_transfers:
        if row.counting == "published":
            cells.setdefault((row.language, row.direction), []).append(row)
    if not cells:
        return []
    found = {cell: sum(is_significant(study, row) for row in rows) for cell, rows in cells.items()}
    by_score = [
        sum(is_significant(study, row) for rows in cells.values() for row in rows if row.score == k)
        for k in SCORE_TYPES
    ]
    one_sign = sum(
        all(row.transfer > 0 for row in rows) or all(row.transfer < 0 for row in rows)
        for rows in cells.values()
    )
    some = [
        f"{_cell(study, cell)} ({count} of {len(SCORE_TYPES)})"
        for cell, count in found.items()
        if 0 < count < len(SCORE_TYPES)
    ]
    every = [_cell(study, cell) for cell, count in found.items() if count == len(SCORE_TYPES)]
    reach = (
        f"{min(by_score)}" if min(by_score) == max(by_score)
        else f"{min(by_score)} to {max(by_score)}"
    )  # fmt: skip
    return [
        f"Score types: the headline's score is {score_name(study.evaluation.scoring)}. Under each "
        f"of the {len(SCORE_TYPES)} scores by itself, {reach} of {plural(len(cells), 'cell')} "
        f"(language and direction) differ beyond chance. Under all of them: "
        f"{listing(every) or 'none'}; under some only: {listing(some) or 'none'}. Transfer has "
        f"one sign under all scores in {one_sign} of {plural(len(cells), 'cell')}."
    ]


def ties(study: StudySpec, results: Results) -> list[str]:
    """What broken ties are worth, to transfer and to an accuracy."""
    if not results.ties:
        return []
    most = max(results.ties, key=lambda row: abs(row.worth_against_wrong))
    if most.tied == 0 and not any(row.tied for row in results.ties):
        return ["Ties: there are none at the base or the last checkpoint."]
    worth = (
        f"They add at most {100 * most.worth_against_wrong:.1f} points to an accuracy, against "
        f"counting them as wrong ({most.probe}, {condition_name(most.condition)}), and "
        f"{100 * most.worth_against_shared:.1f} there against sharing them."
    )
    last = last_rows(results.transfers)
    changes = [
        abs(row.transfer - other.transfer)
        for counting in ("ties-wrong", "ties-shared")
        for row, other in zip(last, last_rows(results.transfers, counting), strict=True)
    ]
    if not changes:
        return [f"Ties: broken by the order of the options, as published. {worth}"]
    if round(100 * max(changes), 1) == 0:
        return [
            "Ties: they do not matter to transfer; counting them as wrong or sharing them changes "
            f"no cell by 0.1 points. {worth}"
        ]
    return [
        "Ties: broken by the order of the options, as published; counting them as wrong or "
        f"sharing them changes a cell's transfer by at most {100 * max(changes):.1f} points. "
        f"{worth}"
    ]


def positions(results: Results) -> list[str]:
    """Whether questions whose right option is the first are answered rightly more often."""
    cells = [
        row
        for row in results.ties
        if row.condition != "base"
        and not math.isnan(row.accuracy_gold_first + row.accuracy_gold_elsewhere)
    ]
    if not cells:
        return []
    gaps = [row.accuracy_gold_first - row.accuracy_gold_elsewhere for row in cells]
    errors = [
        math.hypot(row.standard_error_gold_first, row.standard_error_gold_elsewhere)
        for row in cells
    ]
    above = sum(g > STANDARD_ERRORS_APART * e for g, e in zip(gaps, errors, strict=True))
    below = sum(g < -STANDARD_ERRORS_APART * e for g, e in zip(gaps, errors, strict=True))
    most = cells[max(range(len(cells)), key=lambda cell: abs(gaps[cell]))]
    return [
        f"Position: at the last checkpoint {above} of {plural(len(cells), 'cell')} (probe and "
        "condition) have a higher accuracy, by two standard errors, where the right option is the "
        f"first than where it is not, and {below} a lower one; furthest apart is {most.probe} "
        f"under {condition_name(most.condition)}: {percent(most.accuracy_gold_first)} against "
        f"{percent(most.accuracy_gold_elsewhere)}. Options are scored one by one, so their order "
        "itself acts through ties alone; the rest is in their texts."
    ]


def proficiency(study: StudySpec, results: Results) -> list[str]:
    """Whether bridge models are better at the languages, where they are better at questions."""
    cells = last_differences(results.proficiency_differences)
    if not cells:
        return []
    better = [row for row in cells if row.high < 0]
    worse = [row for row in cells if row.low > 0]
    unclear = len(cells) - len(better) - len(worse)
    stated = (
        "Proficiency: on held-out text of the language that is asked in, bridge needs fewer bits a "
        f"byte than no-bridge in {len(better)} of {plural(len(cells), 'cell')}"
        f"{_differences(study, better)}, more in {len(worse)}{_differences(study, worse)}, and "
        f"{unclear} cannot be told apart ({study.analysis.confidence:.0%} intervals over "
        "documents)."
    )
    improved = {(row.language, row.direction) for row in better}
    measured = {(row.language, row.direction) for row in cells}
    moved = [
        (row.language, row.direction)
        for row in last_rows(results.transfers)
        if is_significant(study, row) and row.transfer > 0
    ]
    both = [_cell(study, cell) for cell in moved if cell in improved]
    alone = [_cell(study, cell) for cell in moved if cell in measured - improved]
    if both:
        stated += f" Significant transfer that may be proficiency in part: {listing(both)}."
    if alone:
        stated += f" Significant transfer without better proficiency: {listing(alone)}."
    return [stated]


def _differences(study: StudySpec, rows: Sequence[ProficiencyDifferenceRow]) -> str:
    described = [
        f"{_cell(study, (row.language, row.direction))} {signed(row.difference, 3)}" for row in rows
    ]
    return f" ({listing(described)})" if described else ""


def _cell(study: StudySpec, cell: tuple[str, Direction]) -> str:
    language, direction = cell
    name = short_name(study.language(language))
    return direction_name(direction, study.base_language.name, name)


def consistency(study: StudySpec, results: Results) -> list[str]:
    """Whether the two versions of a question are ranked alike, beyond what chance gives."""
    cells = [row for row in last_consistencies(results.consistencies) if row.condition != "base"]
    if not cells:
        return []
    above = [row for row in cells if row.low > row.random]
    most = max(cells, key=lambda row: row.consistency - row.random)
    return [
        f"Consistency: RankC between the {study.base_language.name} and the target version of the "
        f"questions is above that of unrelated rankings in {len(above)} of "
        f"{plural(len(cells), 'cell')} (language and condition; {study.analysis.confidence:.0%} "
        f"intervals over questions); furthest for "
        f"{short_name(study.language(most.language))} under "
        f"{condition_name(most.condition)}: {decimal(most.consistency, 3)} against "
        f"{decimal(most.random, 3)}. Options of like length in both languages are ranked alike "
        "without any knowledge, so a value above chance is no proof of knowledge that is shared."
    ]
