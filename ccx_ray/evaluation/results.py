"""Per-question results as Parquet: everything that is claimed can be computed from them again.

Invariant: one row per (trial, step, probe, question), in question order, and a file is either
whole or not there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.evaluation.probes import quality
from ccx_ray.evaluation.ranking import ScoredItem
from ccx_ray.storage.publishing import publish_first
from ccx_ray.study.spec import ScoreType

SCORE_TYPES: tuple[ScoreType, ...] = get_args(ScoreType)

SCHEMA = pa.schema(
    [
        ("trial", pa.string()),  # "base" for the base model
        ("step", pa.int32()),
        ("probe", pa.string()),
        ("question", pa.int32()),
        ("gold", pa.int32()),  # -1: the answer is not among the options
        ("right", pa.list_(pa.bool_())),  # one an option: its text is the answer
        ("quality", pa.list_(pa.string())),  # what is odd about the question
        # Of the published rule.
        ("choice", pa.int32()),
        ("correct", pa.bool_()),
        ("tied", pa.bool_()),  # the best score is shared
        # One value an option, in nats, lower is better.
        *((kind, pa.list_(pa.float64())) for kind in SCORE_TYPES),
        # What the scores are made of, one entry an option.
        ("tokens", pa.list_(pa.int32())),
        ("bytes", pa.list_(pa.int32())),
        ("option_bytes", pa.list_(pa.int32())),
        ("alone_nats", pa.list_(pa.float64())),  # -log p of the option after end-of-text alone
        ("token_nats", pa.list_(pa.list_(pa.float32()))),  # -log p of every token
        ("option_tokens", pa.list_(pa.list_(pa.bool_()))),  # which of them the option fills
    ]
)


def probe_results(trial: str, step: int, probe: str, scored: Sequence[ScoredItem]) -> pa.Table:
    """The rows of one probe, in question order."""
    rows = []
    for one in scored:
        ranked = one.ranked()
        row: dict[str, Any] = {
            "trial": trial,
            "step": step,
            "probe": probe,
            "question": one.index,
            "gold": ranked.gold,
            "right": [option == one.item.answer for option in one.item.options],
            "quality": quality(one.item),
            "choice": ranked.choice,
            "correct": ranked.correct,
            "tied": ranked.tied,
            **{kind: one.scores(kind) for kind in SCORE_TYPES},
            "tokens": [len(option.token_nats) for option in one.options],
            "bytes": [option.bytes for option in one.options],
            "option_bytes": [option.option_bytes for option in one.options],
            "alone_nats": [option.alone_nats for option in one.options],
            "token_nats": [option.token_nats for option in one.options],
            "option_tokens": [option.option_tokens for option in one.options],
        }
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def publish_results(path: Path, tables: Sequence[pa.Table]) -> None:
    """Write the rows of one checkpoint's probes as one file, at once, unless there is one."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(tables), buffer, compression="zstd")
    publish_first(path, buffer.getvalue().to_pybytes())


def read_results(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a results file, or some of their columns."""
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    return pq.read_table(path, columns=list(schema.names), schema=SCHEMA)
