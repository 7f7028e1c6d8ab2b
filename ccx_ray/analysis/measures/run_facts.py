"""What was run: sizes, tokens, times, text and provenance, from markers and loss histories.

Invariant: a fact that no marker holds is absent (None), never guessed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ccx_ray.analysis.measures.question_transfer import CONDITIONS
from ccx_ray.analysis.measures.rows import BASE_RUN, Row
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import Trial
from ccx_ray.training.size import model_size

Markers = Mapping[str, Mapping[str, Any]]
"""Step name -> its completion marker."""


def loss_curves(trainings: Mapping[str, Path]) -> list[Row]:
    """Training loss of every run, in nats a token, after every optimizer step."""
    curves = []
    for run, folder in trainings.items():
        table = pq.read_table(folder / "losses.parquet", columns=["step", "loss"]).sort_by("step")
        curves.append(
            Row(run=run, steps=table["step"].to_pylist(), losses=table["loss"].to_pylist())
        )
    return curves


def training_rows(trainings: Mapping[str, Path]) -> list[Row]:
    """Steps, predicted tokens (padding and first tokens of rows are none), losses in nats a token,
    and the seconds of the optimizer steps alone, without start-up and checkpoints, of every run."""
    rows = []
    for run, folder in trainings.items():
        table = pq.read_table(folder / "losses.parquet").sort_by("step")
        losses = table["loss"].to_pylist()
        rows.append(
            Row(
                run=run,
                steps=len(losses),
                tokens=sum(table["tokens"].to_pylist()),
                first_loss=losses[0],
                last_loss=losses[-1],
                seconds=sum(table["seconds"].to_pylist()),
            )
        )
    return rows


def token_rows(trials: Sequence[Trial], trainings: Sequence[Row]) -> list[Row]:
    """The tokens of every pair of trials that was trained under both conditions: a condition must
    not win by having more to learn from."""
    tokens = {row.run: row.tokens for row in trainings}
    rows = []
    pairs = dict.fromkeys((trial.language, trial.seed) for trial in trials)
    languages = list(dict.fromkeys(language for language, _ in pairs))
    for language, seed in sorted(pairs, key=lambda pair: languages.index(pair[0])):
        bridge, nobridge = (
            tokens.get(Trial(language=language, condition=condition, seed=seed).name)
            for condition in CONDITIONS
        )
        if bridge is not None and nobridge is not None:
            rows.append(
                Row(
                    language=language,
                    seed=seed,
                    bridge=bridge,
                    nobridge=nobridge,
                    difference=bridge - nobridge,
                )
            )
    return rows


def corpus_rows(study: StudySpec, markers: Markers) -> list[Row]:
    """Each language's text after isolation and deduplication, where its step's marker is given;
    characters and tokens are of the documents, ``characters_removed`` of the pairs too."""
    rows = []
    for language in (study.base_language, *study.languages):
        if f"text-{language.code}" not in markers:
            continue
        text = markers[f"text-{language.code}"]["counts"]
        tokens = markers.get(f"tokens-{language.code}", {}).get("counts", {})
        parts = [text[kind] for kind in ("documents", "pairs") if kind in text]
        rows.append(
            Row(
                language=language.code,
                documents=text["documents"]["kept"],
                characters=text["documents"]["characters_out_text"],
                pairs=text.get("pairs", {}).get("kept", 0),
                rejected=sum(sum(part["rejected"].values()) for part in parts),
                characters_removed=sum(text["characters_removed_by_script"].values()),
                tokens=tokens.get("text_tokens", 0),
            )
        )
    return rows


def step_rows(markers: Markers) -> list[Row]:
    """Every finished step with its wall time and counts, in the order of the study's graph."""
    return [
        Row(
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


def study_facts(
    study: StudySpec, trials: Sequence[Trial], markers: Markers, trainings: Sequence[Row]
) -> Row:
    """The figures of the report's first paragraph."""
    found = markers.values()
    latest: Mapping[str, Any] = max(found, key=lambda marker: marker["finished"], default={})
    started = min((marker["started"] for marker in found), default=None)
    finished = latest.get("finished")
    vocabulary = study.tokenizer.vocabulary_size
    counted = markers.get(BASE_RUN, {}).get("counts", {}).get("parameters")
    return Row(
        parameters=counted or model_size(study.model, vocabulary).parameters,
        trials=len(trials),
        # The others are missing from every result.
        trials_trained=sum(row.run != BASE_RUN for row in trainings),
        base_tokens=sum(row.tokens for row in trainings if row.run == BASE_RUN),
        trial_tokens=sum(row.tokens for row in trainings if row.run != BASE_RUN),
        started=started,
        finished=finished,  # the last step before the analysis
        # From the first start to the last end; steps that were reused may make it long.
        wall_seconds=_seconds(started, finished) if started and finished else None,
        training_seconds=sum(row.seconds for row in trainings),
        commits=tuple(dict.fromkeys(m["commit"] for m in found if m.get("commit"))),
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
