"""Does knowledge that a corpus holds more often transfer more?

Invariant: occurrences and transfer are joined question by question, in the corpus that the
direction starts from: knowledge that moves from English is counted in the English corpus.

Transferred is a question whose mean correctness over the seeds is higher under bridge than under
no-bridge at the last checkpoint, ties counted as published. The paper's summary gives no
definition; this one needs no threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.analysis.answers import Answers
from ccx_ray.analysis.statistics import (
    Floats,
    bootstrap_interval,
    seeded_generator,
    subset_mean_test,
)
from ccx_ray.analysis.transfer import (
    DIRECTIONS,
    Direction,
    paired_answers,
    paired_steps,
    probe_of,
)
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import Trial

BINS: tuple[tuple[str, int, float], ...] = (
    ("0", 0, 0),
    ("1", 1, 1),
    ("2–3", 2, 3),
    ("4–7", 4, 7),
    ("8+", 8, np.inf),
)
"""Label, and the least and the largest number of occurrences, both included."""
POOLED = "all"


@dataclass(frozen=True, kw_only=True)
class Occurrences:
    """How often one corpus holds the knowledge of each question of one culture: arrays [Q]."""

    question: NDArray[np.int32]
    occurrences: NDArray[np.int64]
    density: Floats
    documents: int


@dataclass(frozen=True, kw_only=True)
class DensityRow:
    """Mean cultural density of one culture's questions in the two corpora."""

    culture: str
    questions: int
    base_documents: int
    target_documents: int
    base_density: float
    target_density: float
    ratio: float
    """Target over base; NaN where the base corpus holds none."""
    base_found: int
    """Questions that at least one document of the base corpus holds."""
    target_found: int
    base_occurrences: float
    """Mean occurrences a question."""
    target_occurrences: float


@dataclass(frozen=True, kw_only=True)
class OccurrenceRow:
    """Occurrences of transferred questions against all, for a culture or all of them."""

    culture: str
    direction: Direction
    corpus: str
    questions: int
    transferred: int
    mean_transferred: float
    mean_all: float
    expected: float
    """Mean occurrences of as many questions of each culture drawn at random."""
    p_value: float


@dataclass(frozen=True, kw_only=True)
class BinRow:
    """Transfer of the questions whose knowledge occurs about equally often."""

    culture: str
    direction: Direction
    bin: str
    questions: int
    transfer: float
    low: float
    high: float


def read_occurrences(frequencies: Mapping[str, Path]) -> dict[tuple[str, str], Occurrences]:
    """(culture, corpus) -> occurrences, from the frequency steps' ``questions.parquet``."""
    found = {}
    for culture, folder in frequencies.items():
        table = pq.read_table(folder / "questions.parquet")
        for corpus in table["corpus"].unique().to_pylist():
            rows = table.filter(pc.equal(table["corpus"], corpus)).sort_by("question")
            density = rows["density"].to_numpy()
            found[culture, corpus] = Occurrences(
                question=rows["question"].to_numpy(),
                occurrences=rows["occurrences"].to_numpy().astype(np.int64),
                density=np.asarray(density, dtype=np.float64),
                documents=int(rows["documents"][0].as_py()) if len(rows) else 0,
            )
    return found


