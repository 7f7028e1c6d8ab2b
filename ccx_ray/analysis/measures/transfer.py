"""Transfer = bridge - no-bridge on the same questions.

Invariant: the two conditions are compared question by question within a seed, and seeds are pooled
by the mean; an unpaired answer never enters a transfer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ccx_ray.analysis.measures.answers import Answers, ProbeAnswers
from ccx_ray.analysis.statistics.intervals import (
    Floats,
    bootstrap_interval,
    holm,
    seeded_generator,
    sign_flip_p_value,
)
from ccx_ray.study.spec import AnalysisSpec, Condition, StudySpec
from ccx_ray.study.trials import Trial

Direction = Literal["base-to-target", "target-to-base"]
DIRECTIONS: tuple[Direction, ...] = ("base-to-target", "target-to-base")
Counting = Literal["published", "ties-wrong", "ties-shared"]
"""How a tie counts: by the order of the options, as in the published scorer; as wrong; or as the
chance of being right when one of the tied options is drawn."""
COUNTINGS: tuple[Counting, ...] = ("published", "ties-wrong", "ties-shared")


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """Transfer in one language and direction at one checkpoint, as shares of the questions."""

    language: str
    direction: Direction
    probe: str
    step: int
    counting: Counting
    questions: int
    seeds: tuple[int, ...]
    bridge: float
    nobridge: float
    transfer: float
    low: float
    high: float
    p_value: float
    p_holm: float | None
    """Corrected over the languages and directions of the last checkpoint; None before it."""
    seed_transfers: tuple[float, ...]
    """The transfer of every seed alone, in the order of ``seeds``."""


@dataclass(frozen=True, kw_only=True)
class PairedAnswers:
    """Right answers under both conditions, [S, Q]: the same seeds and the same questions. Each is
    0 or 1, or a fraction where ties are shared."""

    seeds: tuple[int, ...]
    question: NDArray[np.int32]
    bridge: Floats
    nobridge: Floats

    @property
    def difference_sums(self) -> NDArray[np.int64]:
        """Bridge minus no-bridge, summed over the seeds, [Q], in the unit that makes it whole: a
        half point and a third are three and two sixths."""
        shares = np.unique(np.concatenate([self.bridge, self.nobridge]))
        unit = math.lcm(*(Fraction(x).limit_denominator(1000).denominator for x in shares.tolist()))
        sums = (unit * (self.bridge - self.nobridge)).sum(axis=0)
        return np.asarray(np.rint(sums), dtype=np.int64)

    @property
    def differences(self) -> Floats:
        """Bridge minus no-bridge, mean over the seeds, [Q]."""
        sums: Floats = (self.bridge - self.nobridge).sum(axis=0)
        return sums / len(self.seeds)


def probe_of(direction: Direction, language: str, base: str) -> str:
    """The probe that shows a direction: what arrives in the target is asked in the target."""
    return f"{language}-{language}" if direction == "base-to-target" else f"{language}-{base}"


def right_answers(answers: ProbeAnswers, counting: Counting) -> Floats:
    """How far each question [Q] counts as answered rightly, 0 to 1."""
    found = answers.outcomes
    if counting == "ties-shared":
        return found.shared
    return (found.correct if counting == "published" else found.strict).astype(np.float64)


def evaluated_steps(answers: Answers, trials: Sequence[Trial], probe: str) -> list[int]:
    """The checkpoints at which any of the trials answered a probe, in order."""
    return sorted({step for trial in trials for step in answers.steps(trial.name, probe)})


def transfer_rows(
    study: StudySpec, trials: Sequence[Trial], answers: Answers, *, last_only: bool = False
) -> list[TransferRow]:
    """Transfer in every language and direction, in every counting.

    Args:
        last_only: at the last checkpoint that both conditions answered, instead of at every one.
    """
    rows = []
    for language in dict.fromkeys(trial.language for trial in trials):
        of_language = [trial for trial in trials if trial.language == language]
        for direction in DIRECTIONS:
            probe = probe_of(direction, language, study.base_language.code)
            steps = paired_steps(of_language, answers, probe)
            for step in steps[-1:] if last_only else steps:
                for counting in COUNTINGS:
                    paired = paired_answers(of_language, answers, step, probe, counting)
                    assert paired is not None, f"{probe}: {step} is no paired step"
                    row = _transfer_row(
                        study.analysis,
                        paired,
                        language=language,
                        direction=direction,
                        probe=probe,
                        step=step,
                        counting=counting,
                    )
                    rows.append(row)
    return _correct_last(rows)


def paired_steps(trials: Sequence[Trial], answers: Answers, probe: str) -> list[int]:
    """The checkpoints at which a seed of one language answered under both conditions, in order."""
    return [
        step
        for step in evaluated_steps(answers, trials, probe)
        if paired_answers(trials, answers, step, probe, "published") is not None
    ]


def paired_answers(
    trials: Sequence[Trial], answers: Answers, step: int, probe: str, counting: Counting
) -> PairedAnswers | None:
    """The seeds of one language's trials that answered under both conditions; None without any."""
    by_seed: dict[int, dict[Condition, ProbeAnswers]] = {}
    for trial in trials:
        found = answers.get(trial.name, step, probe)
        if found is not None:
            by_seed.setdefault(trial.seed, {})[trial.condition] = found
    pairs = {seed: pair for seed, pair in sorted(by_seed.items()) if len(pair) == 2}
    if not pairs:
        return None
    first = next(iter(pairs.values()))["bridge"]
    for pair in pairs.values():
        for one in pair.values():
            assert np.array_equal(one.question, first.question), f"{probe}: other questions"
    return PairedAnswers(
        seeds=tuple(pairs),
        question=first.question,
        bridge=np.stack([right_answers(pair["bridge"], counting) for pair in pairs.values()]),
        nobridge=np.stack([right_answers(pair["nobridge"], counting) for pair in pairs.values()]),
    )


