"""The steps of the frequency stage: lexicons, indexes, estimates and exposure."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    model_folder,
    own_base_of,
    plain_tasks,
)
from ccx_ray.frequency.validation.steps import review_step, validation_step
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec
from ccx_ray.study.trials import trial_grid
from ccx_ray.training.steps import TrainingSteps

if TYPE_CHECKING:
    from ccx_ray.frequency.estimation import AskedCorpus


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
    base = study.base_language.code
    cultures = [language.code for language in study.trial_languages]
    texts = {code: corpus.texts[code] for code in (base, *cultures)}
    lexicons = {
        code: Step(
            name=f"lexicon-{code}",
            kind="lexicon",
            version=1,
            identity={},
            needs={"text": text},
            run=partial(_lexicon, study),
            resumable=True,
            pool=DATA,
        )
        for code, text in texts.items()
    }
    embedders = embedders_of(study)
    indexes = {
        field: {
            code: _index_step(study, field, code, text=text, base=training.base, inputs=inputs)
            for code, text in texts.items()
        }
        for field in embedders
    }
    own = indexes["frequency.embedder"]
    frequencies = {
        language.code: _frequency_step(
            study,
            language,
            inputs,
            corpus=corpus,
            training=training,
            indexes=own,
            lexicons=lexicons,
        )
        for language in study.trial_languages
    }
    validation = validation_step(
        study,
        inputs,
        corpus,
        training.base,
        frequencies=frequencies,
        indexes=indexes,
        lexicons=lexicons,
    )
    return FrequencySteps(
        frequencies=frequencies,
        exposures={
            code: _exposure_step(study, code, frequencies[code], corpus, inputs.root)
            for code in cultures
        },
        validation=validation,
        review=review_step(study, validation, frequencies, study_folder),
    )


def _lexicon(study: StudySpec, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.counting.lexicon.building import build_lexicon

    return build_lexicon(work.input("text"), work.folder, run_tasks=plain_tasks(study, work))


def _index_step(
    study: StudySpec, field: str, corpus: str, *, text: Step, base: Step, inputs: InputFiles
) -> Step:
    embedder = embedders_of(study)[field]
    place = field.rpartition(".")[2]
    return Step(
        name=f"{'index' if place == 'embedder' else f'compared{place}'}-{corpus}",
        kind="index",
        version=2,
        identity={
            **study.frequency.index_identity(),
            "embedder": embedder_identity(embedder, inputs, field),
        },
        needs={"text": text, "base": own_base_of([embedder], base)},
        run=partial(_index, study, field, inputs.root),
        resumable=True,
        pool=DATA,
    )


def _index(study: StudySpec, field: str, root: Path, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.retrieval.index_building import build_index

    embedder = embedders_of(study)[field]
    return build_index(
        study.frequency,
        embedder,
        text_folder=work.input("text"),
        folder=work.folder,
        model_folder=model_folder(study, embedder, root, work, field),
        run_tasks=embedding_tasks(study, work, embedder),
    )


def _frequency_step(
    study: StudySpec,
    language: LanguageSpec,
    inputs: InputFiles,
    *,
    corpus: CorpusSteps,
    training: TrainingSteps,
    indexes: Mapping[str, Step],
    lexicons: Mapping[str, Step],
) -> Step:
    codes = (study.base_language.code, language.code)
    spec = study.frequency
    return Step(
        name=f"frequency-{language.code}",
        kind="frequency",
        version=2,
        identity={
            **spec.estimate_identity(),
            "judge": judge_identity(spec.judge, inputs, "frequency.judge"),
            "probes": inputs.probe_hashes(language),
        },
        needs={
            "texts": {code: corpus.texts[code] for code in codes},
            "indexes": {code: indexes[code] for code in codes},
            "lexicons": {code: lexicons[code] for code in codes},
            "base": own_base_of([spec.embedder], training.base),
        },
        run=partial(_frequency, study, language, inputs.root),
        resumable=True,
        pool=DATA,
    )


def _frequency(
    study: StudySpec, language: LanguageSpec, root: Path, work: StepWork
) -> Mapping[str, Any]:
    from ccx_ray.frequency.estimation import estimate_frequency
    from ccx_ray.tracking.runs import flat_metrics

    spec = study.frequency
    counts = estimate_frequency(
        spec,
        _asked_corpora(study, language, root, work),
        work.folder,
        open_judge=judge_opener(study, spec.judge, "frequency.judge", root, work),
        run_tasks=embedding_tasks(study, work, spec.embedder),
        run_judge=judge_tasks(study, work, spec.judge),
    )
    work.record(flat_metrics(counts, "frequency/"))
    return counts


def _asked_corpora(
    study: StudySpec, language: LanguageSpec, root: Path, work: StepWork
) -> "list[AskedCorpus]":
    """The culture's questions in English and in its own language."""
    from ccx_ray.frequency.estimation import AskedCorpus, ScannedPart
    from ccx_ray.frequency.text.documents import DOCUMENTS, ENGLISH, TARGET

    texts, indexes, lexicons = map(work.inputs, ("texts", "indexes", "lexicons"))
    base, culture = study.base_language.code, language.code
    clozes = clozes_of(study, language, root)

    def scanned(code: str, part: str) -> ScannedPart:
        return ScannedPart(part=part, text=texts[code], lexicon=lexicons[code])

    return [
        AskedCorpus(
            culture=culture,
            corpus=code,
            clozes=clozes[code],
            index=indexes[code],
            model_folder=model_folder(study, study.frequency.embedder, root, work),
            scanned=(scanned(code, DOCUMENTS), scanned(culture, half)),
        )
        for code, half in ((base, ENGLISH), (culture, TARGET))
    ]


def _exposure_step(
    study: StudySpec, culture: str, frequency: Step, corpus: CorpusSteps, root: Path
) -> Step:
    trials, base = study.trials, study.base_language.code
    return Step(
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
            "frequency": frequency,
            "base stream": corpus.base_stream,
            "streams": {str(seed): corpus.trial_streams[culture, seed] for seed in trials.seeds},
            "texts": {code: corpus.texts[code] for code in (base, culture)},
        },
        run=partial(_exposure, study, study.language(culture), root),
        resumable=True,
        pool=DATA,
    )


def _exposure(
    study: StudySpec, language: LanguageSpec, root: Path, work: StepWork
) -> Mapping[str, Any]:
    import pyarrow.parquet as pq

    from ccx_ray.evaluation.probes import load_culture
    from ccx_ray.frequency.counting.exposure import Training, exposure_table
    from ccx_ray.storage.publishing import publish_parquet

    frequency, streams, texts = (
        work.input("frequency"),
        work.inputs("streams"),
        work.inputs("texts"),
    )
    base = study.base_language.code
    table = exposure_table(
        culture=language.code,
        base_language=base,
        questions=len(load_culture(language, root, base=base)[base].items),
        supports=pq.read_table(frequency / "exhaustive.parquet"),
        retrieved=pq.read_table(frequency / "retrieved.parquet"),
        base_text=texts[base],
        text=texts[language.code],
        base=Training(
            stream=work.input("base stream"), rows_per_step=study.base.sequences_per_step
        ),
        base_steps=study.base.steps,
        trials={
            trial.name: Training(
                stream=streams[str(trial.seed)] / trial.condition,
                rows_per_step=study.trials.sequences_per_step,
            )
            for trial in trial_grid(study)
            if trial.language == language.code
        },
        steps=study.trials.checkpoint_steps,
        folder=work.folder,
        run_tasks=plain_tasks(study, work),
    )
    publish_parquet(work.folder / "exposure.parquet", table)
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
