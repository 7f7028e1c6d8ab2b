"""What was run: sizes, tokens, times, corpora and provenance, from markers and loss histories.

Invariant: a fact that no marker holds is absent (None), never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ccx_ray.analysis.measures.inputs import BASE_RUN, AnalysisInputs
from ccx_ray.study.spec import Condition
from ccx_ray.study.trials import Trial
from ccx_ray.training.size import model_size

CONDITIONS: tuple[Condition, ...] = ("bridge", "nobridge")


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """One training, as its loss history tells it."""

    run: str
    steps: int
    tokens: int
    """Predicted tokens; padding and first tokens of rows are none."""
    first_loss: float
    last_loss: float
    """In nats a token."""
    seconds: float
    """Of the optimizer steps alone, without start-up and checkpoints."""


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """Predicted tokens of the two conditions of one language and seed."""

    language: str
    seed: int
    bridge: int
    nobridge: int
    difference: int
    """Bridge minus no-bridge: a condition must not win by having more to learn from."""


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """Training loss in nats a token after every optimizer step."""

    run: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One step of the study's graph."""

    step: str
    kind: str
    fingerprint: str
    commit: str
    started: str
    seconds: float
    """Wall time; several steps run at the same time."""
    counts: dict[str, Any]
    """The numbers and words of the marker, nested names joined by a slash."""


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """The figures of the paragraph that says what was run."""

    parameters: int
    trials: int
    trials_trained: int
    """Trials with a loss history; the others are missing from every result."""
    base_tokens: int
    trial_tokens: int
    """Of all trials together."""
    started: str | None
    finished: str | None
    """The last end of a step before the analysis."""
    wall_seconds: float | None
    """From the first start to the last end; steps that were reused may make it long."""
    training_seconds: float
    commits: tuple[str, ...]
    python: str | None
    platform: str | None
    processors: int | None
    versions: dict[str, str]


def loss_curves(trainings: Mapping[str, Path]) -> list[LossCurve]:
    """The loss history of every run."""
    curves = []
    for run, folder in trainings.items():
        table = pq.read_table(folder / "losses.parquet", columns=["step", "loss"]).sort_by("step")
        curves.append(
            LossCurve(
                run=run,
                steps=tuple(table["step"].to_pylist()),
                losses=tuple(table["loss"].to_pylist()),
            )
        )
    return curves


def training_rows(trainings: Mapping[str, Path]) -> list[TrainingRow]:
    """Steps, tokens, losses and seconds of every run."""
    rows = []
    for run, folder in trainings.items():
        table = pq.read_table(folder / "losses.parquet").sort_by("step")
        losses = table["loss"].to_pylist()
        rows.append(
            TrainingRow(
                run=run,
                steps=len(losses),
                tokens=sum(table["tokens"].to_pylist()),
                first_loss=losses[0],
                last_loss=losses[-1],
                seconds=sum(table["seconds"].to_pylist()),
            )
        )
    return rows


def token_rows(trials: Sequence[Trial], trainings: Sequence[TrainingRow]) -> list[TokenRow]:
    """The tokens of every pair of trials that was trained under both conditions."""
    tokens = {row.run: row.tokens for row in trainings}
    rows = []
    pairs = dict.fromkeys((trial.language, trial.seed) for trial in trials)
    languages = list(dict.fromkeys(language for language, _ in pairs))
    for language, seed in sorted(pairs, key=lambda pair: languages.index(pair[0])):
        pair = [
            tokens.get(Trial(language=language, condition=condition, seed=seed).name)
            for condition in CONDITIONS
        ]
        if pair[0] is not None and pair[1] is not None:
            rows.append(
                TokenRow(
                    language=language,
                    seed=seed,
                    bridge=pair[0],
                    nobridge=pair[1],
                    difference=pair[0] - pair[1],
                )
            )
    return rows


def step_rows(markers: Mapping[str, Mapping[str, Any]]) -> list[StepRow]:
    """Every finished step, in the order of the study's graph."""
    return [
        StepRow(
            step=name,
            kind=marker.get("kind", ""),
            fingerprint=marker["fingerprint"],
            commit=marker.get("commit") or "unknown",
            started=marker["started"],
            seconds=_seconds(marker["started"], marker["finished"]),
            counts=flat_counts(marker.get("counts", {})),
        )
        for name, marker in markers.items()
    ]


def study_facts(inputs: AnalysisInputs, trainings: list[TrainingRow]) -> StudyFacts:
    """What the report's first paragraph says."""
    markers = inputs.markers.values()
    started = min((marker["started"] for marker in markers), default=None)
    finished = max((marker["finished"] for marker in markers), default=None)
    latest: Mapping[str, Any] = max(markers, key=lambda marker: marker["finished"], default={})
    study = inputs.study
    counted = inputs.markers.get(BASE_RUN, {}).get("counts", {}).get("parameters")
    vocabulary = study.tokenizer.vocabulary_size
    return StudyFacts(
        parameters=counted or model_size(study.model, vocabulary).parameters,
        trials=len(inputs.trials),
        trials_trained=sum(row.run != BASE_RUN for row in trainings),
        base_tokens=sum(row.tokens for row in trainings if row.run == BASE_RUN),
        trial_tokens=sum(row.tokens for row in trainings if row.run != BASE_RUN),
        started=started,
        finished=finished,
        wall_seconds=_seconds(started, finished) if started and finished else None,
        training_seconds=sum(row.seconds for row in trainings),
        commits=tuple(dict.fromkeys(m["commit"] for m in markers if m.get("commit"))),
        python=latest.get("python"),
        platform=latest.get("platform"),
        processors=latest.get("processors"),
        versions={k: v for k, v in (latest.get("versions") or {}).items() if v},
    )


def flat_counts(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The scalars of a marker's counts, nested names joined by a slash."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flat_counts(value, f"{prefix}{key}/")
        elif isinstance(value, bool | int | float | str):
            flat[prefix + key] = value
    return flat


def _seconds(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