def density_rows(
    cultures: Sequence[str], base: str, occurrences: Mapping[tuple[str, str], Occurrences]
) -> list[DensityRow]:
    """Densities of the cultures that were counted in both corpora."""
    rows = []
    for culture in cultures:
        in_base, in_target = occurrences.get((culture, base)), occurrences.get((culture, culture))
        if in_base is None or in_target is None:
            continue
        base_density, target_density = _mean(in_base.density), _mean(in_target.density)
        rows.append(
            DensityRow(
                culture=culture,
                questions=len(in_base.question),
                base_documents=in_base.documents,
                target_documents=in_target.documents,
                base_density=base_density,
                target_density=target_density,
                ratio=target_density / base_density if base_density > 0 else float("nan"),
                base_found=int((in_base.occurrences > 0).sum()),
                target_found=int((in_target.occurrences > 0).sum()),
                base_occurrences=_mean(in_base.occurrences),
                target_occurrences=_mean(in_target.occurrences),
            )
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class _Joined:
    """Occurrences and transfer of the same questions, [Q]."""

    culture: str
    occurrences: Floats
    differences: Floats


def frequency_effect(
    study: StudySpec,
    trials: Sequence[Trial],
    answers: Answers,
    occurrences: Mapping[tuple[str, str], Occurrences],
) -> tuple[list[OccurrenceRow], list[BinRow]]:
    """Occurrences of transferred questions, and transfer by occurrences; empty without either."""
    occurrence_rows: list[OccurrenceRow] = []
    bin_rows: list[BinRow] = []
    for direction in DIRECTIONS:
        joined = _join(study, trials, answers, occurrences, direction)
        for culture, parts in [*((part.culture, [part]) for part in joined), (POOLED, joined)]:
            if parts:
                occurrence_rows.append(_occurrence_row(study, culture, direction, parts))
                bin_rows += _bin_rows(study, culture, direction, parts)
    return occurrence_rows, bin_rows


def _join(
    study: StudySpec,
    trials: Sequence[Trial],
    answers: Answers,
    occurrences: Mapping[tuple[str, str], Occurrences],
    direction: Direction,
) -> list[_Joined]:
    base, joined = study.base_language.code, []
    for culture in dict.fromkeys(trial.language for trial in trials):
        probe = probe_of(direction, culture, base)
        counted = occurrences.get((culture, base if direction == "base-to-target" else culture))
        of_culture = [trial for trial in trials if trial.language == culture]
        steps = paired_steps(of_culture, answers, probe)
        if counted is None or not steps:
            continue
        paired = paired_answers(of_culture, answers, steps[-1], probe, "published")
        if paired is None:
            continue
        # Frequencies are counted for all questions; the study may leave some out of the answers.
        kept = np.isin(counted.question, paired.question)
        assert np.array_equal(paired.question, counted.question[kept]), f"{probe}: other questions"
        joined.append(
            _Joined(
                culture=culture,
                occurrences=counted.occurrences[kept].astype(np.float64),
                differences=paired.differences,
            )
        )
    return joined


def _occurrence_row(
    study: StudySpec, culture: str, direction: Direction, parts: Sequence[_Joined]
) -> OccurrenceRow:
    groups = [(part.occurrences, part.differences > 0) for part in parts]
    values = np.concatenate([part for part, _ in groups])
    transferred = np.concatenate([mask for _, mask in groups])
    test = subset_mean_test(
        groups,
        samples=study.analysis.bootstrap_samples,
        generator=seeded_generator(study.analysis.seed, "transferred", culture, direction),
    )
    target = "target" if culture == POOLED else culture
    return OccurrenceRow(
        culture=culture,
        direction=direction,
        corpus=study.base_language.code if direction == "base-to-target" else target,
        questions=len(values),
        transferred=int(transferred.sum()),
        mean_transferred=_mean(values[transferred]),
        mean_all=_mean(values),
        expected=test.expected,
        p_value=test.p_value,
    )


def _bin_rows(
    study: StudySpec, culture: str, direction: Direction, parts: Sequence[_Joined]
) -> list[BinRow]:
    values = np.concatenate([part.occurrences for part in parts])
    differences = np.concatenate([part.differences for part in parts])
    rows = []
    for label, least, largest in BINS:
        inside = differences[(values >= least) & (values <= largest)]
        interval = bootstrap_interval(
            inside,
            samples=study.analysis.bootstrap_samples,
            confidence=study.analysis.confidence,
            generator=seeded_generator(study.analysis.seed, "bin", culture, direction, label),
        )
        rows.append(
            BinRow(
                culture=culture,
                direction=direction,
                bin=label,
                questions=len(inside),
                transfer=_mean(inside),
                low=interval.low,
                high=interval.high,
            )
        )
    return rows


def _mean(values: NDArray[np.float64] | NDArray[np.int64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
