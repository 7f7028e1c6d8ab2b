"""The steps of a study: what each is called, what decides it, and what it is computed from.

Only identities stand here; what a step *does* is bound in ``ccx_ray/run.py``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ccx_ray.orchestration.fingerprints import hash_file
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.study.frequency_steps import frequency_steps
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.step_making import make_step, probe_hashes
from ccx_ray.study.text_spec import (
    BaseLanguageSpec,
    CleaningSpec,
    LanguageSpec,
    TokenizerSpec,
)
from ccx_ray.study.training_spec import TrainingSpec
from ccx_ray.study.trials import trial_grid


def study_graph(
    study: StudySpec,
    inputs: InputFiles,
    reruns: Mapping[str, int] | None = None,
    study_folder: Path | None = None,
) -> Graph:
    """The graph of a study.

    Args:
        reruns: trial name -> how often ``run_trial.py --rerun`` has asked for it anew. Like a
            seed, it makes a step of its own, so that the earlier one is kept beside it.
        study_folder: where imported reviews are kept (``frequency_steps.reviews_folder``).

    Raises:
        UserError: an input file is missing.
    """
    reruns = reruns or {}
    english = _text(study.base_language, study.cleaning, inputs)
    texts = {language.code: _text(language, study.cleaning, inputs) for language in study.languages}
    base_code = study.base_language.code
    held_out = _held_out(study, english, texts)

    def held_out_of(*codes: str) -> tuple[Step, ...]:
        return tuple(held_out[code] for code in codes if code in held_out)

    # The tokenizer may learn from held-out text: its merges are the same in every condition, and
    # a sample of a few megabytes need not be drawn anew when another document is held out.
    tokenizer = _tokenizer(study.tokenizer, (english, *texts.values()), inputs)
    tokens = {
        code: make_step(f"tokens-{code}", "tokens", {}, (text, tokenizer), resumable=True)
        for code, text in {study.base_language.code: english, **texts}.items()
    }
    base_stream = make_step(
        "stream-base",
        "stream",
        {"sequence_length": study.sequence_length, "seed": study.base.seed},
        (tokens[base_code], tokenizer, *held_out_of(base_code)),
        resumable=True,
    )
    base = make_step(
        "base",
        "training",
        {"model": study.model.model_dump(), **_training(study.base), "seed": study.base.seed},
        (base_stream, tokenizer),
        resumable=True,
    )
    evaluations = [
        _evaluation("base", base, study.languages, inputs, upstream=held_out_of(*tokens)),
    ]
    streams: dict[tuple[str, int], Step] = {}
    for trial in trial_grid(study):
        key = (trial.language, trial.seed)
        if key not in streams:
            streams[key] = make_step(
                f"stream-{trial.language}-s{trial.seed}",
                "stream",
                {
                    "sequence_length": study.sequence_length,
                    "seed": trial.seed,
                    "rows": study.trials.steps * study.trials.sequences_per_step,
                    "mixture": study.trials.mixture.model_dump(),
                    "pair_order": study.trials.pair_order,
                },
                (
                    tokens[trial.language],
                    tokenizer,
                    *held_out_of(trial.language),
                    *(
                        (tokens[base_code], *held_out_of(base_code))
                        if study.trials.mixture.replay
                        else ()
                    ),
                ),
                resumable=True,
            )
        again = {"rerun": reruns[trial.name]} if reruns.get(trial.name) else {}
        training = make_step(
            f"trial-{trial.name}",
            "training",
            {**_training(study.trials), "condition": trial.condition, "seed": trial.seed, **again},
            (base, streams[key], tokenizer),
            resumable=True,
        )
        language = study.language(trial.language)
        evaluations.append(
            _evaluation(
                trial.name,
                training,
                (language,),
                inputs,
                upstream=held_out_of(base_code, trial.language),
            )
        )
    frequency = frequency_steps(
        study,
        inputs,
        texts={base_code: english, **texts},
        base=base,
        base_stream=base_stream,
        streams=streams,
        study_folder=study_folder,
    )
    audit = make_step(
        "audit",
        "audit",
        {
            **study.audit.identity(),
            "isolation": {
                lang.code: lang.isolation.model_dump()
                for lang in (study.base_language, *study.languages)
            },
            "probes": {lang.code: probe_hashes(lang, inputs) for lang in study.trial_languages},
        },
        (english, *texts.values(), *streams.values()),
        resumable=True,
    )
    words = {
        "description": study.description,
        "languages": {
            lang.code: [lang.name, lang.note] for lang in (study.base_language, *study.languages)
        },
    }
    analysis = make_step(
        "analysis",
        "analysis",
        {
            **study.analysis.model_dump(),
            "evaluation": study.evaluation.model_dump(),
            "audit": study.audit.model_dump(),
            **words,
        },
        (
            *evaluations,
            *frequency.frequencies,
            *frequency.exposures,
            frequency.validation,
            frequency.review,
            audit,
        ),
    )
    return Graph([*(english, *texts.values()), analysis])


def reruns_file(study_folder: Path) -> Path:
    """Where a study notes which trials were asked for anew."""
    return study_folder / "reruns.json"


def read_reruns(study_folder: Path) -> dict[str, int]:
    """Trial name -> how often it was asked for anew."""
    path = reruns_file(study_folder)
    reruns: dict[str, int] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return reruns


def _text(language: BaseLanguageSpec, cleaning: CleaningSpec, inputs: InputFiles) -> Step:
    fields = ("monolingual", "parallel") if isinstance(language, LanguageSpec) else ("monolingual",)
    sources = {
        field: [
            inputs.source(source, f"languages.{language.code}.{field}")
            for source in getattr(language, field)
        ]
        for field in fields
    }
    identity = {
        "language": language.code,
        "isolation": language.isolation.model_dump(),
        "cleaning": cleaning.model_dump(),
        **sources,
    }
    return make_step(f"text-{language.code}", "text", identity, (), resumable=True)


def _held_out(study: StudySpec, english: Step, texts: Mapping[str, Step]) -> dict[str, Step]:
    """Language -> the step that chooses its held-out documents; empty where none are.

    The pairs of every language show English sentences to some model that is tested on English.
    """
    if not study.held_out.share:
        return {}
    upstream = {study.base_language.code: (english, *texts.values())}
    upstream |= {code: (text,) for code, text in texts.items()}
    return {
        code: make_step(f"heldout-{code}", "heldout", study.held_out.model_dump(), needed)
        for code, needed in upstream.items()
    }


def _tokenizer(spec: TokenizerSpec, texts: Sequence[Step], inputs: InputFiles) -> Step:
    identity = spec.model_dump()
    if spec.pretrained is None:
        return make_step("tokenizer", "tokenizer", identity, texts)
    # Nothing is learnt, so the texts do not matter; a folder's content does, not its path.
    file = inputs.root / spec.pretrained / "tokenizer.json"
    if file.is_file():
        identity["pretrained"] = hash_file(file)
    return make_step("tokenizer", "tokenizer", identity, ())


def _training(training: TrainingSpec) -> dict[str, object]:
    identity = training.model_dump(
        include={"steps", "sequences_per_step", "optimizer", "document_masks", "watch"}
    )
    return {**identity, "checkpoints": training.checkpoint_steps}


def _evaluation(
    run: str,
    training: Step,
    languages: Sequence[LanguageSpec],
    inputs: InputFiles,
    *,
    upstream: Sequence[Step],
) -> Step:
    identity = {
        "probes": {language.code: probe_hashes(language, inputs) for language in languages},
    }
    return make_step(
        f"evaluate-{run}", "evaluation", identity, upstream, follows=(training,), resumable=True
    )
