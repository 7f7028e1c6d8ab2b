"""What a run can and cannot say, computed from its size, its data and its design.

Invariant: a limit is stated where its cause holds in this run; none is boilerplate for all runs.
"""

from ccx_ray.analysis.measures.results import Results
from ccx_ray.analysis.measures.transfer import last_rows
from ccx_ray.analysis.report.frequency_limits import frequency_limits
from ccx_ray.analysis.report.wording import amount, listing, plural, score_name, short_name
from ccx_ray.study.spec import StudySpec

PAPER_PARAMETERS = 494_032_768
PAPER_BASE_TOKENS = 5e9
PAPER_TRIAL_TOKENS = 1_500 * 0.5e6
TINY_PARAMETERS = 100e6
"""Below this and on so little text, cloze accuracies have shown nothing but guessing."""
FEW_HELD_OUT = 20
"""Documents below which a percentile bootstrap over them is known to be too narrow."""


def limits(study: StudySpec, results: Results) -> list[str]:
    """The limits, most important first."""
    return [
        *_size(results),
        *_resolution(study, results),
        *_measure(study, results),
        *_proficiency(study, results),
        *_seeds(study),
        *_data(study),
        *frequency_limits(study, results),
        *_missing(results),
    ]


def _size(results: Results) -> list[str]:
    facts = results.facts
    a_trial = facts.trial_tokens / facts.trials_trained if facts.trials_trained else 0
    compared = (
        f"Size: the model has {amount(facts.parameters)} parameters and saw "
        f"{amount(facts.base_tokens)} tokens as base and {amount(a_trial)} in each trial. "
        f"The paper's has {amount(PAPER_PARAMETERS)}, {amount(PAPER_BASE_TOKENS)} and "
        f"{amount(PAPER_TRIAL_TOKENS)}."
    )
    if facts.parameters >= TINY_PARAMETERS:
        return [compared]
    return [
        compared + " A model this small, trained on this little text, holds next to no facts: "
        "accuracies near chance or near the first-option rule carry no knowledge. This run shows "
        "that the experiment works from end to end; it says nothing about language models."
    ]


def _resolution(study: StudySpec, results: Results) -> list[str]:
    last = last_rows(results.transfers)
    if not last:
        return []
    halves = [50 * (row.high - row.low) for row in last]
    asked = [row.questions for row in last]
    return [
        f"Resolution: with {min(asked)} to {max(asked)} questions a cell, the "
        f"{study.analysis.confidence:.0%} intervals are {min(halves):.1f} to {max(halves):.1f} "
        "points wide on either side: smaller transfers cannot be told from none."
    ]


def _measure(study: StudySpec, results: Results) -> list[str]:
    """Departures from the published evaluation that the study file asks for."""
    stated = []
    scoring, exclude = study.evaluation.scoring, study.evaluation.exclude
    if scoring != "reference":
        stated.append(
            f"Score: options are compared by {score_name(scoring)}, not by the published scorer's "
            "rule, so accuracies and transfers are not comparable with the paper's."
        )
    if exclude:
        taken = [f"{row.left_out} of {row.asked} in {row.probe}" for row in results.probes]
        stated.append(
            f"Left out: questions with {listing([kind.replace('_', ' ') for kind in exclude])} are "
            f"in no accuracy and no transfer ({listing(taken)}). Densities are of all questions."
        )
    return stated


def _proficiency(study: StudySpec, results: Results) -> list[str]:
    documents = {row.text: row.documents for row in results.proficiency_differences}
    if not documents:
        return [
            "Proficiency: no held-out text was scored under both conditions, so transfer cannot be "
            "told from a model that merely became better at the language."
        ]
    names = {lang.code: short_name(lang) for lang in (study.base_language, *study.languages)}
    few = [f"{names[code]} {count}" for code, count in documents.items() if count < FEW_HELD_OUT]
    if not few:
        return []
    return [
        f"Held-out text: fewer than {FEW_HELD_OUT} documents in some languages ({listing(few)}), "
        "so the intervals of proficiency over documents are rough there."
    ]


def _seeds(study: StudySpec) -> list[str]:
    seeds = plural(len(study.trials.seeds), "seed")
    return [
        f"Seeds: each condition was trained with {seeds}. The tests generalise over questions "
        "like these, for these trained models; how another training would come out is only hinted "
        "at by the spread of the seeds."
    ]


def _data(study: StudySpec) -> list[str]:
    return [
        f"{short_name(language)} text: {' '.join(language.note.split())}"
        for language in (study.base_language, *study.trial_languages)
        if language.note.strip()
    ]


def _missing(results: Results) -> list[str]:
    if not results.missing_trials:
        return []
    return [f"Missing trials, not evaluated and in no result: {listing(results.missing_trials)}."]
