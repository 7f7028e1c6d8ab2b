"""The answers of a study, read from the per-question Parquet, under any score.

Invariant: which questions are left out is decided here, once, by what is odd about them and never
by how they were answered; so both conditions and every score keep the same questions of a probe.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ccx_ray.errors import UserError
from ccx_ray.evaluation.results import SCORE_TYPES, Outcomes, outcomes, read_results
from ccx_ray.study.spec import EvaluationSpec, QualityKind, ScoreType

STEP_FILE = re.compile(r"^step-\d+\.parquet$")
COLUMNS = ("trial", "step", "probe", "question", "gold", "right", "quality", *SCORE_TYPES)
"""What is read: the log-probabilities of single tokens are many times as large, and not needed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeAnswers:
    """One run's answers to one probe at one checkpoint: arrays [Q] in order of the questions."""

    rows: pa.Table
    """Of ``COLUMNS``, without the questions that the study leaves out."""
    scoring: ScoreType
    """The score that chooses."""

    @cached_property
    def outcomes(self) -> Outcomes:
        return outcomes(self.rows, self.scoring)

    @cached_property
    def question(self) -> NDArray[np.int32]:
        return _numbers(self.rows, "question")

    @cached_property
    def gold(self) -> NDArray[np.int32]:
        """Position of the right option, counted from 0; -1 when it is not among the options."""
        return _numbers(self.rows, "gold")

    @property
    def correct(self) -> NDArray[np.bool_]:
        return self.outcomes.correct

    @property
    def tied(self) -> NDArray[np.bool_]:
        """The lowest score is shared, so the order of the options decided."""
        return self.outcomes.tied


@dataclass(frozen=True, kw_only=True)
class AskedProbe:
    """Every question of a probe that was scored [Q], those that are left out included."""

    gold: NDArray[np.int32]
    options: NDArray[np.int64]
    quality: tuple[tuple[QualityKind, ...], ...]
    kept: NDArray[np.bool_]
    """False for the questions that the study leaves out."""


class Answers:
    """All answers of a study, by run, step and probe."""

    def __init__(
        self,
        answers: Mapping[tuple[str, int, str], ProbeAnswers],
        asked: Mapping[str, AskedProbe],
    ) -> None:
        self._answers = answers
        self.asked = asked

    def get(self, run: str, step: int, probe: str) -> ProbeAnswers | None:
        return self._answers.get((run, step, probe))

    def steps(self, run: str, probe: str) -> tuple[int, ...]:
        """The evaluated checkpoints of a run, in order."""
        return tuple(sorted(s for r, s, p in self._answers if (r, p) == (run, probe)))

    def under(self, scoring: ScoreType) -> "Answers":
        """The same questions with another score to choose by."""
        chosen = {key: replace(one, scoring=scoring) for key, one in self._answers.items()}
        return Answers(chosen, self.asked)


def read_answers(evaluations: Mapping[str, Path], spec: EvaluationSpec) -> Answers:
    """Read the Parquet of all evaluations.

    Raises:
        FileNotFoundError: a folder holds no ``step-*.parquet``.
        UserError: the study leaves out every question of a probe.
    """
    answers: dict[tuple[str, int, str], ProbeAnswers] = {}
    asked: dict[str, AskedProbe] = {}
    for run, folder in evaluations.items():
        files = sorted(path for path in folder.iterdir() if STEP_FILE.match(path.name))
        if not files:
            raise FileNotFoundError(f"{folder}: no step-*.parquet of run {run}")
        for path in files:
            table = read_results(path, COLUMNS)
            for step, probe in _parts(table):
                mine = pc.and_(pc.equal(table["step"], step), pc.equal(table["probe"], probe))
                rows = table.filter(mine).sort_by("question")
                if probe not in asked:
                    asked[probe] = _asked(rows, probe, spec)
                kept = asked[probe].kept
                assert len(kept) == len(rows), f"{path}: other questions of {probe}"
                answers[run, step, probe] = ProbeAnswers(
                    rows=rows.filter(pa.array(kept)), scoring=spec.scoring
                )
    return Answers(answers, asked)


def _parts(table: pa.Table) -> list[tuple[int, str]]:
    groups = table.select(["step", "probe"]).group_by(["step", "probe"]).aggregate([])
    return sorted((row["step"], row["probe"]) for row in groups.to_pylist())


def _asked(rows: pa.Table, probe: str, spec: EvaluationSpec) -> AskedProbe:
    found = tuple(tuple(kinds) for kinds in rows["quality"].to_pylist())
    kept = np.array([not set(kinds) & set(spec.exclude) for kinds in found], dtype=np.bool_)
    if not kept.any():
        raise UserError(
            f"evaluation.exclude {', '.join(spec.exclude)}: leaves none of the {len(kept)} "
            f"questions of {probe}; exclude fewer kinds"
        )
    lengths = rows["right"].combine_chunks().value_lengths()
    return AskedProbe(
        gold=_numbers(rows, "gold"),
        options=np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64),
        quality=found,
        kept=kept,
    )


def _numbers(table: pa.Table, column: str) -> NDArray[Any]:
    found: NDArray[Any] = table[column].combine_chunks().to_numpy(zero_copy_only=False)
    return found
