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
from numpy.typing import NDArray

from ccx_ray.frequency.counting.exact_counts import SHARD_COUNTS, Entity
from ccx_ray.frequency.text.documents import DOCUMENTS

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


def question_rows(
    culture: str,
    corpus: str,
    *,
    entities: Sequence[Entity],
    exact: NDArray[np.int64],
    retrieved: pa.Table,
    exhaustive: pa.Table,
    documents: int,
) -> pa.Table:
    """One row a question of one culture and corpus.

    Args:
        exact: [questions, ``SHARD_COUNTS``] summed over the corpus.
        retrieved: what was judged, of schema ``RETRIEVED``.
        exhaustive: what the scan found, of schema ``EXHAUSTIVE``; the halves of pairs do not count.
        documents: of the corpus.
    """
    asked = len(entities)

    def rows_of_questions(table: pa.Table) -> NDArray[np.int64]:
        return np.bincount(table["question"].to_numpy(), minlength=asked)

    occurrences = rows_of_questions(retrieved.filter(retrieved["verdict"]))
    columns: dict[str, Any] = {
        "culture": [culture] * asked,
        "question": np.arange(asked),
        "corpus": [corpus] * asked,
        "retrieved": rows_of_questions(retrieved),
        "occurrences": occurrences,
        "documents": [documents] * asked,
        "density": [found / documents if documents else None for found in occurrences.tolist()],
        "entity": [entity.term for entity in entities],
        "entity_documents": [entity.documents for entity in entities],
        **dict(zip(SHARD_COUNTS, exact.T, strict=True)),
        "lexical_documents": rows_of_questions(
            exhaustive.filter(pc.equal(exhaustive["part"], DOCUMENTS))
        ),
    }
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in QUESTIONS})


def summary(questions: pa.Table) -> dict[str, Any]:
    """Counts for the completion marker; densities are None without documents."""
    asked = len(questions)
    documents = int(questions["documents"][0].as_py()) if asked else 0
    means = {
        f"mean_{name}": float(pc.mean(questions[name]).as_py() or 0.0)
        for name in ("occurrences", "answer_documents", "together_documents", "lexical_documents")
    }

    def positive(name: str) -> int:
        return int(pc.sum(pc.greater(questions[name], 0)).as_py() or 0)

    return {
        "documents": documents,
        "questions": asked,
        "questions_found": positive("occurrences"),
        "questions_found_by_scan": positive("lexical_documents"),
        "answers_never_seen": asked - positive("answer_strings"),
        "retrieved": pc.sum(questions["retrieved"]).as_py() or 0,
        **means,
        "mean_density": means["mean_occurrences"] / documents if documents else None,
    }
