"""The findings in plain sentences, each made of the numbers and of their uncertainty.

Invariant: a sentence never says more than its test does. "Not significant" is reported with the
interval of what remains possible, and accuracies no better than guessing are called that.
"""

from collections.abc import Sequence

from ccx_ray.analysis.measures.results import Results
from ccx_ray.analysis.measures.transfer import (
    DIRECTIONS,
    Direction,
    TransferRow,
    is_significant,
    last_rows,
    probe_of,
    significance_level,
)
from ccx_ray.analysis.report.frequency_findings import frequency_findings
from ccx_ray.analysis.report.paper import SIGNIFICANT
from ccx_ray.analysis.report.robustness import (
    consistency,
    positions,
    proficiency,
    score_types,
    ties,
)
from ccx_ray.analysis.report.wording import (
    direction_name,
    interval,
    listing,
    p_phrase,
    percent,
    plural,
    points,
    short_name,
)
from ccx_ray.study.spec import StudySpec

STANDARD_ERRORS_ABOVE_GUESSING = 2.0


def findings(study: StudySpec, results: Results) -> list[str]:
    """The headline, most important first."""
    last = last_rows(results.transfers)
    if not last:
        return [
            "Transfer: it cannot be computed, because no language was trained and evaluated under "
            "both conditions with the same seed.",
            *_knowledge(study, results),
            *ties(study, results),
            *positions(results),
            *consistency(study, results),
            *frequency_findings(study, results),
            *_forgetting(study, results),
        ]
    return [
        *(_transfer(study, direction, last) for direction in DIRECTIONS),
        *_agreement(study, last),
        *_knowledge(study, results),
        *proficiency(study, results),
        *score_types(study, results),
        *ties(study, results),
        *positions(results),
        *_seeds(last),
        *consistency(study, results),
        *frequency_findings(study, results),
        *_forgetting(study, results),
    ]


def _transfer(study: StudySpec, direction: Direction, last: Sequence[TransferRow]) -> str:
    cells = [row for row in last if row.direction == direction]
    heading = direction_name(direction, study.base_language.name, "target")
    found = [row for row in cells if is_significant(study, row)]
    level = f"Holm-adjusted p below {significance_level(study):g}"
    if not found:
        reach = interval(min(row.low for row in cells), max(row.high for row in cells))
        return (
            f"{heading}: bridge and no-bridge do not differ beyond chance in any of "
            f"{plural(len(cells), 'language')} ({level}). That is no proof of no transfer: the "
            f"{study.analysis.confidence:.0%} intervals together run from {reach} points."
        )
    described = [
        f"{_name(study, row.language)} {points(row.transfer)} points "
        f"({interval(row.low, row.high)}; {p_phrase(row.p_holm)}, {row.questions} questions)"
        for row in found
    ]
    worse = [_name(study, row.language) for row in found if row.transfer < 0]
    sign = f" In {listing(worse)} the bridge makes the answers worse, not better." if worse else ""
    return (
        f"{heading}: bridge and no-bridge differ beyond chance in {len(found)} of "
        f"{plural(len(cells), 'language')} ({level}): {listing(described)}.{sign}"
    )


def _agreement(study: StudySpec, last: Sequence[TransferRow]) -> list[str]:
    known = [row for row in last if (row.language, row.direction) in SIGNIFICANT]
    if not known:
        return []
    same = sum(
        (is_significant(study, row) and row.transfer > 0)
        == SIGNIFICANT[row.language, row.direction]
        for row in known
    )
    return [
        f"Beside the paper: whether positive transfer is significant agrees in {same} of "
        f"{plural(len(known), 'cell')} of its first table. Cells that agree because nothing was "
        "detected are weak agreement."
    ]


def _knowledge(study: StudySpec, results: Results) -> list[str]:
    """Whether any accuracy is better than what a model without knowledge gets."""
    guessing = {row.probe: max(row.chance, row.first_option_accuracy) for row in results.probes}
    steps: dict[str, int] = {}
    for row in results.accuracies:
        steps[row.probe] = max(row.step, steps.get(row.probe, 0))
    cells = [
        row
        for row in results.accuracies
        if row.seed is None and row.condition != "base" and row.step == steps[row.probe]
    ]
    above = [
        row
        for row in cells
        if row.accuracy > guessing[row.probe] + STANDARD_ERRORS_ABOVE_GUESSING * row.standard_error
    ]
    if not cells:
        return []
    if not above:
        return [
            f"Knowledge: no sign of it. In none of {plural(len(cells), 'cell')} (probe and "
            "condition) at the last checkpoint is the accuracy two standard errors above both "
            "chance and the rule to always choose the first option. A difference between the "
            "conditions is then one between ways of guessing."
        ]
    best = max(above, key=lambda row: row.accuracy - guessing[row.probe])
    return [
        "Knowledge: accuracy is two standard errors above both chance and the first-option rule "
        f"in {len(above)} of {plural(len(cells), 'cell')} (probe and condition) at the last "
        f"checkpoint; furthest on {best.probe} under {best.condition}: {percent(best.accuracy)} "
        f"against {percent(guessing[best.probe])}."
    ]


def _seeds(last: Sequence[TransferRow]) -> list[str]:
    several = [row for row in last if len(row.seeds) > 1]
    if not several:
        return ["Seeds: there is one, so nothing here shows how much a repetition would differ."]
    opposed = sum(min(row.seed_transfers) < 0 < max(row.seed_transfers) for row in several)
    widest = max(max(row.seed_transfers) - min(row.seed_transfers) for row in several)
    return [
        f"Seeds: their transfers have opposite signs in {opposed} of "
        f"{plural(len(several), 'cell')} and lie up to {100 * widest:.1f} points apart. The "
        "intervals are over questions; they do not contain the variation between trainings."
    ]


def _forgetting(study: StudySpec, results: Results) -> list[str]:
    base = study.base_language
    described = []
    for language in study.trial_languages:
        probe = probe_of("target-to-base", language.code, base.code)
        rows = [row for row in results.accuracies if row.probe == probe and row.seed is None]
        start = [row for row in rows if row.condition == "base"]
        end = {row.condition: row for row in rows if row.condition != "base"}
        if start and end:
            changes = ", ".join(
                f"{'bridge' if condition == 'bridge' else 'no-bridge'} "
                f"{points(row.accuracy - start[0].accuracy)}"
                for condition, row in end.items()
            )
            described.append(f"{short_name(language)} {changes}")
    if not described:
        return []
    return [
        f"Forgetting: accuracy on the {base.name} questions from the base to the last checkpoint, "
        f"in points: {'; '.join(described)}."
    ]


def _name(study: StudySpec, code: str) -> str:
    return short_name(study.language(code))
