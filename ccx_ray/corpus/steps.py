"""The steps of the corpus stage: text, held-out documents, tokenizer, tokens, streams, audit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.corpus.intervention_steps import (
    Statements,
    intervention_steps,
    planted_documents,
    planting_steps,
)
from ccx_ray.errors import UserError
from ccx_ray.orchestration.gauges import Gauge
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.orchestration.tasks import RunTasks
from ccx_ray.storage.hashing import file_sha256
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import BaseLanguageSpec, LanguageSpec
from ccx_ray.study.trials import base_seeds, trial_grid
from ccx_ray.study.world_spec import WorldSpec

DATA = "data"
"""Pool of the steps whose tasks fill the cluster: on a small one, concurrent Ray Data executions
block each other (ray#24304)."""
BACKGROUND = "background"
"""Pool of the steps that no training needs."""
RECORDS = Gauge(
    "corpus_records", "Records that a step has read, or tokenized, in this run", ("step",)
)

Questions = Callable[[LanguageSpec], Mapping[str, Sequence[tuple[str, str]]]]
"""Language code -> (question, question with its answer filled in), of a culture's probe files."""
Counts = Mapping[str, Any]

data_step = partial(Step, resumable=True, pool=DATA)
background_step = partial(Step, resumable=True, pool=BACKGROUND, background=True)


@dataclass(frozen=True, kw_only=True)
class CorpusSteps:
    """Everything before the first optimizer step."""

    texts: Mapping[str, Step]
    """By language, the base language first; with its planted documents where there are any."""
    interventions: Mapping[str, Step]
    """By the language of the text; those of ``texts`` that plant documents."""
    held_out: Mapping[str, Step]
    """By language; empty where nothing is held out."""
    tokenizer: Step
    base_streams: Mapping[str, Step]
    """By the name of the base."""
    trial_streams: Mapping[tuple[str, int], Step]
    """All conditions of a (language, seed)."""
    audit: Step

    def held_out_of(self, *codes: str) -> dict[str, Step]:
        return {code: self.held_out[code] for code in codes if code in self.held_out}


def corpus_steps(
    study: StudySpec,
    inputs: InputFiles,
    questions: Questions,
    statements: Statements,
    world: Step | None = None,
) -> CorpusSteps:
    """The corpus part of a study's graph.

    Args:
        statements: what interventions plant, where they take it from a probe.
        world: the step that plants the text, where it is not read from files.

    Raises:
        UserError: an input file is missing.
    """
    base = study.base_language.code
    texts = {
        language.code: _text_step(study, language, inputs, world)
        for language in (study.base_language, *study.languages)
    }
    held_out = _held_out_steps(study, texts)
    tokenizer = _tokenizer_step(study, texts, inputs)
    found = texts  # of which held-out text and tokenizer are made
    interventions = intervention_steps(study, texts, inputs, statements)
    texts = {**texts, **interventions}

    def tokenize(work: StepWork) -> Counts:
        from ccx_ray.corpus.tokenizing.tokens import tokenize_text

        return tokenize_text(
            work.input("text"), work.input("tokenizer"), work.folder, run_tasks=_tasks(study, work)
        )

    tokens = {
        code: data_step(
            name=f"tokens-{code}",
            kind="tokens",
            version=3,
            identity={},
            needs={"text": text, "tokenizer": tokenizer},
            run=tokenize,
        )
        for code, text in texts.items()
    }

    def prepare_base(seed: int, work: StepWork) -> Counts:
        from ccx_ray.corpus.packing.stream_preparation import prepare_base_stream

        return prepare_base_stream(
            work.input("tokens"),
            work.input("tokenizer"),
            work.folder,
            sequence_length=study.sequence_length,
            seed=seed,
            held_out=_held_out_file(work, base),
            planted=planted_documents(work, base),
            rows=rows,
            run_tasks=_tasks(study, work),
        )

    rows = study.base.steps * study.base.sequences_per_step
    base_streams = {
        name: data_step(
            name=f"stream-{name}",
            kind="stream",
            version=4,
            identity={
                "sequence_length": study.sequence_length,
                "seed": seed,
                **({"rows": rows} if base in interventions else {}),
            },
            needs={
                "tokens": tokens[base],
                "tokenizer": tokenizer,
                "held out": {base: held_out[base]} if held_out else {},
                **planting_steps(interventions, base),
            },
            run=partial(prepare_base, seed),
        )
        for name, seed in base_seeds(study).items()
    }
    streams = {
        (trial.language, trial.seed): _trial_streams_step(
            study,
            trial.language,
            trial.seed,
            tokens=tokens,
            tokenizer=tokenizer,
            held_out=held_out,
            interventions=interventions,
        )
        for trial in trial_grid(study)
    }
    return CorpusSteps(
        texts=texts,
        interventions=interventions,
        held_out=held_out,
        tokenizer=tokenizer,
        base_streams=base_streams,
        trial_streams=streams,
        audit=_audit_step(
            study,
            inputs,
            questions,
            texts=found,
            interventions=interventions,
            tokens=tokens,
            streams=streams,
        ),
    )


def check_corpus(study: StudySpec, root: Path) -> None:
    """Find mistakes in scripts, languages and sources before any compute is spent.

    Raises:
        UserError: the first mistake.
    """
    from ccx_ray.corpus.cleaning.language_identification import check_language_codes
    from ccx_ray.corpus.cleaning.scripts import check_script_names
    from ccx_ray.corpus.reading.sources import check_source, text_sources

    for language in (study.base_language, *study.languages):
        field = f"languages.{language.code}"
        check_script_names(language.isolation, f"{field}.isolation")
        check_language_codes(language.isolation, language.code, f"{field}.isolation")
        if study.world is not None:
            _check_planted_script(study.world, language)
            continue
        for source in text_sources(language, study.base_language):
            check_source(source.spec, sides=source.sides, root=root, field=source.field)


def _check_planted_script(world: WorldSpec, language: BaseLanguageSpec | LanguageSpec) -> None:
    """Raises a UserError where isolation would take the words of a planted language out."""
    import pyarrow as pa

    from ccx_ray.corpus.cleaning.scripts import isolate
    from ccx_ray.world.words import COMMON_VALUES, alphabet, script_of

    if language.isolation.strategy != "script":
        return
    letters = alphabet(script_of(world, language.code)) + COMMON_VALUES
    if isolate(pa.array([letters]), language.isolation).text[0].as_py() != letters:
        raise UserError(
            f"world.languages.{language.code}.script: {script_of(world, language.code)!r} is "
            f"removed by languages.{language.code}.isolation; choose another script"
        )


def _text_step(
    study: StudySpec,
    language: BaseLanguageSpec | LanguageSpec,
    inputs: InputFiles,
    world: Step | None,
) -> Step:
    base, code = study.base_language, language.code

    def isolate(work: StepWork) -> Counts:
        from ccx_ray.corpus.cleaning.text_folder import isolate_text

        return isolate_text(
            language,
            inputs.text_root,
            work.folder,
            base=base,
            cleaning=study.cleaning,
            run_tasks=_tasks(study, work),
        )

    identity: dict[str, Any] = {
        "language": code,
        "isolation": language.isolation.model_dump(),
        "cleaning": study.cleaning.model_dump(),
    }
    fields = ["monolingual"]
    if isinstance(language, LanguageSpec):  # the first halves of its pairs are the base's
        fields.append("parallel")
        identity |= {"base": base.code, "base_isolation": base.isolation.model_dump()}
    for field in fields:
        sources = getattr(language, field)
        identity[field] = [inputs.source(source, f"languages.{code}.{field}") for source in sources]
    return data_step(
        name=f"text-{code}",
        kind="text",
        version=4,
        identity=identity,
        needs={} if world is None else {"world": world},
        run=isolate,
    )


def _held_out_steps(study: StudySpec, texts: Mapping[str, Step]) -> dict[str, Step]:
    """The pairs of every language show English sentences to some model that is tested on English,
    so those of the base language are chosen in sight of every text."""
    if not study.held_out.share:
        return {}
    base = study.base_language.code

    def choose(work: StepWork) -> Counts:
        from ccx_ray.corpus.packing.heldout import hold_out

        text, shown = work.input("text"), work.inputs("shown")
        return hold_out(text, list(shown.values()) or [text], study.held_out, work.folder)

    return {
        code: Step(
            name=f"heldout-{code}",
            kind="heldout",
            version=1,
            identity=study.held_out.model_dump(),
            needs={
                "text": text,
                "shown": {c: t for c, t in texts.items() if c != base} if code == base else {},
            },
            run=choose,
        )
        for code, text in texts.items()
    }


def _tokenizer_step(study: StudySpec, texts: Mapping[str, Step], inputs: InputFiles) -> Step:
    """It may learn from held-out text: its merges are the same in every condition, and a sample of
    a few megabytes need not be drawn anew when another document is held out."""
    spec = study.tokenizer
    identity = spec.model_dump()
    if spec.pretrained is not None:
        # A folder's content matters, not its path.
        file = inputs.root / spec.pretrained / "tokenizer.json"
        if file.is_file():
            identity["pretrained"] = file_sha256(file)

    def make(work: StepWork) -> Counts:
        from ccx_ray.corpus.tokenizing.tokenizer import adopt_tokenizer, train_tokenizer

        if spec.pretrained is not None:
            return adopt_tokenizer(spec, inputs.root, work.folder)
        return train_tokenizer(spec, work.inputs("texts"), work.folder)

    return Step(
        name="tokenizer",
        kind="tokenizer",
        version=2,
        identity=identity,
        # Nothing is learnt by a published one, so the texts do not matter.
        needs={"texts": texts if spec.pretrained is None else {}},
        run=make,
        pool=DATA,
    )


def _trial_streams_step(
    study: StudySpec,
    language: str,
    seed: int,
    *,
    tokens: Mapping[str, Step],
    tokenizer: Step,
    held_out: Mapping[str, Step],
    interventions: Mapping[str, Step],
) -> Step:
    trials, base = study.trials, study.base_language.code
    rows = trials.steps * trials.sequences_per_step
    shown = [language, base] if trials.mixture.replay else [language]

    def prepare(work: StepWork) -> Counts:
        from ccx_ray.corpus.packing.stream_preparation import prepare_trial_streams

        return prepare_trial_streams(
            work.input("tokens"),
            work.inputs("replay").get(base),
            work.input("tokenizer"),
            work.folder,
            sequence_length=study.sequence_length,
            seed=seed,
            rows=rows,
            mixture=trials.mixture,
            pair_order=trials.pair_order,
            deranged="deranged" in trials.streams,
            held_out=_held_out_file(work, language),
            replay_held_out=_held_out_file(work, base),
            planted=planted_documents(work, language),
            replay_planted=planted_documents(work, base),
            run_tasks=_tasks(study, work),
        )

    return data_step(
        name=f"stream-{language}-s{seed}",
        kind="stream",
        version=4,
        identity={
            "sequence_length": study.sequence_length,
            "seed": seed,
            "rows": rows,
            "mixture": trials.mixture.model_dump(),
            "pair_order": trials.pair_order,
            **({"conditions": trials.streams} if "deranged" in trials.streams else {}),
        },
        needs={
            "tokens": tokens[language],
            "tokenizer": tokenizer,
            "replay": {base: tokens[base]} if trials.mixture.replay else {},
            "held out": {code: held_out[code] for code in shown if code in held_out},
            **planting_steps(interventions, *shown),
        },
        run=prepare,
    )


def _audit_step(
    study: StudySpec,
    inputs: InputFiles,
    questions: Questions,
    *,
    texts: Mapping[str, Step],
    interventions: Mapping[str, Step],
    tokens: Mapping[str, Step],
    streams: Mapping[tuple[str, int], Step],
) -> Step:
    base = study.base_language
    languages = (base, *study.languages)

    def run_audit(work: StepWork) -> Counts:
        from ccx_ray.corpus.audit.auditing import audit
        from ccx_ray.corpus.audit.figures import metrics
        from ccx_ray.corpus.audit.inputs import (
            AuditedLanguage,
            AuditedStream,
            AuditInputs,
            probe_side,
        )

        audited = AuditInputs(
            languages=tuple(
                AuditedLanguage(
                    code=language.code,
                    folder=work.folder_of(texts[language.code]),
                    isolation=language.isolation,
                    base=base.code,
                    base_isolation=base.isolation,
                    counts=work.marker_of(texts[language.code])["counts"],
                    planted=work.inputs("interventions").get(language.code),
                )
                for language in languages
            ),
            streams=tuple(
                AuditedStream(
                    language=code,
                    seed=seed,
                    folder=work.folder_of(step),
                    tokens=work.inputs("tokens")[code],
                    conditions=study.trials.streams,
                )
                for (code, seed), step in streams.items()
            ),
            probes=tuple(
                probe_side(language.code, code, list(filled))
                for language in study.trial_languages
                for code, filled in questions(language).items()
            ),
        )
        figures = audit(
            audited, study.audit, work.folder, title=study.name, run_tasks=_tasks(study, work)
        )
        found = metrics(figures)
        work.record(found)
        return {"figures": len(found)}

    return background_step(
        name="audit",
        kind="audit",
        version=2,
        identity={
            **study.audit.identity(),
            "isolation": {lang.code: lang.isolation.model_dump() for lang in languages},
            "probes": {lang.code: inputs.probe_hashes(lang) for lang in study.trial_languages},
        },
        needs={
            "texts": texts,
            "tokens": {language: tokens[language] for language, _ in streams},
            "streams": {step.name: step for step in streams.values()},
            **planting_steps(interventions, *interventions),
        },
        run=run_audit,
    )


def _held_out_file(work: StepWork, code: str) -> Path | None:
    from ccx_ray.corpus.packing.heldout import HELD_OUT

    folder = work.inputs("held out").get(code)
    return None if folder is None else folder / HELD_OUT


def _tasks(study: StudySpec, work: StepWork) -> RunTasks:
    def observe(result: Mapping[str, Any]) -> None:
        if records := records_of(result):
            gauges.count(RECORDS, (work.step.name,), records)

    gauges = work.services.gauges
    return work.run_tasks(cpus=study.runtime.data.cpus_per_task, observe=observe)


def records_of(result: Mapping[str, Any]) -> int:
    """Records that a task has read from its shard, or the documents and pairs that it tokenized; 0
    of a task that does neither."""
    read: int = result.get("counts", {}).get("read", 0)
    tokenized: int = result.get("documents", 0) + result.get("pairs", 0)
    return read + tokenized
