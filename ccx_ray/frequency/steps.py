"""The steps of the frequency stage: lexicons, indexes, estimates, exposure, validation, review."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.corpus.intervention_steps import planting_steps
from ccx_ray.corpus.steps import CorpusSteps, background_step
from ccx_ray.frequency.models import (
    clozes_of,
    embedder_identity,
    embedders_of,
    judge_identity,
    judge_opener,
    judges_of,
    model_folder,
    own_base_of,
    tasks_of,
)
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.storage.hashing import file_sha256
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec
from ccx_ray.study.trials import trial_grid
from ccx_ray.training.steps import TrainingSteps

REVIEWS = "reviews"
"""Below the study's folder: tables that people filled in."""


@dataclass(frozen=True, kw_only=True)
class FrequencySteps:
    """What a study's frequencies are computed by."""

    frequencies: Mapping[str, Step]
    """By culture."""
    exposures: Mapping[str, Step]
    """By culture."""
    validation: Step
    review: Step


def frequency_steps(
    study: StudySpec,
    inputs: InputFiles,
    corpus: CorpusSteps,
    training: TrainingSteps,
    study_folder: Path | None,
) -> FrequencySteps:
    """The frequency part of a study's graph.

    Args:
        study_folder: where the reviews of its documents are kept that people have filled in.

    Raises:
        UserError: a prompt or a model folder is missing.
    """
    cultures = study.trial_languages
    codes = (study.base_language.code, *(language.code for language in cultures))
    texts = {code: corpus.texts[code] for code in codes}
    lexicons = {
        code: background_step(
            name=f"lexicon-{code}",
            kind="lexicon",
            version=1,
            identity={},
            needs={"text": text},
            run=partial(_lexicon, study),
        )
        for code, text in texts.items()
    }
    indexes = {
        field: {
            code: _index_step(study, field, code, text=text, base=training.base, inputs=inputs)
            for code, text in texts.items()
        }
        for field in embedders_of(study)
    }
    asked = {"texts": texts, "indexes": indexes["frequency.embedder"], "lexicons": lexicons}
    frequencies = {
        language.code: _frequency_step(study, language, inputs, training.base, asked)
        for language in cultures
    }
    needs = {
        "frequencies": frequencies,
        **{f"indexes of {field}": of_corpus for field, of_corpus in indexes.items()},
        "lexicons": lexicons,
        "texts": texts,
        "base": own_base_of(embedders_of(study).values(), training.base),
    }
    validation = _validation_step(study, inputs, needs)
    return FrequencySteps(
        frequencies=frequencies,
        exposures={
            language.code: _exposure_step(study, language, frequencies, corpus, inputs.text_root)
            for language in cultures
        },
        validation=validation,
        review=_review_step(study, validation, frequencies, study_folder),
    )


