"""Per-question results as Parquet: everything that is claimed can be computed from them again.

Invariant: one row per (trial, step, probe, question), in question order, and a file is either
whole or not there.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.evaluation.ranking import RankedItem
from ccx_ray.storage import publish_bytes

SCHEMA = pa.schema(
    [
        ("trial", pa.string()),  # "base" for the base model
        ("step", pa.int32()),
        ("probe", pa.string()),
        ("question", pa.int32()),
        ("scores", pa.list_(pa.float64())),  # nats per token, one per option, lower is better
        ("choice", pa.int32()),
        ("gold", pa.int32()),  # -1: the answer is not among the options
        ("correct", pa.bool_()),
        ("tied", pa.bool_()),  # the best score is shared
    ]
)


def probe_results(trial: str, step: int, probe: str, ranked: Sequence[RankedItem]) -> pa.Table:
    """The rows of one probe, in question order."""
    rows = [
        {
            "trial": trial,
            "step": step,
            "probe": probe,
            "question": question,
            "scores": item.scores,
            "choice": item.choice,
            "gold": item.gold,
            "correct": item.correct,
            "tied": item.tied,
        }
        for question, item in enumerate(ranked)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def publish_results(path: Path, tables: Sequence[pa.Table]) -> None:
    """Write the rows of one checkpoint's probes as one file, atomically."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(tables), buffer, compression="zstd")
    publish_bytes(path, buffer.getvalue().to_pybytes())


def read_results(path: Path) -> pa.Table:
    """The rows of a results file."""
    return pq.read_table(path, schema=SCHEMA)


def summarize(table: pa.Table) -> dict[str, dict[str, Any]]:
    """Accuracies of one checkpoint, per probe, as JSON-able numbers.

    ``accuracy`` is as published; ``accuracy_ties_wrong`` counts a right answer that only option
    order picked as wrong. The standard error is the binomial one, sqrt(p (1 - p) / n).
    ``by_gold_position`` shows what option order alone would explain.
    """
    names = pc.unique(table["probe"]).to_pylist()
    return {name: _summary(table.filter(pc.equal(table["probe"], name))) for name in names}


def _summary(rows: pa.Table) -> dict[str, Any]:
    correct, tied, gold = (rows[name].to_pylist() for name in ("correct", "tied", "gold"))
    questions = len(correct)
    accuracy = sum(correct) / questions
    by_position = {}
    for position in sorted(set(gold)):
        here = [right for right, at in zip(correct, gold, strict=True) if at == position]
        by_position[str(position)] = {
            "questions": len(here),
            "correct": sum(here),
            "accuracy": sum(here) / len(here),
        }
    return {
        "questions": questions,
        "correct": sum(correct),
        "accuracy": accuracy,
        "accuracy_ties_wrong": sum(
            right and not tie for right, tie in zip(correct, tied, strict=True)
        )
        / questions,
        "standard_error": math.sqrt(accuracy * (1 - accuracy) / questions),
        "tied": sum(tied),
        "by_gold_position": by_position,
    }
