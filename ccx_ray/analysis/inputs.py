"""What the analysis starts from: the folders of the steps before it, and the answers in them.

Invariant: everything that is claimed is computed from per-question Parquet; nothing is taken from
an aggregate that another stage has made.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import Trial

BASE_RUN = "base"
STEP_FILE = re.compile(r"^step-\d+\.parquet$")
COLUMNS = ["step", "probe", "question", "reference", "choice", "gold", "correct", "tied"]


@dataclass(frozen=True, kw_only=True)
class AnalysisInputs:
    """A finished study, as far as it was run; the analysis says what is missing."""

    study: StudySpec
    trials: tuple[Trial, ...]
    evaluations: Mapping[str, Path]
    """Run name ("base", "ko-bridge-s0") -> evaluation folder with ``step-*.parquet``."""
    frequencies: Mapping[str, Path]
    """Culture -> frequency folder with ``questions.parquet``."""
    trainings: Mapping[str, Path]
    """Run name -> training folder with ``losses.parquet``."""
    markers: Mapping[str, Mapping[str, Any]]
    """Step name -> its completion marker."""
    audit: Path | None = None
    """The audit's folder with ``audit.json``."""


@dataclass(frozen=True, kw_only=True)
class ProbeAnswers:
    """One run's answers to one probe at one checkpoint: arrays [Q] in order of the questions."""

    question: NDArray[np.int32]
    gold: NDArray[np.int32]
    """Position of the right option, counted from 0; -1 when it is not among the options."""
    choice: NDArray[np.int32]
    correct: NDArray[np.bool_]
    tied: NDArray[np.bool_]
    """The lowest score is shared, so the order of the options decided."""
    options: NDArray[np.int64]
    equal_pairs: NDArray[np.int64]
    """How many neighbours among the sorted scores are equal; ``options - 1`` when all are."""


class Answers:
    """All answers of a study, by run, step and probe."""

    def __init__(self, answers: Mapping[tuple[str, int, str], ProbeAnswers]) -> None:
        self._answers = answers

    def get(self, run: str, step: int, probe: str) -> ProbeAnswers | None:
        return self._answers.get((run, step, probe))

    def steps(self, run: str, probe: str) -> tuple[int, ...]:
        """The evaluated checkpoints of a run, in order."""
        return tuple(sorted(s for r, s, p in self._answers if (r, p) == (run, probe)))

    def of_probe(self, probe: str) -> list[ProbeAnswers]:
        """The answers of every run and checkpoint to one probe."""
        return [found for (_, _, name), found in self._answers.items() if name == probe]


def read_answers(evaluations: Mapping[str, Path]) -> Answers:
    """Read the Parquet of all evaluations.

    Raises:
        FileNotFoundError: a folder holds no ``step-*.parquet``.
    """
    answers: dict[tuple[str, int, str], ProbeAnswers] = {}
    for run, folder in evaluations.items():
        files = sorted(path for path in folder.iterdir() if STEP_FILE.match(path.name))
        if not files:
            raise FileNotFoundError(f"{folder}: no step-*.parquet of run {run}")
        for path in files:
            table = pq.read_table(path, columns=COLUMNS)
            steps, probes = _numbers(table, "step"), np.array(table["probe"].to_pylist())
            for step, probe in sorted(set(zip(steps.tolist(), probes.tolist(), strict=True))):
                rows = table.filter(pa.array((steps == step) & (probes == probe)))
                answers[run, step, probe] = _probe_answers(rows.sort_by("question"))
    return Answers(answers)


def _probe_answers(rows: pa.Table) -> ProbeAnswers:
    options, equal_pairs = _compare_scores(rows["reference"].combine_chunks())
    return ProbeAnswers(
        question=_numbers(rows, "question"),
        gold=_numbers(rows, "gold"),
        choice=_numbers(rows, "choice"),
        correct=_numbers(rows, "correct"),
        tied=_numbers(rows, "tied"),
        options=options,
        equal_pairs=equal_pairs,
    )


def _compare_scores(scores: pa.ListArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Options of each question, and how many neighbours among its sorted scores are equal."""
    options = np.asarray(scores.value_lengths().to_numpy(zero_copy_only=False), dtype=np.int64)
    # Questions may differ in options: missing ones are NaN, which sorts last and equals nothing.
    padded = np.full((len(options), int(options.max(initial=0))), np.nan)
    padded[np.arange(padded.shape[1]) < options[:, None]] = scores.flatten().to_numpy()
    return options, (np.diff(np.sort(padded, axis=1), axis=1) == 0).sum(axis=1)


def _numbers(table: pa.Table, column: str) -> NDArray[Any]:
    found: NDArray[Any] = table[column].combine_chunks().to_numpy(zero_copy_only=False)
    return found
