"""Findings on frequency, exposure and what transfers, in plain sentences.

Invariant: as for the other findings, a sentence never says more than its test does; a model that
cannot be estimated has its reason in the place of a number.
"""

import math
from collections.abc import Sequence

from ccx_ray.analysis.measures.exposure_effect import ExposureRow, last_exposures
from ccx_ray.analysis.measures.question_transfer import POOLED
from ccx_ray.analysis.measures.results import Results
from ccx_ray.analysis.measures.transfer import significance_level
from ccx_ray.analysis.measures.transfer_model import (
    PREDICTORS,
    ModelTermRow,
    Predictor,
    frequency_term,
)
from ccx_ray.analysis.measures.validation_facts import own_planted
from ccx_ray.analysis.report.paper import OCCURRENCES
from ccx_ray.analysis.report.wording import (
    PREDICTOR_NAMES,
    average,
    average_bounds,
    bounds,
    correlation,
    correlation_bounds,
    decimal,
    direction_name,
    listing,
    p_phrase,
    percent,
    plural,
    ratio,
    ratio_bounds,
    short_name,
)
from ccx_ray.study.spec import StudySpec

FEW_FOUND = 10
"""Questions; a ratio that hangs on fewer is called unknown, whatever its interval."""


def frequency_findings(study: StudySpec, results: Results) -> list[str]:
    """What is known of frequency, most important first."""
    if not results.densities and not results.exposures:
        return ["Frequency: it was not estimated, so it cannot be set against transfer."]
    return [
        *_densities(study, results),
        *_occurrences(study, results),
        *_exposures(study, results),
        *_models(study, results),
        *_trust(study, results),
    ]


def _densities(study: StudySpec, results: Results) -> list[str]:
    rows = results.densities
    if not rows:
        return []
    names = {row.culture: short_name(study.language(row.culture)) for row in rows}

    def described(some: Sequence[str]) -> str:
        ratios = {row.culture: row for row in rows}
        return listing(
            [
                f"{names[one]} {ratio(ratios[one].ratio)} "
                f"({ratio_bounds(ratios[one].ratio_low, ratios[one].ratio_high)})"
                for one in some
            ]
        )

    few = [row.culture for row in rows if min(row.base_found, row.target_found) < FEW_FOUND]
    enough = [row for row in rows if row.culture not in few]
    denser = [row.culture for row in enough if row.ratio_low > 1]
    sparser = [row.culture for row in enough if row.ratio_high < 1]
    told = (*denser, *sparser)
    open_cases = [row.culture for row in enough if row.culture not in told]
    stated = [
        f"higher in {described(denser)}" if denser else "",
        f"lower in {described(sparser)}" if sparser else "",
        f"not told from equal in {listing([names[one] for one in open_cases])}"
        if open_cases
        else "",
        f"not known in {listing([names[one] for one in few])}, where fewer than {FEW_FOUND} "
        "questions are found in one of the two"
        if few
        else "",
    ]
    intervals = f" ({study.analysis.confidence:.0%} intervals over questions)" if told else ""
    return [
        f"Density: the estimated cultural density of the target corpus over that of the "
        f"{study.base_language.name} one is {'; '.join(filter(None, stated))}{intervals}."
    ]


def _occurrences(study: StudySpec, results: Results) -> list[str]:
    level = significance_level(study)
    stated = []
    for row in (row for row in results.occurrences if row.culture == POOLED):
        heading = f"Frequency, {direction_name(row.direction, study.base_language.name, 'target')}"
        if not 0 < row.transferred < row.questions:
            which = "no item" if not row.transferred else "every item"
            stated.append(f"{heading}: {which} transferred, so there is nothing to compare.")
            continue
        if not row.mean_all:
            stated.append(
                f"{heading}: nothing was found of any of {plural(row.questions, 'item')}, so there "
                "is nothing to compare."
            )
            continue
        verdict = (
            ""
            if row.p_value < level
            else " Items drawn at random differ as much, so this is no sign of an effect."
        )
        stated.append(
            f"{heading}: transferred items occur {average(row.mean_transferred)} times on average "
            f"({average_bounds(row.transferred_low, row.transferred_high)}), all items "
            f"{average(row.mean_all)} times ({p_phrase(row.p_value)}; {row.transferred:,} of "
            f"{row.questions:,} items).{verdict} The paper: {OCCURRENCES[row.direction][0]} and "
            f"{OCCURRENCES[row.direction][1]}."
        )
    return stated


