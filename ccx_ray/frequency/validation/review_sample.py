"""The retrieved documents that people are asked to look at.

Invariant: the id of a pair is a hash of what a person reads, the question, the answer and the whole
document, so an answer is never counted for another text than the one it was given for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import pyarrow as pa

from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.text.text_parts import read_documents
from ccx_ray.frequency.validation.estimated import EstimatedCorpus
from ccx_ray.frequency.validation.sampling import half_accepted

REVIEW_SAMPLE = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "corpus", "culture")),
        ("question", pa.int32()),
        ("document", pa.string()),
        ("row", pa.int64()),
        ("verdict", pa.bool_()),
        ("stratum_pairs", pa.int64()),
        ("stratum_drawn", pa.int64()),
    ]
)
Span = tuple[int, int]
"""Start and length in characters."""


@dataclass(frozen=True, kw_only=True)
class ReviewPair:
    """A question and a document that was retrieved for it."""

    corpus: str
    culture: str
    question: int
    cloze: Cloze
    document: Document
    row: int
    passage: Span
    """What was retrieved of the document."""
    verdict: bool
    reason: str
    evidence: Span
    """What the judge pointed at; -1 and 0 if at nothing."""

    @property
    def id(self) -> str:
        """Begins with a letter: a spreadsheet takes ``31415926e535`` for a number."""
        read = (self.cloze.question, self.cloze.answer, self.document.id, self.document.text)
        parts = (self.corpus, self.culture, str(self.question), *read)
        content = "\x1f".join(parts).encode("utf-8", "surrogatepass")
        return "q" + blake2b(content, digest_size=6).hexdigest()


def draw_review(estimated: EstimatedCorpus, *, size: int, seed: int) -> list[ReviewPair]:
    """The pairs of one corpus in the order of its sheet; none if nothing was retrieved."""
    pairs = half_accepted(estimated, size=size, seed=seed)
    documents = read_documents(estimated.text, {pair["row"] for pair in pairs})
    return [
        ReviewPair(
            corpus=estimated.corpus,
            culture=pair["culture"],
            question=pair["question"],
            cloze=estimated.cloze(pair),
            document=documents[pair["row"]],
            row=pair["row"],
            passage=(pair["passage_start"], pair["passage_length"]),
            verdict=pair["verdict"],
            reason=pair["reason"],
            evidence=(pair["evidence_start"], pair["evidence_length"]),
        )
        for pair in pairs
    ]


def sample_table(estimated: EstimatedCorpus, drawn: Sequence[ReviewPair]) -> pa.Table:
    """The drawn pairs as ``review_sample.parquet`` keeps them.

    ``stratum_pairs`` is the number of retrieved pairs of which the judge said the same, and
    ``stratum_drawn`` how many of them were drawn: every drawn pair stands for their quotient.
    """
    verdicts = estimated.retrieved()["verdict"].to_pylist()
    chosen = [pair.verdict for pair in drawn]
    rows = [
        {
            "id": pair.id,
            "corpus": pair.corpus,
            "culture": pair.culture,
            "question": pair.question,
            "document": pair.document.id,
            "row": pair.row,
            "verdict": pair.verdict,
            "stratum_pairs": verdicts.count(pair.verdict),
            "stratum_drawn": chosen.count(pair.verdict),
        }
        for pair in drawn
    ]
    return pa.Table.from_pylist(rows, REVIEW_SAMPLE)
