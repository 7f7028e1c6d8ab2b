"""The steps of the frequency stage: lexicons, indexes, estimates, exposure, and their validation.

A model in a folder enters an identity by the content of its files and never by its path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.corpus.steps import DATA, CorpusSteps
from ccx_ray.errors import UserError
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.orchestration.tasks import RunTasks, run_here
from ccx_ray.storage.hashing import file_sha256
from ccx_ray.study.frequency_spec import (
    OWN_BASE,
    EmbedderSpec,
    EndpointJudgeSpec,
    HiddenStatesSpec,
    JudgeSpec,
    LexicalJudgeSpec,
    LocalJudgeSpec,
    NgramEmbedderSpec,
    SentenceTransformersSpec,
)
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec
from ccx_ray.study.trials import trial_grid
from ccx_ray.training.steps import TrainingSteps

if TYPE_CHECKING:
    from ccx_ray.frequency.estimation import AskedCorpus, OpenJudge
    from ccx_ray.frequency.text.questions import Cloze
    from ccx_ray.frequency.validation.validating import ValidatedCorpus

SHIPPED_PROMPT = Path(str(resources.files("ccx_ray"))) / "frequency/judges/judge_prompt.txt"
REVIEWS, VERDICTS = "reviews", "verdicts"
"""Below the study's folder: tables that people filled in, and what models have judged, whichever
step asks the same again."""


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
    embedders = _embedders(study)
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
    validation = Step(
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
                for field, judge in _judges(study).items()
                if field != "frequency.judge"
            ],
        },
        needs={
            "frequencies": frequencies,
            **{f"indexes of {field}": of_corpus for field, of_corpus in indexes.items()},
            "lexicons": lexicons,
            "texts": texts,
            "base": _own_base(embedders.values(), training),
        },
        run=partial(_validation, study, inputs.root),
        resumable=True,
        pool=DATA,
    )
    return FrequencySteps(
        frequencies=frequencies,
        exposures={
            code: _exposure_step(study, code, frequencies[code], corpus, inputs.root)
            for code in cultures
        },
        validation=validation,
        review=Step(
            name="review",
            kind="review",
            version=1,
            identity={
                "reviews": _read_reviews(study_folder, validation),
                "seed": study.frequency.validation.seed,
            },
            needs={"validation": validation, "frequencies": frequencies},
            run=partial(_review, study, validation),
        ),
    )


def check_frequency(study: StudySpec, root: Path) -> None:
    """Find what is wrong with embedders and judges, without loading a model or sending anything.

    Raises:
        UserError: the first mistake.
    """
    from ccx_ray.frequency.judges.factory import check_judge, judge_name
    from ccx_ray.frequency.retrieval.embedding.factory import check_embedder
    from ccx_ray.frequency.retrieval.index_types import choose_index

    inputs = InputFiles(root)
    for field, embedder in _embedders(study).items():
        if isinstance(embedder, NgramEmbedderSpec):
            choose_index(study.frequency.index, passages=0, dimensions=embedder.dimensions)
        if isinstance(embedder, HiddenStatesSpec) and embedder.model == OWN_BASE:
            continue  # its folder comes to be in this study
        folder = _model_path(embedder, inputs, field)
        check_embedder(embedder, field, model_folder=folder)
    _refuse_equal_names({field: one.name for field, one in _embedders(study).items()})
    for field, judge in _judges(study).items():
        check_judge(judge, study.runtime.judge, root, field)
    _refuse_equal_names({field: judge_name(judge) for field, judge in _judges(study).items()})


def embedder_identity(spec: EmbedderSpec, inputs: InputFiles, field: str) -> dict[str, object]:
    """What decides the vectors of a text.

    Raises:
        UserError: there is no such folder.
    """
    identity = spec.model_dump()
    if isinstance(spec, SentenceTransformersSpec):
        identity["folder"] = inputs.folder(spec.folder, f"{field}.folder")
    elif isinstance(spec, HiddenStatesSpec) and spec.model != OWN_BASE:
        identity["model"] = inputs.folder(spec.model, f"{field}.model")
    return identity


def judge_identity(spec: JudgeSpec, inputs: InputFiles, field: str) -> dict[str, object]:
    """What decides a verdict.

    Raises:
        UserError: there is no such file or folder.
    """
    identity = spec.model_dump()
    if isinstance(spec, LexicalJudgeSpec):
        return identity
    if isinstance(spec, LocalJudgeSpec):
        identity["folder"] = inputs.folder(spec.folder, f"{field}.folder")
    identity["prompt"] = (
        file_sha256(SHIPPED_PROMPT)
        if spec.prompt is None
        else inputs.hash(spec.prompt, f"{field}.prompt")
    )
    return identity


def reviews_folder(study_folder: Path, validation: Step) -> Path:
    """Where reviews of the documents that a validation drew are kept, ``<corpus>.csv`` each.

    A study that is estimated in another way draws other documents; what people said of the earlier
    ones stays with those.
    """
    return study_folder / REVIEWS / validation.fingerprint


def _read_reviews(study_folder: Path | None, validation: Step) -> dict[str, str]:
    """Corpus -> hash of its imported review; none without a folder."""
    if study_folder is None:
        return {}
    kept = reviews_folder(study_folder, validation).glob("*.csv")
    return {path.stem: file_sha256(path) for path in sorted(kept)}


def _embedders(study: StudySpec) -> dict[str, EmbedderSpec]:
    """Field -> embedder: the study's own, and those that it is compared with."""
    compared = study.frequency.validation.embedders
    return {"frequency.embedder": study.frequency.embedder} | {
        f"frequency.validation.embedders.{number}": embedder
        for number, embedder in enumerate(compared)
    }


