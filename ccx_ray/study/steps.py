"""The steps of a study: what each is called, what decides it, and what it is computed from.

Only identities stand here; what a step *does* is bound in ``ccx_ray/run.py``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.study.graph import Graph, Step
from ccx_ray.study.identity import hash_file
from ccx_ray.study.spec import BaseLanguageSpec, LanguageSpec, StudySpec, TrainingSpec
from ccx_ray.study.trials import trial_grid

# Raised when the code behind a kind of step changes what it computes from the same input.
VERSIONS = {
    "text": 1, "tokenizer": 1, "tokens": 1, "stream": 1, "training": 1,
    "evaluation": 1, "index": 1, "frequency": 1, "analysis": 1,
}  # fmt: skip


class InputFiles:
    """The input files of a spec, by their paths relative to ``root``, and their hashes."""

    def __init__(self, root: Path, *, allow_missing: bool = False) -> None:
        """
        Args:
            allow_missing: plan with files that are still to be supplied, for ``--dry-run``.
        """
        self.root = root
        self.missing: list[str] = []
        self._allow_missing = allow_missing

    def resolve(self, name: str, field: str) -> Path:
        """The path of an input file.

        Raises:
            UserError: the file does not exist or is not a file.
        """
        path = (self.root / Path(name).expanduser()).resolve()
        if not path.is_file():
            if not self._allow_missing:
                raise UserError(f"{field}: {str(path)!r} is not an existing file")
            self.missing.append(f"{field}: {name}")
        return path

    def hash(self, name: str, field: str) -> str:
        """SHA-256 of an input file's content."""
        path = self.resolve(name, field)
        return hash_file(path) if path.is_file() else f"missing:{name}"


def study_graph(
    study: StudySpec, inputs: InputFiles, reruns: Mapping[str, int] | None = None
) -> Graph:
    """The graph of a study.

    Args:
        reruns: trial name -> how often ``run_trial.py --rerun`` has asked for it anew. Like a
            seed, it makes a step of its own, so that the earlier one is kept beside it.

    Raises:
        UserError: an input file is missing.
    """
    reruns = reruns or {}
    english = _text(study.base_language, inputs)
    texts = {language.code: _text(language, inputs) for language in study.languages}
    tokenizer = _step(
        "tokenizer", "tokenizer", study.tokenizer.model_dump(), (english, *texts.values())
    )
    tokens = {
        code: _step(f"tokens-{code}", "tokens", {}, (text, tokenizer))
        for code, text in {study.base_language.code: english, **texts}.items()
    }
    base_stream = _step(
        "stream-base",
        "stream",
        {"sequence_length": study.sequence_length, "seed": study.base.seed},
        (tokens[study.base_language.code], tokenizer),
    )
    base = _step(
        "base",
        "training",
        {"model": study.model.model_dump(), **_training(study.base), "seed": study.base.seed},
        (base_stream, tokenizer),
        resumable=True,
    )
    evaluations = [
        _evaluation(study, "base", base, study.languages, inputs),
    ]
    streams: dict[tuple[str, int], Step] = {}
    for trial in trial_grid(study):
        key = (trial.language, trial.seed)
        if key not in streams:
            streams[key] = _step(
                f"stream-{trial.language}-s{trial.seed}",
                "stream",
                {
                    "sequence_length": study.sequence_length,
                    "seed": trial.seed,
                    "rows": study.trials.steps * study.trials.sequences_per_step,
                    "parallel_share": study.trials.parallel_share,
                    "pair_order": study.trials.pair_order,
                },
                (tokens[trial.language], tokenizer),
            )
        again = {"rerun": reruns[trial.name]} if reruns.get(trial.name) else {}
        training = _step(
            f"trial-{trial.name}",
            "training",
            {**_training(study.trials), "condition": trial.condition, "seed": trial.seed, **again},
            (base, streams[key], tokenizer),
            resumable=True,
        )
        language = study.language(trial.language)
        evaluations.append(_evaluation(study, trial.name, training, (language,), inputs))
    indexes = {
        code: _step(f"index-{code}", "index", study.frequency.retrieval_identity(), (text,))
        for code, text in {study.base_language.code: english, **texts}.items()
    }
    frequencies = [
        _step(
            f"frequency-{language.code}",
            "frequency",
            {**study.frequency.model_dump(), "probes": _probe_hashes(language, inputs)},
            (indexes[study.base_language.code], indexes[language.code]),
        )
        for language in study.trial_languages
    ]
    words = {
        "description": study.description,
        "languages": {
            lang.code: [lang.name, lang.note] for lang in (study.base_language, *study.languages)
        },
    }
    analysis = _step(
        "analysis",
        "analysis",
        {**study.analysis.model_dump(), **words},
        (*evaluations, *frequencies),
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


def _step(
    name: str,
    kind: str,
    identity: Mapping[str, object],
    upstream: Sequence[Step],
    *,
    follows: tuple[Step, ...] = (),
    resumable: bool = False,
) -> Step:
    return Step(
        name=name,
        kind=kind,
        version=VERSIONS[kind],
        identity=identity,
        upstream=tuple(upstream),
        follows=follows,
        resumable=resumable,
    )


def _text(language: BaseLanguageSpec, inputs: InputFiles) -> Step:
    fields = ("monolingual", "parallel") if isinstance(language, LanguageSpec) else ("monolingual",)
    sources = {
        field: [
            inputs.hash(name, f"languages.{language.code}.{field}")
            for name in getattr(language, field)
        ]
        for field in fields
    }
    identity = {"language": language.code, "isolation": language.isolation.model_dump(), **sources}
    return _step(f"text-{language.code}", "text", identity, ())


def _training(training: TrainingSpec) -> dict[str, object]:
    identity = training.model_dump(include={"steps", "sequences_per_step", "optimizer"})
    return {**identity, "checkpoints": training.checkpoint_steps}


def _probe_hashes(language: LanguageSpec, inputs: InputFiles) -> dict[str, str]:
    return {
        side: inputs.hash(name, f"languages.{language.code}.probes.{side}")
        for side, name in language.probes.model_dump().items()
    }


def _evaluation(
    study: StudySpec,
    run: str,
    training: Step,
    languages: Sequence[LanguageSpec],
    inputs: InputFiles,
) -> Step:
    identity = {
        **study.evaluation.model_dump(),
        "probes": {language.code: _probe_hashes(language, inputs) for language in languages},
    }
    return _step(f"evaluate-{run}", "evaluation", identity, (), follows=(training,), resumable=True)
