"""What the numbers of frequency, exposure and their model cannot say in this run.

Invariant: as for the other limits, each is stated where its cause holds; none is boilerplate.
"""

from ccx_ray.analysis.measures.exposure_effect import last_exposures
from ccx_ray.analysis.measures.results import Results
from ccx_ray.analysis.measures.transfer import last_rows
from ccx_ray.analysis.report.wording import listing, percent, plural, short_name
from ccx_ray.study.spec import StudySpec

FEW_DOCUMENTS = 1_000
LOW_RECALL = 0.8
RETRIEVERS = {
    "vectors": "vectors of the {} embedder",
    "bm25": "BM25",
    "hybrid": "BM25 and vectors of the {} embedder together",
}


def frequency_limits(study: StudySpec, results: Results) -> list[str]:
    """The limits of everything about frequency, most important first."""
    if not results.densities:
        return [
            "Frequency: it was not estimated, so nothing is said about the frequency hypothesis."
        ]
    return [
        _counting(study),
        *_few_found(study, results),
        *_small(study, results),
        *_exposure(study, results),
        *_model(results),
        *_validation(study, results),
    ]


def _counting(study: StudySpec) -> str:
    spec = study.frequency
    retriever = RETRIEVERS[spec.retriever].format(spec.embedder.kind)
    return (
        f"Occurrences: they are counted among the {spec.top_documents} documents retrieved for a "
        f"question by {retriever} and judged by the {spec.judge.kind} judge. What is not retrieved "
        "is missed, and a count cannot exceed the number retrieved. Exact counts and exposure are "
        "of what the lexical judge accepts: a fact in other words is missed, and words that stand "
        "together by chance are counted."
    )


def _few_found(study: StudySpec, results: Results) -> list[str]:
    few = [
        f"{short_name(study.language(row.culture))} {row.base_found} and {row.target_found} of "
        f"{row.questions}"
        for row in results.densities
        if min(row.base_found, row.target_found) < row.questions / 10
    ]
    if not few:
        return []
    return [
        "Found: in one of the two corpora anything at all was found of fewer than a tenth of the "
        f"questions ({study.base_language.name} and target: {'; '.join(few)}). Means and "
        "ratios hang on a handful of questions."
    ]


def _small(study: StudySpec, results: Results) -> list[str]:
    small = [row.culture for row in results.densities if row.target_documents < FEW_DOCUMENTS]
    if not small:
        return []
    named = listing([short_name(study.language(code)) for code in small])
    return [
        f"Small corpora: fewer than {FEW_DOCUMENTS:,} documents in the target corpus ({named}"
        "): one document moves the density by a large step."
    ]


def _exposure(study: StudySpec, results: Results) -> list[str]:
    cells = {(row.language, row.direction) for row in last_rows(results.transfers)}
    missing = [
        short_name(study.language(language))
        for language in dict.fromkeys(language for language, _ in cells)
        if language not in {row.culture for row in results.exposures}
    ]
    stated = []
    if missing:
        stated.append(
            "Exposure: what the trainings showed of each question's evidence was not computed for "
            f"{listing(sorted(missing))}."
        )
    never = [
        row
        for row in last_exposures(results.exposures)
        if row.measure == "exposure"
        and not row.exposed
        and row.culture in {one.code for one in study.languages}
    ]
    if never:
        names = _names(study)
        named = listing(
            [f"{names[row.culture]} questions in {names[row.text]} text" for row in never]
        )
        stated.append(
            f"No exposure: no evidence was read at all of {named}; whatever transferred there, it "
            "was not taken from what the lexical judge recognises."
        )
    return stated


def _model(results: Results) -> list[str]:
    failed = [fit for fit in results.model_fits if fit.problem is not None]
    if not failed:
        return []
    return [
        f"Model of transfer: {len(failed)} of {plural(len(results.model_fits), 'model')} cannot be "
        "estimated from so little; the table of the models says why."
    ]


def _validation(study: StudySpec, results: Results) -> list[str]:
    review = (
        f"How to make one: python jobs/validate_frequency.py --study {study.name} --export DIR."
    )
    if not results.validated:
        return [
            "Validation: the estimate of frequency was not tested, so nothing is known of what "
            "retrieval and judge miss or invent."
        ]
    stated = []
    own, names = study.frequency.retriever_name, _names(study)
    low = [
        f"{names[row.culture]} questions in {names[row.corpus]} text {percent(row.recall, 0)}"
        for row in results.recalls
        if row.retriever == own and row.recall is not None and row.recall < LOW_RECALL
    ]
    if low:
        stated.append(
            f"Recall: the retriever of this study misses more than {percent(1 - LOW_RECALL, 0)} of "
            f"the reachable documents in places ({listing(low)}), so occurrences are too few there."
        )
    if not results.reviews:
        stated.append(
            "Review: nobody has read what the judge accepts and refuses, so its errors are unknown "
            f"beside other judges and planted facts. {review}"
        )
    return stated


def _names(study: StudySpec) -> dict[str, str]:
    return {one.code: short_name(one) for one in (study.base_language, *study.languages)}
