"""Findings on frequency, exposure and the model of transfer, and on errors of the estimate.

Invariant: as for the other findings, a verdict never says more than its test does; what cannot be
estimated has its reason in the place of a number.
"""

import math
from collections.abc import Iterator

from ccx_ray.analysis.measures.frequency import POOLED
from ccx_ray.analysis.measures.run_facts import own_planted
from ccx_ray.analysis.measures.signatures import LOW_RECALL
from ccx_ray.analysis.measures.transfer import significance_level
from ccx_ray.analysis.measures.transfer_model import PREDICTORS, Predictor, frequency_term
from ccx_ray.analysis.report.findings import Finding, Verdict
from ccx_ray.analysis.report.paper import OCCURRENCES
from ccx_ray.analysis.tables import Results, Row
from ccx_ray.analysis.wording import (
    PREDICTOR_NAMES,
    average,
    correlation,
    decimal,
    direction_name,
    listing,
    names_of,
    p_phrase,
    percent,
    plural,
    ratio,
    span,
)
from ccx_ray.study.spec import StudySpec

FEW_FOUND = 10
"""Questions; a ratio that hangs on fewer is called unknown, whatever its interval."""


def frequency_findings(study: StudySpec, results: Results) -> Iterator[Finding]:
    """What is known of frequency, exposure, the model and the estimate, in this order."""
    if not results.densities:
        reason = "It was not estimated, so nothing is said about the frequency hypothesis."
        yield Finding("frequency", "Frequency", "", "cannot be said", reason)
    yield from (_density(study, row) for row in results.densities)
    yield from (_occurrences(study, row) for row in results.occurrences if row.culture == POOLED)
    yield from _exposures(study, results)
    fitted = {fit.predictor for fit in results.model_fits}
    yield from (_model(study, results, one) for one in PREDICTORS if one in fitted)
    if results.densities:
        yield from _validation(study, results)


def _density(study: StudySpec, row: Row) -> Finding:
    name, base = names_of(study)[row.culture], study.base_language.name
    question = f"Higher density in the {name} corpus than in the {base} one"
    result = f"ratio {ratio(row.ratio)} ({span(row.ratio_low, row.ratio_high, ratio)})"
    if min(row.base_found, row.target_found) < FEW_FOUND:
        reason = f"Fewer than {FEW_FOUND} questions are found in one of the two."
        return Finding("frequency", question, result, "cannot be said", reason)
    if row.ratio_low > 1:
        return Finding("frequency", question, result, "found")
    if row.ratio_high < 1:
        return Finding("frequency", question, result, "the opposite")
    return Finding("frequency", question, result, "not found", "Not told from equal.")


def _occurrences(study: StudySpec, row: Row) -> Finding:
    direction = direction_name(row.direction, study.base_language.name, "target")
    question = f"More occurrences of transferred items, {direction}"
    paper, items = OCCURRENCES[row.direction], plural(row.questions, "item")
    result = (
        f"mean {average(row.mean_transferred)} "
        f"({span(row.transferred_low, row.transferred_high, average)}) against "
        f"{average(row.mean_all)} of all; {p_phrase(row.p_value)}; {row.transferred:,} of {items}; "
        f"the paper: {paper[0]} and {paper[1]}"
    )
    if not 0 < row.transferred < row.questions:
        which = "No item" if not row.transferred else "Every item"
        reason = f"{which} transferred, so there is nothing to compare."
    elif not row.mean_all:
        reason = f"Nothing was found of any of {items}, so there is nothing to compare."
    elif row.p_value < significance_level(study):
        more = row.mean_transferred > row.mean_all
        return Finding("frequency", question, result, "found" if more else "the opposite")
    else:
        reason = "Items drawn at random differ as much, so this is no sign of an effect."
        return Finding("frequency", question, result, "not found", reason)
    return Finding("frequency", question, result, "cannot be said", reason)


def _exposures(study: StudySpec, results: Results) -> Iterator[Finding]:
    yield from (
        _exposure(study, row)
        for row in results.last("exposures", culture=POOLED, measure="exposure")
    )
    known = {row.culture for row in results.exposures}
    missing = {
        names_of(study)[row.language] for row in results.transfers if row.language not in known
    }
    if missing and results.densities:
        question = f"Correlation of exposure with transfer, {listing(sorted(missing))}"
        reason = "What the trainings showed of each question's evidence was not computed."
        yield Finding("exposure", question, "", "cannot be said", reason)


def _exposure(study: StudySpec, row: Row) -> Finding:
    direction = direction_name(row.direction, study.base_language.name, "target")
    question = f"Correlation of exposure with transfer, {direction}"
    items, (low, high) = plural(row.questions, "item"), (row.correlation_low, row.correlation_high)
    result = f"evidence of {row.exposed:,} of {items} was read up to step {row.step:,}"
    if not row.exposed or math.isnan(row.correlation):
        reason = "Too few, or too few that transfer otherwise than the rest, for a correlation."
        reason = reason if row.exposed else "No evidence was read."
        return Finding("exposure", question, result, "cannot be said", reason)
    result += (
        f", on average {average(row.mean_transferred)} times of transferred items and "
        f"{average(row.mean_all)} of all ({p_phrase(row.p_value)}); rank correlation "
        f"{correlation(row.correlation)} ({span(low, high, correlation)})"
    )
    if low <= 0 <= high:
        return Finding("exposure", question, result, "not found", "Not told from none.")
    return Finding("exposure", question, result, "found" if low > 0 else "the opposite")


