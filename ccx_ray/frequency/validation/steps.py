"""The steps that test the estimate of frequencies: validation, and people's review."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.corpus.steps import DATA, CorpusSteps
from ccx_ray.frequency.models import (
    clozes_of,
    embedder_identity,
    embedders_of,
    embedding_tasks,
    judge_identity,
    judge_opener,
    judge_tasks,
    judges_of,
    model_folder,
    own_base_of,
)
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.storage.hashing import file_sha256
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec

if TYPE_CHECKING:
    from ccx_ray.frequency.validation.validating import ValidatedCorpus

REVIEWS = "reviews"
"""Below the study's folder: tables that people filled in."""


def validation_step(
    study: StudySpec,
    inputs: InputFiles,
    corpus: CorpusSteps,
    base: Step,
    *,
    frequencies: Mapping[str, Step],
    indexes: Mapping[str, Mapping[str, Step]],
    lexicons: Mapping[str, Step],
) -> Step:
    """The step ``validation``.

    Args:
        indexes: field of an embedder -> language -> index.
    """
    embedders = embedders_of(study)
    return Step(
        name="validation",
        kind="validation",
        version=1,
        identity={
            **study.frequency.validation.model_dump(exclude={"embedders", "judges"}),
            **study.frequency.index_identity(),
            "embedders": [
                embedder_identity(embedder, inputs, field) for field, embedder in embedders.items()
            ],
            "judges": [
                judge_identity(judge, inputs, field)
                for field, judge in judges_of(study).items()
                if field != "frequency.judge"
            ],
        },
        needs={
            "frequencies": frequencies,
            **{f"indexes of {field}": of_corpus for field, of_corpus in indexes.items()},
            "lexicons": lexicons,
            "texts": {code: corpus.texts[code] for code in lexicons},
            "base": own_base_of(embedders.values(), base),
        },
        run=partial(_validation, study, inputs.root),
        resumable=True,
        pool=DATA,
    )


def review_step(
    study: StudySpec, validation: Step, frequencies: Mapping[str, Step], study_folder: Path | None
) -> Step:
    """The step ``review``.

    Args:
        study_folder: where the reviews are kept that people have filled in.
    """
    return Step(
        name="review",
        kind="review",
        version=1,
        identity={
            "reviews": _read_reviews(study_folder, validation),
            "seed": study.frequency.validation.seed,
        },
        needs={"validation": validation, "frequencies": frequencies},
        run=partial(_review, study, validation),
    )


def _validation(study: StudySpec, root: Path, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.judges.factory import judge_name
    from ccx_ray.frequency.validation.validating import validate, validation_metrics

    judges, embedders = judges_of(study), embedders_of(study)
    summary = validate(
        study.frequency,
        [_validated_corpus(study, code, root, work) for code in work.inputs("texts")],
        work.folder,
        title=study.name,
        judges={
            judge_name(judge): judge_opener(study, judge, field, root, work)
            for field, judge in judges.items()
        },
        run_tasks=embedding_tasks(study, work, *embedders.values()),
        run_judges=judge_tasks(study, work, *judges.values()),
    )
    work.record(validation_metrics(work.folder))
    return summary


def _review(study: StudySpec, validation: Step, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.validation.review_statistics import review, review_metrics

    corpora = [study.base_language.code, *work.inputs("frequencies")]
    rows = review(
        {code: _frequencies_in(study, code, work) for code in corpora},
        work.input("validation"),
        reviews_folder(work.study_folder, validation),
        work.folder,
        seed=study.frequency.validation.seed,
    )
    work.record(review_metrics(rows))
    return {"rows": len(rows)}


def _validated_corpus(
    study: StudySpec, corpus: str, root: Path, work: StepWork
) -> "ValidatedCorpus":
    from ccx_ray.frequency.validation.estimated import EstimatedCorpus
    from ccx_ray.frequency.validation.validating import ComparedIndex, ValidatedCorpus

    frequencies = _frequencies_in(study, corpus, work)
    return ValidatedCorpus(
        estimated=EstimatedCorpus(
            corpus=corpus,
            text=work.inputs("texts")[corpus],
            clozes={
                code: clozes_of(study, study.language(code), root)[corpus] for code in frequencies
            },
            frequencies=frequencies,
        ),
        lexicon=work.inputs("lexicons")[corpus],
        indexes=tuple(
            ComparedIndex(
                embedder=embedder,
                folder=work.inputs(f"indexes of {field}")[corpus],
                model_folder=model_folder(study, embedder, root, work, field),
            )
            for field, embedder in embedders_of(study).items()
        ),
    )


def _frequencies_in(study: StudySpec, corpus: str, work: StepWork) -> dict[str, Path]:
    """Culture -> its frequencies, of all cultures that were asked of a corpus."""
    frequencies = work.inputs("frequencies")
    if corpus == study.base_language.code:
        return frequencies
    return {corpus: frequencies[corpus]}


def _read_reviews(study_folder: Path | None, validation: Step) -> dict[str, str]:
    """Corpus -> hash of its imported review; none without a folder."""
    if study_folder is None:
        return {}
    kept = reviews_folder(study_folder, validation).glob("*.csv")
    return {path.stem: file_sha256(path) for path in sorted(kept)}


def reviews_folder(study_folder: Path, validation: Step) -> Path:
    """Where reviews of the documents that a validation drew are kept, ``<corpus>.csv`` each.

    A study that is estimated in another way draws other documents; what people said of the earlier
    ones stays with those.
    """
    return study_folder / REVIEWS / validation.fingerprint
