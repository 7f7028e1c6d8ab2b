"""Cultural density: how often each question's knowledge occurs among a corpus's documents.

Density = occurrences / documents (paper, "Frequency hypothesis"). Occurrences are the retrieved
documents that the judge accepts, so they are a lower bound, capped by ``top_documents``. A corpus
without documents has no density: null, not zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccx_ray.frequency.judges import Cloze, Judge, Verdict
from ccx_ray.frequency.retrieval import CorpusIndex, Hit


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One retrieved document of one question, and what the judge said."""

    question: int
    rank: int
    document: str
    score: float
    verdict: Verdict


def judge_retrieved(
    index: CorpusIndex, judge: Judge, clozes: Sequence[Cloze], hits: Sequence[list[Hit]]
) -> list[Judgement]:
    """Let the judge decide on every retrieved document of every question."""
    documents = index.read_documents(sorted({hit.document for found in hits for hit in found}))
    judgements: list[Judgement] = []
    for question, (cloze, found) in enumerate(zip(clozes, hits, strict=True)):
        retrieved = [documents[hit.document] for hit in found]
        verdicts = judge.judge(cloze, retrieved)
        rows = zip(found, retrieved, verdicts, strict=True)
        judgements.extend(
            Judgement(
                question=question,
                rank=rank,
                document=document.id,
                score=hit.score,
                verdict=verdict,
            )
            for rank, (hit, document, verdict) in enumerate(rows)
        )
    return judgements


@dataclass(frozen=True, kw_only=True)
class CorpusFrequencies:
    """What was found of one culture's questions in one corpus."""

    culture: str
    corpus: str
    documents: int
    questions: int
    judgements: list[Judgement]

    def occurrences(self) -> list[int]:
        """Per question, the number of retrieved documents that hold it."""
        counts = [0] * self.questions
        for judgement in self.judgements:
            counts[judgement.question] += judgement.verdict.holds
        return counts

    def retrieved(self) -> list[int]:
        """Per question, the number of retrieved documents."""
        counts = [0] * self.questions
        for judgement in self.judgements:
            counts[judgement.question] += 1
        return counts

    def summary(self) -> dict[str, Any]:
        """Counts for the completion marker; ``mean_density`` is None without documents."""
        occurrences = self.occurrences()
        mean = sum(occurrences) / self.questions if self.questions else 0.0
        return {
            "documents": self.documents,
            "questions": self.questions,
            "questions_found": sum(count > 0 for count in occurrences),
            "retrieved": len(self.judgements),
            "mean_occurrences": mean,
            "mean_density": mean / self.documents if self.documents else None,
        }


def write_frequencies(parts: Sequence[CorpusFrequencies], folder: Path) -> None:
    """Write ``questions.parquet`` and ``retrieved.parquet``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = [("culture", pa.string()), ("question", pa.int32()), ("corpus", pa.string())]
    questions = pa.schema(
        [*key, ("retrieved", pa.int32()), ("occurrences", pa.int32()), ("documents", pa.int64()),
         ("density", pa.float64())]
    )  # fmt: skip
    retrieved = pa.schema(
        [*key, ("rank", pa.int32()), ("document", pa.string()), ("score", pa.float64()),
         ("verdict", pa.bool_()), ("evidence_start", pa.int32()),
         ("evidence_length", pa.int32()), ("reason", pa.string())]
    )  # fmt: skip
    for name, schema, rows in (
        ("questions", questions, [row for part in parts for row in _question_rows(part)]),
        ("retrieved", retrieved, [row for part in parts for row in _retrieved_rows(part)]),
    ):
        table = pa.Table.from_pylist(rows, schema)
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")


def _question_rows(part: CorpusFrequencies) -> list[dict[str, Any]]:
    return [
        {
            "culture": part.culture,
            "question": question,
            "corpus": part.corpus,
            "retrieved": retrieved,
            "occurrences": occurrences,
            "documents": part.documents,
            "density": occurrences / part.documents if part.documents else None,
        }
        for question, (retrieved, occurrences) in enumerate(
            zip(part.retrieved(), part.occurrences(), strict=True)
        )
    ]


def _retrieved_rows(part: CorpusFrequencies) -> list[dict[str, Any]]:
    return [
        {
            "culture": part.culture,
            "question": judgement.question,
            "corpus": part.corpus,
            "rank": judgement.rank,
            "document": judgement.document,
            "score": judgement.score,
            "verdict": judgement.verdict.holds,
            "evidence_start": judgement.verdict.evidence_start,
            "evidence_length": judgement.verdict.evidence_length,
            "reason": judgement.verdict.reason,
        }
        for judgement in part.judgements
    ]