def _exposures(study: StudySpec, results: Results) -> list[str]:
    stated = []
    for row in last_exposures(results.exposures):
        if (row.culture, row.measure) == (POOLED, "exposure"):
            heading = direction_name(row.direction, study.base_language.name, "target")
            stated.append(f"Exposure, {heading}: {_exposure(row)}")
    return stated


def _exposure(row: ExposureRow) -> str:
    if not row.exposed:
        return (
            f"no evidence of any of {plural(row.questions, 'item')} was read up to step "
            f"{row.step:,}, so exposure cannot be set against transfer."
        )
    if math.isnan(row.correlation):
        return (
            f"evidence of {row.exposed:,} of {plural(row.questions, 'item')} was read up to step "
            f"{row.step:,}: too few, or too few that transfer otherwise than the rest, for a "
            "correlation."
        )
    found = (
        f"up to step {row.step:,} the evidence of transferred items was read "
        f"{average(row.mean_transferred)} times on average, that of all items "
        f"{average(row.mean_all)} times ({p_phrase(row.p_value)}); {row.exposed:,} of "
        f"{row.questions:,} items were read of at all. The rank correlation of exposure with "
        f"transfer is {correlation(row.correlation)} "
        f"({correlation_bounds(row.correlation_low, row.correlation_high)})"
    )
    if row.correlation_low <= 0 <= row.correlation_high:
        return f"{found}, which is not told from none."
    return f"{found}."


def _models(study: StudySpec, results: Results) -> list[str]:
    fitted = {fit.predictor for fit in results.model_fits}
    return [
        f"Model of transfer, {PREDICTOR_NAMES[predictor]}: {_model(study, results, predictor)}"
        for predictor in PREDICTORS
        if predictor in fitted
    ]


def _model(study: StudySpec, results: Results, predictor: Predictor) -> str:
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
        return f"it cannot be estimated: {problems[False]}."
    effect = f"a doubling multiplies the odds of transfer by {_odds(plain)}"
    if fixed is None:
        return (
            f"{effect}. With the lengths of sentence and answer it cannot be estimated "
            f"({problems[True]}), so length may stand behind this."
        )
    effect += f", and by {_odds(fixed)} with the lengths of sentence and answer held fixed."
    if fixed.p_value >= level:
        verdict = (
            "With the lengths held fixed no effect is told from none, so length may be what is "
            "behind the first."
            if plain.p_value < level
            else "Neither is told from no effect."
        )
    elif placebo is None:
        verdict = "The effect is not explained by length. The placebo cannot be estimated."
    elif placebo.p_value < level and (placebo.coefficient > 0) == (fixed.coefficient > 0):
        verdict = (
            f"The odds to be answered worse under bridge change in the same way, by "
            f"{_odds(placebo)}, so this may be of answers that vary more, not of transfer."
        )
    else:
        verdict = (
            "The effect is not explained by length, and there is none like it on the odds to be "
            f"answered worse under bridge: {_odds(placebo)}."
        )
    return f"{effect} {verdict}"


def _odds(row: ModelTermRow) -> str:
    return (
        f"{decimal(row.odds_ratio)} ({bounds(row.odds_low, row.odds_high)}; "
        f"{p_phrase(row.p_value)})"
    )


def _trust(study: StudySpec, results: Results) -> list[str]:
    own, stated = study.frequency.retriever_name, []
    names = {one.code: short_name(one) for one in (study.base_language, *study.languages)}
    recalls = [row for row in results.recalls if row.retriever == own and row.recall is not None]
    if recalls:
        reachable = sum(row.reachable for row in recalls)
        worst = min(recalls, key=lambda row: row.recall or 0.0)
        stated.append(
            f"the retriever ({own}) brings {percent(sum(r.found for r in recalls) / reachable, 0)} "
            f"of {reachable:,} reachable documents that the lexical judge accepts, and least, "
            f"{percent(worst.recall, 0)} of {worst.reachable:,}, for {names[worst.culture]} "
            f"questions in {names[worst.corpus]} text"
        )
    ranks = own_planted(study.frequency, results.planted_ranks, results.validation)
    known = [row.correlation for row in ranks if not math.isnan(row.correlation)]
    if known:
        reach = " to ".join(dict.fromkeys((correlation(min(known)), correlation(max(known)))))
        stated.append(f"planted facts are ranked with a correlation of {reach} with the truth")
    reviews = [
        row for row in results.reviews if row.culture == POOLED and row.precision is not None
    ]
    if reviews:
        shares = listing([f"{percent(row.precision, 0)} in {names[row.corpus]}" for row in reviews])
        stated.append(f"of what the judge accepts, people accept {shares}")
    return [f"Trust in the frequencies: {'; '.join(stated)}."] if stated else []