def _model(study: StudySpec, results: Results, predictor: Predictor) -> Finding:
    """Whether frequency goes with transfer, lengths held fixed and unlike in the placebo."""
    section, question = "transfer-model", f"Effect of {PREDICTOR_NAMES[predictor]}"
    terms, level = results.model_terms, significance_level(study)
    plain = frequency_term(terms, predictor, "transferred", lengths=False)
    fixed = frequency_term(terms, predictor, "transferred", lengths=True)
    placebo = frequency_term(terms, predictor, "worse", lengths=True)
    problems = {
        fit.lengths: fit.problem
        for fit in results.model_fits
        if (fit.predictor, fit.outcome) == (predictor, "transferred")
    }
    if plain is None:
        reason = f"It cannot be estimated: {problems[False]}."
        return Finding(section, question, "", "cannot be said", reason)
    result = f"odds ratio of a doubling {_odds(plain)}"
    if fixed is None:
        reason = (
            "With the lengths of sentence and answer it cannot be estimated "
            f"({problems[True]}), so length may stand behind this."
        )
        return Finding(section, question, result, "cannot be said", reason)
    result += f"; lengths held fixed {_odds(fixed)}"
    result += f"; placebo {_odds(placebo)}" if placebo else ""
    if fixed.p_value >= level:
        reason = "Not told from no effect."
        if plain.p_value < level:
            reason = "Length may be what is behind the first: held fixed, no effect is told."
        return Finding(section, question, result, "not found", reason)
    if placebo and placebo.p_value < level and (placebo.coefficient > 0) == (fixed.coefficient > 0):
        reason = (
            "The odds to be answered worse under bridge (placebo) change in the same way, so this "
            "may be of answers that vary more, not of transfer."
        )
        return Finding(section, question, result, "cannot be said", reason)
    reason = "Not explained by length; " + (
        "none like it in the placebo." if placebo else "the placebo cannot be estimated."
    )
    verdict: Verdict = "found" if fixed.coefficient > 0 else "the opposite"
    return Finding(section, question, result, verdict, reason)


def _odds(row: Row) -> str:
    interval = span(row.odds_low, row.odds_high)
    return f"{decimal(row.odds_ratio)} ({interval}; {p_phrase(row.p_value)})"


def _validation(study: StudySpec, results: Results) -> Iterator[Finding]:
    """How well the estimate of frequency does against the scan, planted facts and people."""
    section, own, names = "validation", study.frequency.retriever_name, names_of(study)
    recalls = [
        (row.recall, row)
        for row in results.recalls
        if row.retriever == own and row.recall is not None
    ]
    ranks = own_planted(study.frequency, results, "planted_ranks")
    known = [row.correlation for row in ranks if not math.isnan(row.correlation)]
    reviews = [
        f"{percent(row.precision, 0)} in {names[row.corpus]}"
        for row in results.reviews
        if row.culture == POOLED and row.precision is not None
    ]
    if not results.validated:
        question = "Errors of the frequency estimate"
        reason = "It was not tested: nothing is known of what retrieval and judge miss or invent."
        yield Finding(section, question, "", "cannot be said", reason)
    if recalls:
        reachable = sum(row.reachable for _, row in recalls)
        at = {
            f"{names[row.culture]} questions in {names[row.corpus]} text": recall
            for recall, row in recalls
        }
        low = [f"{place} {percent(x, 0)}" for place, x in at.items() if x < LOW_RECALL]
        least = min(at, key=at.__getitem__)
        result = (
            f"{percent(sum(row.found for _, row in recalls) / reachable, 0)} of {reachable:,} "
            f"reachable documents that the lexical judge accepts; least {percent(at[least], 0)} "
            f"({least})"
        )
        missed = percent(1 - LOW_RECALL, 0)
        reason = f"Occurrences are too few where more than {missed} are missed: {listing(low)}."
        question = f"Recall of the retriever ({own})"
        yield Finding(section, question, result, "measured", reason if low else "")
    if known:
        reach = " to ".join(dict.fromkeys((correlation(min(known)), correlation(max(known)))))
        result = f"rank correlation with the truth {reach}"
        yield Finding(section, "Ranks of planted facts", result, "measured")
    question = "Precision of the judge, by people"
    if reviews:
        result = f"of what the judge accepts, people accept {listing(reviews)}"
        yield Finding(section, question, result, "measured")
    elif results.validated and not results.reviews:
        reason = (
            "Nobody has read what the judge accepts and refuses, so its errors are unknown beside "
            "other judges and planted facts. How to make a review: python "
            f"jobs/validate_frequency.py --study {study.name} --export DIR"
        )
        yield Finding(section, question, "", "cannot be said", reason)