def _lexicon(study: StudySpec, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.counting.lexicon import build_lexicon

    return build_lexicon(work.input("text"), work.folder, run_tasks=tasks_of(study, work))


def _index_step(
    study: StudySpec, field: str, corpus: str, *, text: Step, base: Step, inputs: InputFiles
) -> Step:
    embedder = embedders_of(study)[field]
    place = field.rpartition(".")[2]
    return background_step(
        name=f"{'index' if place == 'embedder' else f'compared{place}'}-{corpus}",
        kind="index",
        version=2,
        identity={
            **study.frequency.index_identity(),
            "embedder": embedder_identity(embedder, inputs, field),
        },
        needs={"text": text, "base": own_base_of([embedder], base)},
        run=partial(_index, study, field, inputs),
    )


def _index(study: StudySpec, field: str, inputs: InputFiles, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.retrieval.index_building import build_index

    embedder = embedders_of(study)[field]
    return build_index(
        study.frequency,
        embedder,
        text_folder=work.input("text"),
        folder=work.folder,
        model_folder=model_folder(study, embedder, inputs.root, work, field),
        run_tasks=tasks_of(study, work, embedder),
    )


def _frequency_step(
    study: StudySpec,
    language: LanguageSpec,
    inputs: InputFiles,
    base: Step,
    asked: Mapping[str, Mapping[str, Step]],
) -> Step:
    codes = (study.base_language.code, language.code)
    spec = study.frequency
    return background_step(
        name=f"frequency-{language.code}",
        kind="frequency",
        version=2,
        identity={
            **spec.estimate_identity(),
            "judge": judge_identity(spec.judge, inputs, "frequency.judge"),
            "probes": inputs.probe_hashes(language),
        },
        needs={
            **{role: {code: steps[code] for code in codes} for role, steps in asked.items()},
            "base": own_base_of([spec.embedder], base),
        },
        run=partial(_frequency, study, language, inputs),
    )


def _frequency(
    study: StudySpec, language: LanguageSpec, inputs: InputFiles, work: StepWork
) -> Mapping[str, Any]:
    from ccx_ray.frequency.estimation import AskedCorpus, ScannedPart, estimate_frequency
    from ccx_ray.frequency.text.documents import DOCUMENTS, ENGLISH, TARGET
    from ccx_ray.tracking.runs import flat_metrics

    spec = study.frequency
    texts, indexes, lexicons = map(work.inputs, ("texts", "indexes", "lexicons"))
    base, culture = study.base_language.code, language.code
    clozes = clozes_of(study, language, inputs.text_root)

    def scanned(code: str, part: str) -> ScannedPart:
        return ScannedPart(part=part, text=texts[code], lexicon=lexicons[code])

    counts = estimate_frequency(
        spec,
        [
            AskedCorpus(
                culture=culture,
                corpus=code,
                clozes=clozes[code],
                index=indexes[code],
                model_folder=model_folder(study, spec.embedder, inputs.root, work),
                scanned=(scanned(code, DOCUMENTS), scanned(culture, half)),
            )
            for code, half in ((base, ENGLISH), (culture, TARGET))
        ],
        work.folder,
        open_judge=judge_opener(study, spec.judge, "frequency.judge", inputs.root, work),
        run_tasks=tasks_of(study, work, spec.embedder),
        run_judge=tasks_of(study, work, spec.judge),
    )
    work.record(flat_metrics(counts, "frequency/"))
    return counts


def _exposure_step(
    study: StudySpec,
    language: LanguageSpec,
    frequencies: Mapping[str, Step],
    corpus: CorpusSteps,
    root: Path,
) -> Step:
    trials, base, culture = study.trials, study.base_language.code, language.code
    return background_step(
        name=f"exposure-{culture}",
        kind="exposure",
        version=1,
        identity={
            "conditions": trials.conditions,
            "sequences_per_step": trials.sequences_per_step,
            "checkpoints": trials.checkpoint_steps,
            "base": {
                "sequences_per_step": study.base.sequences_per_step,
                "steps": study.base.steps,
            },
        },
        needs={
            "frequency": frequencies[culture],
            "base streams": corpus.base_streams,
            "streams": {str(seed): corpus.trial_streams[culture, seed] for seed in trials.seeds},
            "texts": {code: corpus.texts[code] for code in (base, culture)},
            **planting_steps(corpus.interventions, base, culture),
        },
        run=partial(_exposure, study, language, root),
    )


def _exposure(
    study: StudySpec, language: LanguageSpec, root: Path, work: StepWork
) -> Mapping[str, Any]:
    import pyarrow.parquet as pq

    from ccx_ray.corpus.interventions import read_interventions
    from ccx_ray.evaluation.probes import load_culture
    from ccx_ray.frequency.counting.exposure import Training, Trainings, exposure_table
    from ccx_ray.frequency.counting.planted_exposure import PLANTED_EXPOSURE, planted_exposure
    from ccx_ray.storage.publishing import publish_parquet

    frequency = work.input("frequency")
    streams, texts = work.inputs("streams"), work.inputs("texts")
    base = study.base_language.code
    trainings = Trainings(
        bases={
            name: Training(stream=stream, rows_per_step=study.base.sequences_per_step)
            for name, stream in work.inputs("base streams").items()
        },
        base_steps=study.base.steps,
        trials={
            trial.name: (
                trial.base,
                Training(
                    stream=streams[str(trial.seed)] / trial.condition,
                    rows_per_step=study.trials.sequences_per_step,
                ),
            )
            for trial in trial_grid(study)
            if trial.language == language.code
        },
        steps=study.trials.checkpoint_steps,
    )
    table = exposure_table(
        culture=language.code,
        base_language=base,
        questions=len(load_culture(language, root, base=base)[base].items),
        supports=pq.read_table(frequency / "exhaustive.parquet"),
        retrieved=pq.read_table(frequency / "retrieved.parquet"),
        base_text=texts[base],
        text=texts[language.code],
        trainings=trainings,
        folder=work.folder,
        run_tasks=tasks_of(study, work),
    )
    publish_parquet(work.folder / "exposure.parquet", table)
    if interventions := work.inputs("interventions"):
        planted = read_interventions(interventions, language.code)
        found = planted_exposure(
            planted,
            base_language=base,
            trainings=trainings,
            folder=work.folder,
            run_tasks=tasks_of(study, work),
        )
        publish_parquet(work.folder / PLANTED_EXPOSURE, found)
    tracking = work.tracking
    run = tracking.open_run(name=work.step.name, kind="exposure", fingerprint=work.step.fingerprint)
    log = tracking.metrics(run)
    means = table.group_by(["trial", "step", "language"]).aggregate([("exposure", "mean")])
    for row in means.to_pylist():
        log.log(row["step"], {f"exposure/{row['trial']}/{row['language']}": row["exposure_mean"]})
    log.close()
    tracking.log_artifacts(run, work.folder)
    tracking.finish(run)
    return {"rows": len(table)}


def _validation_step(
    study: StudySpec, inputs: InputFiles, needs: Mapping[str, Step | Mapping[str, Step]]
) -> Step:
    return background_step(
        name="validation",
        kind="validation",
        version=1,
        identity={
            **study.frequency.validation.model_dump(exclude={"embedders", "judges"}),
            **study.frequency.index_identity(),
            "embedders": [
                embedder_identity(embedder, inputs, field)
                for field, embedder in embedders_of(study).items()
            ],
            "judges": [
                judge_identity(judge, inputs, field)
                for field, judge in judges_of(study).items()
                if field != "frequency.judge"
            ],
        },
        needs=needs,
        run=partial(_validation, study, inputs),
    )


def _validation(study: StudySpec, inputs: InputFiles, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.judges.factory import judge_name
    from ccx_ray.frequency.validation.estimated import EstimatedCorpus
    from ccx_ray.frequency.validation.validating import validate, validation_metrics

    judges, embedders = judges_of(study), embedders_of(study)
    corpora = []
    for corpus, text in work.inputs("texts").items():
        frequencies = _frequencies_in(study, corpus, work)
        clozes = {
            code: clozes_of(study, study.language(code), inputs.text_root)[corpus]
            for code in frequencies
        }
        corpora.append(
            EstimatedCorpus(corpus=corpus, text=text, clozes=clozes, frequencies=frequencies)
        )
    summary = validate(
        study.frequency,
        corpora,
        work.folder,
        title=study.name,
        lexicons=work.inputs("lexicons"),
        embedders={
            embedder.name: (embedder, model_folder(study, embedder, inputs.root, work, field))
            for field, embedder in embedders.items()
        },
        indexes={
            embedder.name: work.inputs(f"indexes of {field}")
            for field, embedder in embedders.items()
        },
        judges={
            judge_name(judge): judge_opener(study, judge, field, inputs.root, work)
            for field, judge in judges.items()
        },
        run_tasks=tasks_of(study, work, *embedders.values()),
        run_judges=tasks_of(study, work, *judges.values()),
    )
    work.record(validation_metrics(work.folder))
    return summary


def _frequencies_in(study: StudySpec, corpus: str, work: StepWork) -> dict[str, Path]:
    """Culture -> its frequencies, of all cultures that were asked of a corpus."""
    frequencies = work.inputs("frequencies")
    if corpus == study.base_language.code:
        return frequencies
    return {corpus: frequencies[corpus]}


def _review_step(
    study: StudySpec, validation: Step, frequencies: Mapping[str, Step], study_folder: Path | None
) -> Step:
    kept = reviews_folder(study_folder, validation).glob("*.csv") if study_folder else ()
    return Step(
        name="review",
        kind="review",
        version=1,
        identity={
            "reviews": {path.stem: file_sha256(path) for path in sorted(kept)},
            "seed": study.frequency.validation.seed,
        },
        needs={"validation": validation, "frequencies": frequencies},
        run=partial(_review, study, validation),
    )


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


def reviews_folder(study_folder: Path, validation: Step) -> Path:
    """Where reviews of the documents that a validation drew are kept, ``<corpus>.csv`` each.

    A study that is estimated in another way draws other documents; what people said of the earlier
    ones stays with those.
    """
    return study_folder / REVIEWS / validation.fingerprint
