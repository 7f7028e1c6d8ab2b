"""Recall of retrievers against the exhaustive scan.

The scan is the lexical judge's, so this is recall of what that judge accepts and of nothing else. A
question with more supporting documents than are asked for cannot have all of them found: recall is
of what was reachable. Invariant: a question without one says nothing about a retriever and is not
counted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ccx_ray.frequency.validation.estimated import EstimatedCorpus, Search
from ccx_ray.study.frequency_spec import QueryForm

RECALL = pa.schema(
    [
        *((name, pa.string()) for name in ("corpus", "culture", "retriever")),
        ("top", pa.int32()),
        ("questions", pa.int32()),
        *((name, pa.int64()) for name in ("holders", "reachable", "found")),
        *((name, pa.float64()) for name in ("recall", "recall_low", "recall_high")),
    ]
)
RESAMPLES = 2000


def measure_recall(
    estimated: EstimatedCorpus,
    retrievers: Mapping[str, Search],
    *,
    query: QueryForm,
    top: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of ``RECALL``: one a culture and retriever."""
    rows = []
    for culture, clozes in estimated.clozes.items():
        supports = estimated.supports(culture)
        queries = [clozes[question].query(query) for question in supports]
        for name, search in retrievers.items():
            hits = search(queries, top) if queries else []
            retrieved = [{hit.document for hit in found} for found in hits]
            key = {"corpus": estimated.corpus, "culture": culture, "retriever": name}
            rows.append({**key, **recall(list(supports.values()), retrieved, top=top, seed=seed)})
    return rows


def recall(
    supports: Sequence[set[int]], retrieved: Sequence[set[int]], *, top: int, seed: int
) -> dict[str, Any]:
    """The numbers of one row.

    Args:
        supports: of every question with a supporting document, their rows.
        retrieved: of the same questions, the rows of at most ``top`` documents.

    Returns:
        ``recall`` is None where nothing was reachable; its 95 % interval is a bootstrap over
        questions, None for a single one, between which nothing can vary, and without width where
        all of them have the same recall.
    """
    found = np.array([len(a & b) for a, b in zip(supports, retrieved, strict=True)], float)
    reachable = np.array([min(top, len(rows)) for rows in supports], float)
    low, high = _interval(found, reachable, seed) if len(found) > 1 else (None, None)
    return {
        "top": top,
        "questions": len(supports),
        "holders": sum(map(len, supports)),
        "reachable": int(reachable.sum()),
        "found": int(found.sum()),
        "recall": float(found.sum() / reachable.sum()) if len(found) else None,
        "recall_low": low,
        "recall_high": high,
    }


def _interval(
    found: NDArray[np.float64], reachable: NDArray[np.float64], seed: int
) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(found), size=(RESAMPLES, len(found)))
    ratios = found[drawn].sum(axis=1) / reachable[drawn].sum(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)