def _judges(study: StudySpec) -> dict[str, JudgeSpec]:
    """Field -> judge: the study's own, and those that it is compared with."""
    compared = study.frequency.validation.judges
    return {"frequency.judge": study.frequency.judge} | {
        f"frequency.validation.judges.{number}": judge for number, judge in enumerate(compared)
    }


def _refuse_equal_names(names: Mapping[str, str]) -> None:
    """Tables tell embedders and judges apart by name; of two alike one would be lost."""
    first: dict[str, str] = {}
    for field, name in names.items():
        if first.setdefault(name, field) != field:
            raise UserError(
                f"{field}: is called {name!r} in tables, as {first[name]} is; compare with "
                "another, or give its folder or prompt another name"
            )


def _lexicon(study: StudySpec, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.counting.lexicon.building import build_lexicon

    return build_lexicon(work.input("text"), work.folder, run_tasks=_tasks(study, work))


def _index_step(
    study: StudySpec, field: str, corpus: str, *, text: Step, base: Step, inputs: InputFiles
) -> Step:
    embedder = _embedders(study)[field]
    place = field.rpartition(".")[2]
    own_base = isinstance(embedder, HiddenStatesSpec) and embedder.model == OWN_BASE
    return Step(
        name=f"{'index' if place == 'embedder' else f'compared{place}'}-{corpus}",
        kind="index",
        version=2,
        identity={
            **study.frequency.index_identity(),
            "embedder": embedder_identity(embedder, inputs, field),
        },
        needs={"text": text, "base": {"base": base} if own_base else {}},
        run=partial(_index, study, field, inputs.root),
        resumable=True,
        pool=DATA,
    )


def _index(study: StudySpec, field: str, root: Path, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.retrieval.index_building import build_index

    embedder = _embedders(study)[field]
    return build_index(
        study.frequency,
        embedder,
        text_folder=work.input("text"),
        folder=work.folder,
        model_folder=_model_folder(study, embedder, root, work, field),
        run_tasks=_embedding_tasks(study, work, embedder),
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
            "base": _own_base([spec.embedder], training),
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
        open_judge=_judge_opener(study, spec.judge, "frequency.judge", root, work),
        run_tasks=_embedding_tasks(study, work, spec.embedder),
        run_judge=_judge_tasks(study, work, spec.judge),
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
    clozes = _clozes(study, language, root)

    def scanned(code: str, part: str) -> ScannedPart:
        return ScannedPart(part=part, text=texts[code], lexicon=lexicons[code])

    return [
        AskedCorpus(
            culture=culture,
            corpus=code,
            clozes=clozes[code],
            index=indexes[code],
            model_folder=_model_folder(study, study.frequency.embedder, root, work),
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
        run_tasks=_tasks(study, work),
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


def _validation(study: StudySpec, root: Path, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.frequency.judges.factory import judge_name
    from ccx_ray.frequency.validation.validating import validate, validation_metrics

    judges, embedders = _judges(study), _embedders(study)
    summary = validate(
        study.frequency,
        [_validated_corpus(study, code, root, work) for code in work.inputs("texts")],
        work.folder,
        title=study.name,
        judges={
            judge_name(judge): _judge_opener(study, judge, field, root, work)
            for field, judge in judges.items()
        },
        run_tasks=_embedding_tasks(study, work, *embedders.values()),
        run_judges=_judge_tasks(study, work, *judges.values()),
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


def _frequencies_in(study: StudySpec, corpus: str, work: StepWork) -> dict[str, Path]:
    """Culture -> its frequencies, of all cultures that were asked of a corpus."""
    frequencies = work.inputs("frequencies")
    if corpus == study.base_language.code:
        return frequencies
    return {corpus: frequencies[corpus]}


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
                code: _clozes(study, study.language(code), root)[corpus] for code in frequencies
            },
            frequencies=frequencies,
        ),
        lexicon=work.inputs("lexicons")[corpus],
        indexes=tuple(
            ComparedIndex(
                embedder=embedder,
                folder=work.inputs(f"indexes of {field}")[corpus],
                model_folder=_model_folder(study, embedder, root, work, field),
            )
            for field, embedder in _embedders(study).items()
        ),
    )


def _clozes(study: StudySpec, language: LanguageSpec, root: Path) -> "dict[str, tuple[Cloze, ...]]":
    """Language of the text -> the culture's questions in it."""
    from ccx_ray.evaluation.probes import load_culture
    from ccx_ray.frequency.text.questions import Cloze

    probes = load_culture(language, root, base=study.base_language.code)
    return {
        code: tuple(Cloze(question=item.question, answer=item.answer) for item in probe.items)
        for code, probe in probes.items()
    }


def _own_base(embedders: Any, training: TrainingSteps) -> dict[str, Step]:
    """The base where one of the embedders is made of it; it is opened when a query is embedded."""
    own = any(isinstance(one, HiddenStatesSpec) and one.model == OWN_BASE for one in embedders)
    return {"base": training.base} if own else {}


def _model_folder(
    study: StudySpec,
    spec: EmbedderSpec,
    root: Path,
    work: StepWork,
    field: str = "frequency.embedder",
) -> Path | None:
    """Where the embedder's model lies; None for one without."""
    from ccx_ray.training.checkpoints import checkpoint_folder

    if isinstance(spec, HiddenStatesSpec) and spec.model == OWN_BASE:
        return checkpoint_folder(work.inputs("base")["base"], study.base.steps)
    return _model_path(spec, InputFiles(root), field)


def _model_path(spec: EmbedderSpec, inputs: InputFiles, field: str) -> Path | None:
    """The folder that a study file names for an embedder; None for one without a model."""
    if isinstance(spec, SentenceTransformersSpec):
        return inputs.resolve_folder(spec.folder, f"{field}.folder")
    if isinstance(spec, HiddenStatesSpec):
        return inputs.resolve_folder(spec.model, f"{field}.model")
    return None


def _tasks(study: StudySpec, work: StepWork) -> RunTasks:
    return work.run_tasks(cpus=study.runtime.data.cpus_per_task)


def _model_tasks(study: StudySpec, work: StepWork) -> RunTasks:
    """Tasks of a model, each with ``runtime.judge.gpus``."""
    return work.run_tasks(cpus=study.runtime.data.cpus_per_task, gpus=study.runtime.judge.gpus)


def _embedding_tasks(study: StudySpec, work: StepWork, *specs: EmbedderSpec) -> RunTasks:
    plain = all(isinstance(spec, NgramEmbedderSpec) for spec in specs)
    return _tasks(study, work) if plain else _model_tasks(study, work)


def _judge_tasks(study: StudySpec, work: StepWork, *specs: JudgeSpec) -> RunTasks:
    if any(isinstance(spec, EndpointJudgeSpec) for spec in specs):
        return run_here  # it waits for answers; a place on the cluster would stand idle
    models = any(isinstance(spec, LocalJudgeSpec) for spec in specs)
    return _model_tasks(study, work) if models else _tasks(study, work)


def _judge_opener(
    study: StudySpec, spec: JudgeSpec, field: str, root: Path, work: StepWork
) -> "OpenJudge":
    from ccx_ray.frequency.estimation import open_corpus_judge

    return partial(
        open_corpus_judge,
        spec,
        study.runtime.judge,
        root=root,
        cache_folder=work.study_folder / VERDICTS,
        # Names the verdicts of a judge, whichever study asks.
        fingerprint=fingerprint(judge_identity(spec, InputFiles(root), field)),
        run=work.services.run_id,
    )
