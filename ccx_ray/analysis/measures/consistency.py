"""Whether a model ranks the options of a question alike in two languages, right or wrong.

RankC (Qi, Fernandez and Bisazza, EMNLP 2023) needs no right answer, so it also sees what is shared
between the languages without being true, and is blind to how much is known.

Invariant: item i of the two versions is the same question, its options in the same order; a
question that the study leaves out of one version is left out of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from ccx_ray.analysis.measures.answers import Answers
from ccx_ray.analysis.measures.inputs import BASE_RUN
from ccx_ray.analysis.measures.transfer import DIRECTIONS, evaluated_steps, probe_of
from ccx_ray.analysis.statistics.intervals import Floats, bootstrap_interval, seeded_generator
from ccx_ray.evaluation.rank_consistency import rank_consistency_of
from ccx_ray.study.spec import Condition, StudySpec
from ccx_ray.study.trials import Trial


@dataclass(frozen=True, kw_only=True)
class ConsistencyRow:
    """RankC between the two versions of one culture's questions, mean over questions."""

    language: str
    condition: Condition | Literal["base"]
    step: int
    """0 for the base."""
    questions: int
    consistency: float
    low: float
    high: float
    random: float
    """What two rankings give that have nothing to do with one another, exactly."""
    seeds: tuple[int, ...]
    """None of the base."""
    seed_consistencies: tuple[float, ...]


def consistency_rows(
    study: StudySpec, trials: Sequence[Trial], answers: Answers
) -> list[ConsistencyRow]:
    """The base and both conditions of every language at every checkpoint, by the study's score."""
    rows = []
    for language in dict.fromkeys(trial.language for trial in trials):
        asked = probe_of("base-to-target", language, study.base_language.code)
        for step in answers.steps(BASE_RUN, asked)[-1:]:
            base = _versions(study, answers, BASE_RUN, step, language)
            if base is not None:
                rows.append(_row(study, language, "base", 0, {-1: base}))
        for condition in study.trials.conditions:
            cell = (language, condition)
            runs = [trial for trial in trials if (trial.language, trial.condition) == cell]
            for step in evaluated_steps(answers, runs, asked):
                by_seed = {
                    trial.seed: found
                    for trial in runs
                    if (found := _versions(study, answers, trial.name, step, language)) is not None
                }
                if by_seed:
                    rows.append(_row(study, language, condition, step, by_seed))
    return rows


def random_consistency(options: int) -> float:
    """RankC of two unrelated rankings, on average over all of them, exactly.

    Of the first j options of two rankings of N in random order, j * j / N are expected to be the
    same, a share of j / N; RankC weighs these shares by softmax(N, N - 1, ..., 1). For four options
    that is 0.377.
    """
    places = np.arange(1, options + 1)
    weights = np.exp(-places.astype(np.float64))
    return float((weights * places).sum() / weights.sum() / options)


def last_consistencies(rows: Sequence[ConsistencyRow]) -> list[ConsistencyRow]:
    """The base, and each condition at the last checkpoint of its language."""
    last = {row.language: row.step for row in sorted(rows, key=lambda row: row.step)}
    return [row for row in rows if row.condition == "base" or row.step == last[row.language]]


def _versions(
    study: StudySpec, answers: Answers, run: str, step: int, language: str
) -> tuple[pa.Table, pa.Table] | None:
    """The rows of both versions' common questions; None unless both were answered."""
    probes = [probe_of(direction, language, study.base_language.code) for direction in DIRECTIONS]
    target, english = (answers.get(run, step, probe) for probe in probes)
    if target is None or english is None:
        return None
    common = np.intersect1d(target.question, english.question)
    if not len(common):
        return None
    return (
        english.rows.filter(pa.array(np.isin(english.question, common))),
        target.rows.filter(pa.array(np.isin(target.question, common))),
    )


def _row(
    study: StudySpec,
    language: str,
    condition: Condition | Literal["base"],
    step: int,
    by_seed: Mapping[int, tuple[pa.Table, pa.Table]],
) -> ConsistencyRow:
    kind = study.evaluation.scoring
    values: Floats = np.stack(
        [rank_consistency_of(english, target, kind) for english, target in by_seed.values()]
    )
    english, _ = next(iter(by_seed.values()))
    options = english["right"].combine_chunks().value_lengths().to_pylist()
    interval = bootstrap_interval(
        values.mean(axis=0),
        samples=study.analysis.bootstrap_samples,
        confidence=study.analysis.confidence,
        generator=seeded_generator(
            study.analysis.seed, "consistency", language, condition, str(step)
        ),
    )
    return ConsistencyRow(
        language=language,
        condition=condition,
        step=step,
        questions=len(options),
        consistency=float(values.mean()),
        low=interval.low,
        high=interval.high,
        random=float(np.mean([random_consistency(count) for count in options])),
        seeds=() if condition == "base" else tuple(by_seed),
        seed_consistencies=() if condition == "base" else tuple(values.mean(axis=1).tolist()),
    )
