"""Cultural density: how often each question's knowledge occurs among a corpus's documents.

Density = occurrences / documents (paper, "Frequency hypothesis"). Occurrences are the retrieved
documents that the judge accepts, so they are a lower bound, capped by ``top_documents``; what the
exact counts and the exhaustive scan find stands beside them. A corpus without documents has no
density: null, not zero.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KEY = [("culture", pa.string()), ("question", pa.int32()), ("corpus", pa.string())]
EVIDENCE = [("evidence_start", pa.int32()), ("evidence_length", pa.int32())]
QUESTIONS = pa.schema(
    [
        *KEY,
        ("retrieved", pa.int32()),
        ("occurrences", pa.int32()),
        ("documents", pa.int64()),
        ("density", pa.float64()),
        ("answer_strings", pa.int64()),
        ("answer_documents", pa.int64()),
        ("entity", pa.string()),
        ("entity_documents", pa.int64()),
        ("together_documents", pa.int64()),
        ("lexical_documents", pa.int64()),
    ]
)
RETRIEVED = pa.schema(
    [
        *KEY,
        ("rank", pa.int32()),
        ("document", pa.string()),
        ("row", pa.int64()),
        ("score", pa.float64()),
        ("passage_start", pa.int32()),
        ("passage_length", pa.int32()),
        ("verdict", pa.bool_()),
        *EVIDENCE,
        ("reason", pa.string()),
    ]
)
EXHAUSTIVE = pa.schema(
    [*KEY, ("part", pa.string()), ("row", pa.int64()), ("document", pa.string()), *EVIDENCE]
)


def question_rows(counts: pa.Table, retrieved: pa.Table, documents: int) -> pa.Table:
    """One row a question of one culture and corpus.

    Args:
        counts: of every question the key and the exact counts.
        retrieved: what was judged, of schema ``RETRIEVED``.
        documents: of the corpus.
    """
    asked = counts["question"].to_numpy()
    places = np.searchsorted(asked, retrieved["question"].to_numpy())
    judged = np.bincount(places, minlength=len(asked))
    held = retrieved["verdict"].to_numpy(zero_copy_only=False)
    occurrences = np.bincount(places[held], minlength=len(asked))
    density = [found / documents if documents else None for found in occurrences.tolist()]
    columns: dict[str, Any] = {
        **{name: counts[name] for name in counts.column_names},
        "retrieved": judged,
        "occurrences": occurrences,
        "documents": [documents] * len(asked),
        "density": density,
    }
    return pa.table({name: columns[name] for name in QUESTIONS.names}).cast(QUESTIONS)


def summary(questions: pa.Table) -> dict[str, Any]:
    """Counts for the completion marker; densities are None without documents."""
    asked = len(questions)
    documents = int(questions["documents"][0].as_py()) if asked else 0
    means = {
        f"mean_{name}": _mean(questions[name])
        for name in ("occurrences", "answer_documents", "together_documents", "lexical_documents")
    }
    return {
        "documents": documents,
        "questions": asked,
        "questions_found": _positive(questions["occurrences"]),
        "questions_found_by_scan": _positive(questions["lexical_documents"]),
        "answers_never_seen": asked - _positive(questions["answer_strings"]),
        "retrieved": pc.sum(questions["retrieved"]).as_py() or 0,
        **means,
        "mean_density": means["mean_occurrences"] / documents if documents else None,
    }


def concatenated(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables of one schema after each other; an empty one of none."""
    return pa.concat_tables([schema.empty_table(), *tables])


def _mean(values: pa.ChunkedArray) -> float:
    return float(pc.mean(values).as_py() or 0.0)


def _positive(values: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.greater(values, 0)).as_py() or 0)
