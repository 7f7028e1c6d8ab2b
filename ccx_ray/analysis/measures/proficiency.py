"""How good the models are at the languages, so that transfer can be told from proficiency.

A bridge may help on questions because knowledge moves, or because the model merely reads the
language better. Bits per byte of held-out text measure the latter: they need no question, and
compare models on texts of any script.

Invariant: the two conditions are compared document by document within a seed, seeds pooled by the
mean; documents are the unit of every standard error and interval.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.analysis.measures.inputs import BASE_RUN
from ccx_ray.analysis.measures.transfer import DIRECTIONS, Direction
from ccx_ray.analysis.statistics.intervals import (
    Floats,
    bootstrap_ratio_interval,
    ratio_standard_error,
    seeded_generator,
)
from ccx_ray.study.spec import Condition, StudySpec
from ccx_ray.study.trials import Trial

STEP_FILE = re.compile(r"^perplexity-\d+\.parquet$")


@dataclass(frozen=True, kw_only=True)
class ProficiencyRow:
    """One language's held-out text under one model or, over the seeds, one condition."""

    language: str
    """Of the trial; of the base's rows, that of the text."""
    condition: Condition | Literal["base"]
    seed: int | None
    """None: documents' nats are averaged over the seeds."""
    step: int
    """0 for the base."""
    text: str
    """Language of the text."""
    documents: int
    tokens: int
    bytes: int
    perplexity: float
    """Per token."""
    bits_per_byte: float
    standard_error: float
    """Of the bits per byte, over documents."""


@dataclass(frozen=True, kw_only=True)
class ProficiencyDifferenceRow:
    """Bits per byte under bridge minus under no-bridge; below 0 the bridge model is better."""

    language: str
    direction: Direction
    """The direction of transfer whose questions are asked in the text's language."""
    text: str
    step: int
    documents: int
    seeds: tuple[int, ...]
    bridge: float
    nobridge: float
    difference: float
    low: float
    high: float
    seed_differences: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TextNats:
    """One run's held-out documents of one language at one checkpoint, arrays [D] in their order."""

    document: tuple[str, ...]
    tokens: Floats
    bytes: Floats
    nats: Floats


Key = tuple[str, int, str]
"""Run, step, language of the text."""


def read_held_out(evaluations: Mapping[str, Path]) -> dict[Key, TextNats]:
    """What the evaluations measured on held-out text; empty where none was held out."""
    from ccx_ray.evaluation.perplexity import read_perplexity

    found: dict[Key, TextNats] = {}
    for run, folder in evaluations.items():
        for path in sorted(p for p in folder.iterdir() if STEP_FILE.match(p.name)):
            table = read_perplexity(path)
            groups = table.select(["step", "language"]).group_by(["step", "language"])
            for part in groups.aggregate([]).to_pylist():
                mine = [pc.equal(table[name], part[name]) for name in ("step", "language")]
                found[run, part["step"], part["language"]] = _text(table.filter(pc.and_(*mine)))
    return found


def proficiency_rows(
    study: StudySpec, trials: Sequence[Trial], held_out: Mapping[Key, TextNats]
) -> list[ProficiencyRow]:
    """The base on every language, then every trial and its condition on both of its languages."""
    rows = []
    for text in dict.fromkeys(text for run, _, text in held_out if run == BASE_RUN):
        last = max(_steps(held_out, [BASE_RUN], text))
        place: dict[str, Any] = {"language": text, "condition": "base", "seed": None, "step": 0}
        rows.append(ProficiencyRow(**place, **_measure([held_out[BASE_RUN, last, text]], text)))
    for language, condition in dict.fromkeys((t.language, t.condition) for t in trials):
        runs = [t for t in trials if (t.language, t.condition) == (language, condition)]
        for text in (language, study.base_language.code):
            for step in _steps(held_out, [trial.name for trial in runs], text):
                found = {
                    trial.seed: held_out[key]
                    for trial in runs
                    if (key := (trial.name, step, text)) in held_out
                }
                place = {"language": language, "condition": condition, "step": step}
                rows += [
                    ProficiencyRow(**place, seed=seed, **_measure([one], text))
                    for seed, one in found.items()
                ]
                pooled = _measure(list(found.values()), text)
                rows.append(ProficiencyRow(**place, seed=None, **pooled))
    return rows


