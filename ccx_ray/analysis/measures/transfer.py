"""Transfer = bridge - no-bridge on the same questions.

Invariant: the two conditions are compared question by question within a seed, and seeds are pooled
by the mean; an unpaired answer never enters a transfer.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ccx_ray.analysis.measures.answers import COUNTINGS, Answers, Counting, by_run, paired
from ccx_ray.analysis.measures.rows import Row, last_steps
from ccx_ray.analysis.statistics.intervals import (
    Floats,
    bootstrap_interval,
    holm,
    resampling,
    sign_flip_p_value,
)
from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.study.spec import AnalysisSpec, StudySpec

Cell = tuple[dict[str, Any], pd.DataFrame]
"""What a cell's rows have in common, and its answers."""


@dataclass(frozen=True, kw_only=True)
class PairedAnswers:
    """Right answers under both conditions, [S, Q]: the same seeds and the same questions. Each is
    0 or 1, or a fraction where ties are shared."""

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
        return sums / len(self.bridge)


def paired_cells(answers: Answers, *, last_only: bool = False) -> Iterator[Cell]:
    """The answers of each language and direction at each checkpoint that a seed answered under
    both conditions, sorted by seed, condition and question.

    Args:
        last_only: at the last such checkpoint.
    """
    names = ["language", "direction", "probe", "step"]
    rows = paired(answers.rows, "probe", "step")
    if last_only:
        rows = rows[rows["step"] == rows.groupby("probe")["step"].transform("max")]
    for place, cell in rows.groupby(names, sort=False):
        named = dict(zip(names, place, strict=True)) | {"step": int(place[-1])}
        yield named, cell.sort_values("seed", kind="stable")


def paired_answers(cell: pd.DataFrame, counting: Counting) -> PairedAnswers:
    """The right answers of a cell, ties counted in one way."""
    return PairedAnswers(
        bridge=by_run(cell[cell["condition"] == "bridge"], counting),
        nobridge=by_run(cell[cell["condition"] == "nobridge"], counting),
    )


def transfer_rows(study: StudySpec, answers: Answers, *, last_only: bool = False) -> list[Row]:
    """Transfer in every language and direction at every checkpoint, in every counting, with
    ``low`` and ``high`` over questions and the p-value of the paired permutation test.

    ``p_holm`` is corrected over the languages and directions of the last checkpoint; None before
    it. ``seed_transfers`` are those of every seed alone, in the order of ``seeds``.
    """
    rows = [
        _transfer_row(study.analysis, place, cell, counting)
        for place, cell in paired_cells(answers, last_only=last_only)
        for counting in COUNTINGS
    ]
    for counting in COUNTINGS:
        last = last_rows(rows, counting)
        for row, p_holm in zip(last, holm([row.p_value for row in last]), strict=True):
            row.p_holm = p_holm
    return rows


def score_transfer_rows(study: StudySpec, answers: Answers) -> list[Row]:
    """Transfers at the last checkpoint under every score.

    ``p_holm`` is corrected within the score, not over the scores: they are seven looks at one
    experiment, and none is the headline but the study's own.
    """
    return [
        Row(**vars(row), score=kind)
        for kind in SCORE_TYPES
        for row in transfer_rows(study, answers.under(kind), last_only=True)
    ]


def last_rows(rows: Sequence[Row], counting: Counting = "published") -> list[Row]:
    """The cells of the headline: every language and direction at its last checkpoint."""
    return last_steps([row for row in rows if row.counting == counting], "language", "direction")


def significance_level(study: StudySpec) -> float:
    """The error that the study's confidence leaves."""
    return round(1 - study.analysis.confidence, 10)


def is_significant(study: StudySpec, row: Row) -> bool:
    """Whether a cell of the last checkpoint passes the test after Holm's correction."""
    return row.p_holm is not None and bool(row.p_holm < significance_level(study))


def _transfer_row(
    spec: AnalysisSpec, place: dict[str, Any], cell: pd.DataFrame, counting: Counting
) -> Row:
    found = paired_answers(cell, counting)
    differences, bridge, nobridge = found.differences, found.bridge, found.nobridge
    interval = bootstrap_interval(
        differences, **resampling(spec, "transfer", place["probe"], str(place["step"]), counting)
    )
    return Row(
        **place,
        counting=counting,
        questions=len(differences),
        seeds=tuple(cell["seed"].unique().tolist()),
        bridge=float(bridge.mean()),
        nobridge=float(nobridge.mean()),
        transfer=float(differences.mean()),
        low=interval.low,
        high=interval.high,
        p_value=sign_flip_p_value(found.difference_sums),
        p_holm=None,
        seed_transfers=tuple((bridge.mean(axis=1) - nobridge.mean(axis=1)).tolist()),
    )
