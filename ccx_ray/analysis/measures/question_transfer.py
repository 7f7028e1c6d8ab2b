"""Transfer of every single question, to be set against what a corpus or a training holds of it.

Invariant: what is set against transfer is joined by the question's number, and is of the text that
the direction starts from: knowledge that moves from English is looked for in English.

Transferred is a question whose mean correctness over the seeds is higher under bridge than under
no-bridge, ties counted as published. The paper's summary gives no definition; this one needs no
threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccx_ray.analysis.measures.answers import Answers
from ccx_ray.analysis.measures.transfer import (
    DIRECTIONS,
    Direction,
    paired_answers,
    paired_steps,
    probe_of,
)
from ccx_ray.analysis.statistics.intervals import (
    Floats,
    seeded_generator,
    stratified_bootstrap_interval,
    subset_mean_test,
    unless_constant,
)
from ccx_ray.study.spec import AnalysisSpec, StudySpec
from ccx_ray.study.trials import Trial

POOLED = "all"


@dataclass(frozen=True, kw_only=True, eq=False)
class QuestionTransfer:
    """Transfer of one culture's questions in one direction at one checkpoint, [Q]."""

    culture: str
    direction: Direction
    source: str
    """The language of the text that the knowledge moves from."""
    probe: str
    step: int
    seeds: tuple[int, ...]
    question: NDArray[np.int32]
    differences: Floats
    """Bridge minus no-bridge, mean over the seeds."""

    @property
    def transferred(self) -> NDArray[np.bool_]:
        return self.differences > 0

    def select(self, question: NDArray[Any], values: NDArray[Any]) -> Floats:
        """Of values of numbered questions those of the questions that were answered; the study may
        leave some out of the answers."""
        kept = np.isin(question, self.question)
        assert np.array_equal(self.question, question[kept]), f"{self.probe}: other questions"
        return np.asarray(values[kept], dtype=np.float64)


def question_transfers(
    study: StudySpec, trials: Sequence[Trial], answers: Answers, *, last_only: bool
) -> list[QuestionTransfer]:
    """By direction, culture and step, wherever a seed answered under both conditions."""
    base, found = study.base_language.code, []
    for direction in DIRECTIONS:
        for culture in dict.fromkeys(trial.language for trial in trials):
            probe = probe_of(direction, culture, base)
            of_culture = [trial for trial in trials if trial.language == culture]
            steps = paired_steps(of_culture, answers, probe)
            for step in steps[-1:] if last_only else steps:
                paired = paired_answers(of_culture, answers, step, probe, "published")
                assert paired is not None, f"{probe}: {step} is no paired step"
                found.append(
                    QuestionTransfer(
                        culture=culture,
                        direction=direction,
                        source=base if direction == "base-to-target" else culture,
                        probe=probe,
                        step=step,
                        seeds=paired.seeds,
                        question=paired.question,
                        differences=paired.differences,
                    )
                )
    return found


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A value of every question of one culture beside its transfer, [Q]."""

    culture: str
    values: Floats
    differences: Floats

    @property
    def transferred(self) -> NDArray[np.bool_]:
        return self.differences > 0


def source_of(transfers: Sequence[QuestionTransfer], culture: str) -> str:
    """The text that one direction starts from, for a culture or all of them: a language's code, or
    ``target`` for the languages of several cultures."""
    if culture != POOLED:
        return next(one.source for one in transfers if one.culture == culture)
    return transfers[0].source if transfers[0].direction == "base-to-target" else "target"


def with_pooled(parts: Sequence[Joined]) -> list[tuple[str, list[Joined]]]:
    """Every culture by itself, then all of them together; nothing where there is none."""
    alone = [(part.culture, [part]) for part in parts]
    return [*alone, (POOLED, list(parts))] if parts else []


@dataclass(frozen=True, kw_only=True)
class TransferredMeans:
    """A value's mean over the transferred questions beside that over all."""

    questions: int
    transferred: int
    mean_transferred: float
    transferred_low: float
    transferred_high: float
    mean_all: float
    all_low: float
    all_high: float
    expected: float
    """Mean of as many questions of each culture drawn at random."""
    p_value: float
    """That a random draw is as far from what is expected; stratified by culture."""


def transferred_means(spec: AnalysisSpec, parts: Sequence[Joined], *names: str) -> TransferredMeans:
    """Means, intervals over questions within each culture, and the permutation test.

    Args:
        names: of the cell, for generators of its own.
    """

    def interval_of(groups: list[Floats], kind: str) -> tuple[float, float]:
        found = stratified_bootstrap_interval(
            groups,
            samples=spec.bootstrap_samples,
            confidence=spec.confidence,
            generator=seeded_generator(spec.seed, "mean", kind, *names),
        )
        found = unless_constant(found, np.concatenate(groups))
        return found.low, found.high

    chosen, everything = [p.values[p.transferred] for p in parts], [p.values for p in parts]
    transferred_low, transferred_high = interval_of(chosen, "transferred")
    all_low, all_high = interval_of(everything, "all")
    test = subset_mean_test(
        [(part.values, part.transferred) for part in parts],
        samples=spec.bootstrap_samples,
        generator=seeded_generator(spec.seed, "transferred", *names),
    )
    return TransferredMeans(
        questions=sum(map(len, everything)),
        transferred=sum(map(len, chosen)),
        mean_transferred=mean(np.concatenate(chosen)),
        transferred_low=transferred_low,
        transferred_high=transferred_high,
        mean_all=mean(np.concatenate(everything)),
        all_low=all_low,
        all_high=all_high,
        expected=test.expected,
        p_value=test.p_value,
    )


def mean(values: NDArray[Any]) -> float:
    """NaN for none."""
    return float(values.mean()) if len(values) else float("nan")