def proficiency_differences(
    study: StudySpec, trials: Sequence[Trial], held_out: Mapping[Key, TextNats]
) -> list[ProficiencyDifferenceRow]:
    """Bridge minus no-bridge for every language, text and checkpoint that both were measured at."""
    rows = []
    for language in dict.fromkeys(trial.language for trial in trials):
        of_language = [trial for trial in trials if trial.language == language]
        for direction in DIRECTIONS:
            text = language if direction == "base-to-target" else study.base_language.code
            for step in _steps(held_out, [trial.name for trial in of_language], text):
                pairs = _pairs(of_language, held_out, step, text)
                if pairs:
                    row = _difference(
                        study, pairs, language=language, direction=direction, text=text, step=step
                    )
                    rows.append(row)
    return rows


def last_differences(
    rows: Sequence[ProficiencyDifferenceRow],
) -> list[ProficiencyDifferenceRow]:
    """Every language and text at its last checkpoint."""
    last = {(row.language, row.direction): row for row in sorted(rows, key=lambda row: row.step)}
    return [row for row in rows if last[row.language, row.direction] is row]


def last_proficiencies(rows: Sequence[ProficiencyRow]) -> list[ProficiencyRow]:
    """Over the seeds: the base, and each condition at the last checkpoint of its language."""
    last = {row.language: row.step for row in sorted(rows, key=lambda row: row.step)}
    return [
        row
        for row in rows
        if row.seed is None and (row.condition == "base" or row.step == last[row.language])
    ]


def _pairs(
    trials: Sequence[Trial], held_out: Mapping[Key, TextNats], step: int, text: str
) -> dict[int, dict[Condition, TextNats]]:
    """Seed -> both conditions, of the seeds that were measured under both."""
    by_seed: dict[int, dict[Condition, TextNats]] = {}
    for trial in trials:
        if (key := (trial.name, step, text)) in held_out:
            by_seed.setdefault(trial.seed, {})[trial.condition] = held_out[key]
    return {seed: pair for seed, pair in sorted(by_seed.items()) if len(pair) == 2}


def _difference(
    study: StudySpec,
    pairs: Mapping[int, Mapping[Condition, TextNats]],
    *,
    language: str,
    direction: Direction,
    text: str,
    step: int,
) -> ProficiencyDifferenceRow:
    first = next(iter(pairs.values()))["bridge"]
    bridge = _bits([pair["bridge"] for pair in pairs.values()])
    nobridge = _bits([pair["nobridge"] for pair in pairs.values()])
    size = first.bytes.sum()
    differences = bridge - nobridge  # bits a document, [S, D]
    interval = bootstrap_ratio_interval(
        differences.mean(axis=0),
        first.bytes,
        samples=study.analysis.bootstrap_samples,
        confidence=study.analysis.confidence,
        generator=seeded_generator(study.analysis.seed, "proficiency", language, text, str(step)),
    )
    return ProficiencyDifferenceRow(
        language=language,
        direction=direction,
        text=text,
        step=step,
        documents=len(first.document),
        seeds=tuple(pairs),
        bridge=float(bridge.mean(axis=0).sum() / size),
        nobridge=float(nobridge.mean(axis=0).sum() / size),
        difference=float(differences.mean(axis=0).sum() / size),
        low=interval.low,
        high=interval.high,
        seed_differences=tuple((differences.sum(axis=1) / size).tolist()),
    )


def _measure(runs: Sequence[TextNats], text: str) -> dict[str, Any]:
    """The measured fields of a row, over models that read the same documents."""
    bits, sizes = _bits(runs).mean(axis=0), runs[0].bytes
    tokens = runs[0].tokens.sum()
    return {
        "text": text,
        "documents": len(sizes),
        "tokens": int(tokens),
        "bytes": int(sizes.sum()),
        "perplexity": math.exp(bits.sum() * math.log(2) / tokens),
        "bits_per_byte": float(bits.sum() / sizes.sum()),
        "standard_error": ratio_standard_error(bits, sizes),
    }


def _bits(runs: Sequence[TextNats]) -> Floats:
    """Bits of every document under each run, [S, D]."""
    for run in runs:
        assert run.document == runs[0].document, "other held-out documents"
    return np.stack([run.nats for run in runs]) / math.log(2)


def _steps(held_out: Mapping[Key, TextNats], runs: Sequence[str], text: str) -> list[int]:
    return sorted({step for run, step, of in held_out if run in runs and of == text})


def _text(rows: pa.Table) -> TextNats:
    return TextNats(
        document=tuple(rows["document"].to_pylist()),
        **{name: rows[name].to_numpy().astype(np.float64) for name in ("tokens", "bytes", "nats")},
    )
