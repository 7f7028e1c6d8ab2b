"""Perplexity on held-out documents: how good a model is at a language, whatever it knows.

Every document begins with end-of-text. One that is longer than the training's rows is cut into
windows that do not overlap, each begun with end-of-text, so every token is predicted once, and
those at the beginning of a window from little context. End-of-text itself is never predicted.

Invariants: one row per (trial, step, language, document), in the order of the held-out file; a
file is either whole or not there; a row does not depend on how windows were batched beyond
rounding (1e-5 of its nats).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel, Sentence
from ccx_ray.evaluation.results import publish_results

SCHEMA = pa.schema(
    [
        ("trial", pa.string()),  # "base" for the base model
        ("step", pa.int32()),
        ("language", pa.string()),
        ("document", pa.string()),  # id
        ("tokens", pa.int64()),
        ("bytes", pa.int64()),  # UTF-8
        ("nats", pa.float64()),  # -log p of all its tokens
    ]
)


def held_out_rows(
    model: CausalModel,
    trial: str,
    step: int,
    language: str,
    heldout_file: Path,
    *,
    tokens_per_batch: int,
    sequence_length: int,
) -> pa.Table:
    """The rows of one language, one a document.

    Args:
        heldout_file: ``heldout.parquet`` of the language.
        tokens_per_batch: windows x longest window of one forward pass; a longer one goes alone.
        sequence_length: of the training's rows; a window has as many tokens with its end-of-text.

    Raises:
        UserError: the model's context is shorter than a window, or its scores are not finite.
    """
    from ccx_ray.evaluation.forward import find_passes, prefix_tree, score_in_batches

    if model.context is not None and sequence_length > model.context:
        raise UserError(
            f"sequence_length {sequence_length} is above the context of {model.folder}, "
            f"{model.context}"
        )
    documents = pq.read_table(heldout_file, columns=["id", "text"])
    texts = documents["text"].to_pylist()
    encoded = model.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    length = sequence_length - 1
    windows = [
        [(model.first_token, *ids[begin : begin + length]) for begin in range(0, len(ids), length)]
        for ids in encoded
    ]
    # Sorted, because the order of a set differs from one process to the next.
    ordered = sorted({window for own in windows for window in own})
    trees = [prefix_tree([window]) for window in ordered]
    nats: dict[Sentence, float] = {}
    for batch in score_in_batches(
        model, trees, find_passes(model), tokens_per_batch, size=lambda tree: len(tree) + 1
    ):
        for place, nats_E in batch:
            path = trees[place].paths[ordered[place]]
            nats[ordered[place]] = math.fsum(nats_E[path].tolist())
    columns = {
        "trial": [trial] * len(texts),
        "step": [step] * len(texts),
        "language": [language] * len(texts),
        "document": documents["id"].to_pylist(),
        "tokens": list(map(len, encoded)),
        "bytes": [len(text.encode()) for text in texts],
        "nats": [math.fsum(nats[window] for window in own) for own in windows],
    }
    return pa.table(columns, schema=SCHEMA)


def publish_perplexity(path: Path, tables: Sequence[pa.Table]) -> None:
    """Write the rows of one checkpoint's languages as one file, at once, unless there is one."""
    publish_results(path, [SCHEMA.empty_table(), *tables])


def read_perplexity(path: Path) -> pa.Table:
    """The rows of a perplexity file."""
    return pq.read_table(path, schema=SCHEMA)


def summarize_perplexity(table: pa.Table) -> dict[str, dict[str, Any]]:
    """Perplexity of one checkpoint by language, as JSON-able numbers.

    ``perplexity`` is per token, exp(nats / tokens), and compares models of one tokenizer;
    ``bits_per_byte`` compares any. Its ``standard_error`` is over documents, that of a ratio of
    two sums: documents are drawn, tokens within one are not independent. Null for one document.
    """
    names = pc.unique(table["language"]).to_pylist()
    return {name: _summary(table.filter(pc.equal(table["language"], name))) for name in names}


def _summary(rows: pa.Table) -> dict[str, Any]:
    tokens, size = (int(pc.sum(rows[name]).as_py()) for name in ("tokens", "bytes"))
    sums = rows["nats"].to_pylist()
    nats, documents = math.fsum(sums), rows.num_rows
    rate = nats / size
    error = None
    if documents > 1:
        spread = math.fsum(
            (own - rate * length) ** 2
            for own, length in zip(sums, rows["bytes"].to_pylist(), strict=True)
        )
        error = math.sqrt(spread * documents / (documents - 1)) / size / math.log(2)
    return {
        "documents": documents,
        "tokens": tokens,
        "bytes": size,
        "perplexity": math.exp(nats / tokens),
        "bits_per_byte": rate / math.log(2),
        "standard_error": error,
    }
