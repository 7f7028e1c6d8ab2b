"""From stored scores to choices and accuracies, for any way of scoring.

Invariant: nothing is taken from the results but scores and which options are right, so an accuracy
under another score needs no model.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.study.spec import ScoreType


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What became of every question [Q] under one score."""

    choice: NDArray[np.int64]
    correct: NDArray[np.bool_]
    """As published: of options that share the best score the first is chosen."""
    tied: NDArray[np.bool_]
    """The best score is shared."""
    shared: NDArray[np.float64]
    """Ties shared: the chance of being right when one of the best options is drawn."""

    @property
    def strict(self) -> NDArray[np.bool_]:
        """Ties wrong: what only option order made right does not count."""
        return np.asarray(self.correct & ~self.tied)


def outcomes(rows: pa.Table, kind: ScoreType) -> Outcomes:
    """Choose anew from the scores of one kind.

    Args:
        rows: of ``results.SCHEMA``, at least the columns ``right`` and ``kind``.
    """
    right = padded(rows["right"], fill=0) > 0
    scores = padded(rows[kind], fill=np.inf)
    best = scores == scores.min(axis=1, keepdims=True)
    choice = best.argmax(axis=1)  # the first of them
    return Outcomes(
        choice=choice,
        correct=right[np.arange(len(right)), choice],
        tied=best.sum(axis=1) > 1,
        shared=(right & best).sum(axis=1) / best.sum(axis=1),
    )


def padded(column: pa.ChunkedArray, *, fill: float) -> NDArray[np.float64]:
    """Lists as an array [Q, most options]; questions may differ in options."""
    values = column.combine_chunks()
    lengths = values.value_lengths().to_numpy(zero_copy_only=False)
    found = np.full((len(lengths), int(lengths.max(initial=0))), fill, np.float64)
    found[np.arange(found.shape[1]) < lengths[:, None]] = values.flatten().to_numpy(
        zero_copy_only=False
    )
    return found


def summarize(table: pa.Table) -> dict[str, dict[str, Any]]:
    """Accuracies of one checkpoint, per probe, as JSON-able numbers.

    ``accuracy`` is as published; ``accuracy_ties_wrong`` counts a right answer that only option
    order picked as wrong, ``accuracy_ties_shared`` as the chance of drawing it. The standard error
    is the binomial one, sqrt(p (1 - p) / n). ``by_gold_position`` shows what option order alone
    would explain. The first level is of the published rule, ``scores`` holds all.
    """
    names = pc.unique(table["probe"]).to_pylist()
    return {name: _summary(table.filter(pc.equal(table["probe"], name))) for name in names}


def accuracies_by(rows: pa.Table, kind: ScoreType) -> dict[str, Any]:
    """What ``summarize`` says of one probe under one score, where no other may be there."""
    return _accuracies(outcomes(rows, kind), rows["gold"].to_numpy())


def _summary(rows: pa.Table) -> dict[str, Any]:
    by_kind = {kind: accuracies_by(rows, kind) for kind in SCORE_TYPES}
    return {"questions": rows.num_rows, **by_kind["reference"], "scores": by_kind}


def _accuracies(found: Outcomes, gold: NDArray[np.int32]) -> dict[str, Any]:
    accuracy = float(found.correct.mean())
    return {
        "correct": int(found.correct.sum()),
        "accuracy": accuracy,
        "accuracy_ties_wrong": float(found.strict.mean()),
        "accuracy_ties_shared": float(found.shared.mean()),
        "standard_error": math.sqrt(accuracy * (1 - accuracy) / len(gold)),
        "tied": int(found.tied.sum()),
        "by_gold_position": {
            str(position): {
                "questions": int((gold == position).sum()),
                "correct": int(found.correct[gold == position].sum()),
                "accuracy": float(found.correct[gold == position].mean()),
            }
            for position in sorted(set(gold.tolist()))
        },
    }
