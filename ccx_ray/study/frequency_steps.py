"""The steps that look for knowledge: lexicons, indexes, frequencies, exposure, validation.

A model in a folder enters an identity by the content of its files and never by its path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ccx_ray.orchestration.fingerprints import fingerprint, hash_file
from ccx_ray.orchestration.graph import Step
from ccx_ray.study.frequency_spec import (
    EmbedderSpec,
    FrequencySpec,
    HiddenStatesSpec,
    JudgeSpec,
    LexicalJudgeSpec,
    LocalJudgeSpec,
    SentenceTransformersSpec,
)
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.step_making import make_step, probe_hashes

SHIPPED_PROMPT = Path(str(resources.files("ccx_ray"))) / "frequency/judges/judge_prompt.txt"
OWN_BASE = "base"
REVIEWS = "reviews"


@dataclass(frozen=True, kw_only=True)
class FrequencySteps:
    """What a study's frequencies are computed by."""

    frequencies: tuple[Step, ...]
    exposures: tuple[Step, ...]
    validation: Step
    review: Step


def frequency_steps(
    study: StudySpec,
    inputs: InputFiles,
    *,
    texts: Mapping[str, Step],
    base: Step,
    base_stream: Step,
    streams: Mapping[tuple[str, int], Step],
    study_folder: Path | None,
) -> FrequencySteps:
    """The frequency part of a study's graph.

    Args:
        texts: language -> its text step, the base language's included.
        streams: (language, seed) -> the streams of both conditions.
        study_folder: where the reviews of its documents are kept that people have filled in.
    """
    spec, base_code = study.frequency, study.base_language.code
    cultures = [language.code for language in study.trial_languages]
    codes = [base_code, *cultures]
    lexicons = {
        code: make_step(f"lexicon-{code}", "lexicon", {}, (texts[code],), resumable=True)
        for code in codes
    }
    own = embedder_identity(spec.embedder, inputs, "frequency.embedder")
    others = [
        embedder_identity(embedder, inputs, f"frequency.validation.embedders.{number}")
        for number, embedder in enumerate(spec.validation.embedders)
    ]
    indexes = {code: _index(spec, spec.embedder, own, texts[code], base) for code in codes}
    compared = [
        _index(spec, embedder, others[number], texts[code], base, name=other_index(number))
        for number, embedder in enumerate(spec.validation.embedders)
        for code in codes
    ]
    judge = judge_identity(spec.judge, inputs, "frequency.judge")
    frequencies = {
        language.code: make_step(
            f"frequency-{language.code}",
            "frequency",
            {**spec.estimate_identity(), "judge": judge, "probes": probe_hashes(language, inputs)},
            tuple(
                step[code]
                for code in (base_code, language.code)
                for step in (texts, indexes, lexicons)
            ),
            resumable=True,
        )
        for language in study.trial_languages
    }
    trials, seeds = study.trials, study.trials.seeds
    exposures = tuple(
        make_step(
            f"exposure-{code}",
            "exposure",
            {
                "conditions": trials.conditions,
                "sequences_per_step": trials.sequences_per_step,
                "checkpoints": trials.checkpoint_steps,
                "base": {
                    "sequences_per_step": study.base.sequences_per_step,
                    "steps": study.base.steps,
                },
            },
            (
                frequencies[code],
                base_stream,
                *(streams[code, seed] for seed in seeds),
                texts[base_code],
                texts[code],
            ),
        )
        for code in cultures
    )
    validation = _validation(
        study,
        [own, *others],
        inputs,
        (
            *frequencies.values(),
            *compared,
            *indexes.values(),
            *lexicons.values(),
            *(texts[code] for code in codes),
        ),
    )
    return FrequencySteps(
        frequencies=tuple(frequencies.values()),
        exposures=exposures,
        validation=validation,
        review=make_step(
            "review",
            "review",
            {"reviews": read_reviews(study_folder, validation), "seed": spec.validation.seed},
            (validation, *frequencies.values()),
        ),
    )


def other_index(number: int) -> str:
    """The name of the indexes by the embedder of this place in ``validation.embedders``."""
    return f"compared{number}"


def _index(
    spec: FrequencySpec,
    embedder: EmbedderSpec,
    identity: Mapping[str, object],
    text: Step,
    base: Step,
    *,
    name: str = "index",
) -> Step:
    own_base = isinstance(embedder, HiddenStatesSpec) and embedder.model == OWN_BASE
    return make_step(
        f"{name}-{text.name.removeprefix('text-')}",
        "index",
        {**spec.index_identity(), "embedder": identity},
        (text, base) if own_base else (text,),
        resumable=True,
    )


def _validation(
    study: StudySpec,
    embedders: Sequence[Mapping[str, object]],
    inputs: InputFiles,
    upstream: Sequence[Step],
) -> Step:
    spec = study.frequency.validation
    return make_step(
        "validation",
        "validation",
        {
            **spec.model_dump(exclude={"embedders", "judges"}),
            **study.frequency.index_identity(),
            "embedders": embedders,
            "judges": [
                judge_identity(judge, inputs, f"frequency.validation.judges.{place}")
                for place, judge in enumerate(spec.judges)
            ],
        },
        upstream,
        resumable=True,
    )


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
        hash_file(SHIPPED_PROMPT)
        if spec.prompt is None
        else inputs.hash(spec.prompt, f"{field}.prompt")
    )
    return identity


def judge_fingerprint(spec: JudgeSpec, inputs: InputFiles, field: str) -> str:
    """Names the verdicts of a judge, whichever study asks."""
    return fingerprint(judge_identity(spec, inputs, field))


def reviews_folder(study_folder: Path, validation: Step) -> Path:
    """Where reviews of the documents that a validation drew are kept, ``<corpus>.csv`` each.

    A study that is estimated in another way draws other documents; what people said of the earlier
    ones stays with those.
    """
    return study_folder / REVIEWS / validation.fingerprint


def read_reviews(study_folder: Path | None, validation: Step) -> dict[str, str]:
    """Corpus -> hash of its imported review; none without a folder."""
    if study_folder is None:
        return {}
    kept = reviews_folder(study_folder, validation).glob("*.csv")
    return {path.stem: hash_file(path) for path in sorted(kept)}