def last_rows(rows: Sequence[TransferRow], counting: Counting = "published") -> list[TransferRow]:
    """The cells of the headline: every language and direction at its last checkpoint."""
    last: dict[tuple[str, Direction], TransferRow] = {}
    for row in rows:
        key = (row.language, row.direction)
        if row.counting == counting and (key not in last or row.step > last[key].step):
            last[key] = row
    return list(last.values())


def significance_level(study: StudySpec) -> float:
    """The error that the study's confidence leaves."""
    return round(1 - study.analysis.confidence, 10)


def is_significant(study: StudySpec, row: TransferRow) -> bool:
    """Whether a cell of the last checkpoint passes the test after Holm's correction."""
    return row.p_holm is not None and row.p_holm < significance_level(study)


def _transfer_row(
    spec: AnalysisSpec,
    paired: PairedAnswers,
    *,
    language: str,
    direction: Direction,
    probe: str,
    step: int,
    counting: Counting,
) -> TransferRow:
    interval = bootstrap_interval(
        paired.differences,
        samples=spec.bootstrap_samples,
        confidence=spec.confidence,
        generator=seeded_generator(spec.seed, "transfer", probe, str(step), counting),
    )
    by_seed = paired.bridge.mean(axis=1) - paired.nobridge.mean(axis=1)
    return TransferRow(
        language=language,
        direction=direction,
        probe=probe,
        step=step,
        counting=counting,
        questions=len(paired.question),
        seeds=paired.seeds,
        bridge=float(paired.bridge.mean()),
        nobridge=float(paired.nobridge.mean()),
        transfer=float(paired.differences.mean()),
        low=interval.low,
        high=interval.high,
        p_value=sign_flip_p_value(paired.difference_sums),
        p_holm=None,
        seed_transfers=tuple(by_seed.tolist()),
    )


def _correct_last(rows: Sequence[TransferRow]) -> list[TransferRow]:
    corrected: dict[TransferRow, float] = {}
    for counting in COUNTINGS:
        last = last_rows(rows, counting)
        corrected |= dict(zip(last, holm([row.p_value for row in last]), strict=True))
    return [replace(row, p_holm=corrected.get(row)) for row in rows]
