"""The limits of a run, computed from its size, its data and its design.

Invariant: a limit is stated where its cause holds in this run; none is boilerplate for all runs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ccx_ray.analysis.crossed import FEWEST_TRAININGS
from ccx_ray.analysis.measures.transfer import interval_of
from ccx_ray.analysis.report.answer import no_claim
from ccx_ray.analysis.tables import Results, Row
from ccx_ray.analysis.wording import SCORE_NAMES, amount, listing, names_of, plural, short_name
from ccx_ray.study.spec import StudySpec

PAPER_PARAMETERS = 494_032_768
PAPER_BASE_TOKENS = 5e9
PAPER_TRIAL_TOKENS = 1_500 * 0.5e6
TINY_PARAMETERS = 100e6
"""Below this and on so little text, cloze accuracies have shown nothing but guessing."""
TINY = (
    "A model this small, trained on this little text, holds next to no facts: accuracies near "
    "chance or the first-option rule carry no knowledge. This run shows that the experiment works "
    "from end to end; it says nothing about language models."
)
PLANTED = (
    "What a model this small holds of the planted facts is measured (learnt, at the top). This run "
    "shows what the experiment can find; it says nothing about language models or natural text."
)
FEW_HELD_OUT = 20
"""Documents below which a percentile bootstrap over them is known to be too narrow."""
FEW_DOCUMENTS = 1_000
RETRIEVERS = {
    "vectors": "vectors of the {} embedder",
    "bm25": "BM25",
    "hybrid": "BM25 and vectors of the {} embedder together",
}


@dataclass(frozen=True)
class Limit:
    """A row of the table of limits."""

    limit: str
    here: str
    """What it is in this run."""
    consequence: str = ""
    """What cannot be concluded for it."""


def limits(study: StudySpec, results: Results) -> Iterator[Limit]:
    """The limits that hold in this run, most important first."""
    facts, names = results.facts, names_of(study)
    last = results.last("transfers", counting="published")
    a_trial = facts.trial_tokens / facts.trials_trained if facts.trials_trained else 0
    scoring, exclude = study.evaluation.scoring, study.evaluation.exclude
    yield Limit(
        "Size",
        f"{amount(facts.parameters)} parameters, {amount(facts.base_tokens)} tokens as base, "
        f"{amount(a_trial)} in each trial; the paper: {amount(PAPER_PARAMETERS)}, "
        f"{amount(PAPER_BASE_TOKENS)}, {amount(PAPER_TRIAL_TOKENS)}",
        "" if facts.parameters >= TINY_PARAMETERS else PLANTED if study.world else TINY,
    )
    if last:
        halves = [50 * (high - low) for low, high in map(interval_of, last)]
        asked = [row.questions for row in last]
        here = (
            f"{min(asked)} to {max(asked)} questions a cell{_in_clusters(last)}; "
            f"{study.analysis.confidence:.0%} intervals of {min(halves):.1f} to "
            f"{max(halves):.1f} points on either side"
        )
        yield Limit("Resolution", here, "Smaller transfers cannot be told from none.")
    if scoring != "reference":
        here = f"options are compared by {SCORE_NAMES[scoring]}, not as in the published scorer"
        consequence = "Accuracies and transfers are not comparable with the paper's."
        yield Limit("Score", here, consequence)
    if exclude:
        kinds = listing([kind.replace("_", " ") for kind in exclude])
        taken = [f"{row.left_out} of {row.asked} in {row.probe}" for row in results.probes]
        consequence = "They are in no accuracy and no transfer. Densities are of all questions."
        yield Limit("Questions left out", f"{kinds}: {listing(taken)}", consequence)
    documents = {row.text: row.documents for row in results.proficiency_differences}
    few = [f"{names[code]} {count}" for code, count in documents.items() if count < FEW_HELD_OUT]
    if few:
        here = f"fewer than {FEW_HELD_OUT} documents: {listing(few)}"
        yield Limit("Held-out text", here, "Intervals of proficiency are rough there.")
    yield from _trainings(study)
    for language in (study.base_language, *study.trial_languages):
        if language.note.strip():
            yield Limit(f"{short_name(language)} text", " ".join(language.note.split()))
    if results.densities:
        yield from _frequency(study, results)
    if results.missing_trials:
        missing = listing(results.missing_trials)
        yield Limit("Missing trials", missing, "Not evaluated, and in no result.")


def _trainings(study: StudySpec) -> Iterator[Limit]:
    """What the number of seeds and bases allows to be said."""
    seeds, bases = len(study.trials.seeds), min(len(study.base.seeds), len(study.trials.seeds))
    here = f"each condition was trained with {plural(seeds, 'seed')}"
    if seeds < FEWEST_TRAININGS:
        yield Limit(
            "Seeds",
            here,
            f"{no_claim(study)}. The tests generalise over questions like these, for these trained "
            "models; how another training would come out is only hinted at by the seeds.",
        )
    if bases < FEWEST_TRAININGS:
        here = f"all trials start from {plural(bases, 'base')}"
        yield Limit("Bases", here, "What is said of trainings is of trainings from there.")


def _in_clusters(last: Sequence[Row]) -> str:
    """How many clusters the questions of the cells are, where they are fewer."""
    clusters = [row.clusters for row in last]
    if all(row.clusters == row.questions for row in last):
        return ""
    return f", in {min(clusters)} to {max(clusters)} clusters that are drawn together"


def _frequency(study: StudySpec, results: Results) -> Iterator[Limit]:
    spec, names, rows = study.frequency, names_of(study), results.densities
    yield Limit(
        "Occurrences",
        f"counted among the {spec.top_documents} documents retrieved for a question by "
        f"{RETRIEVERS[spec.retriever].format(spec.embedder.kind)} and judged by the "
        f"{spec.judge.kind} judge",
        "What is not retrieved is missed, and a count cannot exceed the number retrieved. "
        "Exact counts and exposure are of what the lexical judge accepts: a fact in other "
        "words is missed, and words that stand together by chance are counted.",
    )
    few = [
        f"{names[row.culture]} {row.base_found} and {row.target_found} of {row.questions}"
        for row in rows
        if min(row.base_found, row.target_found) < row.questions / 10
    ]
    if few:
        here = f"in {study.base_language.name} and in target text: {'; '.join(few)}"
        consequence = "Fewer than a tenth: means and ratios hang on a handful of questions."
        yield Limit("Questions found", here, consequence)
    small = [names[row.culture] for row in rows if row.target_documents < FEW_DOCUMENTS]
    if small:
        here = f"fewer than {FEW_DOCUMENTS:,} documents in the target corpus: {listing(small)}"
        consequence = "One document moves the density by a large step."
        yield Limit("Small corpora", here, consequence)
    never = [
        f"{names[row.culture]} questions in {names[row.text]} text"
        for row in results.last("exposures", measure="exposure", exposed=0)
        if row.culture in names
    ]
    if never:
        here = f"no evidence was read at all of {listing(never)}"
        consequence = (
            "Whatever transferred there was not taken from what the lexical judge recognises."
        )
        yield Limit("No exposure", here, consequence)
    failed = sum(fit.problem is not None for fit in results.model_fits)
    if failed:
        here = f"{failed} of {plural(len(results.model_fits), 'model')} cannot be estimated"
        consequence = "So little data: the table of the models says why for each."
        yield Limit("Models of transfer", here, consequence)
