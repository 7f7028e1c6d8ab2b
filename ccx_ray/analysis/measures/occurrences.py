"""How often a corpus holds the knowledge of each question, as it was counted in several ways.

Invariant: a way of counting that a frequency step did not write is absent, never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.analysis.statistics.intervals import Floats

Measure = Literal["occurrences", "lexical_documents", "together_documents", "answer_documents"]
"""A column of ``questions.parquet``: the retrieved documents that the judge accepted; what the
lexical judge accepts of all documents; documents with both the answer and the question's entity;
documents with the answer."""
MEASURES: tuple[Measure, ...] = get_args(Measure)
ESTIMATE: Measure = "occurrences"
EXACT_MEASURES: tuple[Measure, ...] = MEASURES[1:]


@dataclass(frozen=True, kw_only=True, eq=False)
class Occurrences:
    """What one corpus holds of each question of one culture."""

    question: NDArray[np.int32]
    """[Q]"""
    counts: Mapping[Measure, NDArray[np.int64]]
    """Documents [Q] that hold the question's knowledge."""
    documents: int
    """Of the corpus."""

    def density(self, measure: Measure) -> Floats:
        """Counts over documents; NaN in a corpus without documents."""
        counts = self.counts[measure].astype(np.float64)
        return counts / self.documents if self.documents else np.full(len(counts), np.nan)


Counted = Mapping[tuple[str, str], Occurrences]
"""(culture, corpus) -> occurrences."""


def read_occurrences(frequencies: Mapping[str, Path]) -> dict[tuple[str, str], Occurrences]:
    """Read the frequency steps' ``questions.parquet``, by culture and corpus."""
    found = {}
    for culture, folder in frequencies.items():
        table = pq.read_table(folder / "questions.parquet")
        for corpus in table["corpus"].unique().to_pylist():
            rows = table.filter(pc.equal(table["corpus"], corpus)).sort_by("question")
            found[culture, corpus] = Occurrences(
                question=rows["question"].to_numpy(),
                counts={
                    measure: rows[measure].to_numpy().astype(np.int64)
                    for measure in MEASURES
                    if measure in rows.column_names
                },
                documents=int(rows["documents"][0].as_py()) if len(rows) else 0,
            )
    return found
