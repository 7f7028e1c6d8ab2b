"""What a study found in one corpus, written by hand."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.parts import write_part
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.estimated import EstimatedCorpus

Pair = tuple[int, int, bool | None]
"""Question, row of the document, verdict; None: none that could be read."""


def write_text(folder: Path, texts: Sequence[str]) -> Path:
    """A text folder whose documents are ``d0``, ``d1``, ..."""
    (folder / "documents").mkdir(parents=True)
    ids = [f"d{row}" for row in range(len(texts))]
    columns = {"id": ids, "text": list(texts), "source": ["a source"] * len(texts)}
    write_part(folder / "documents", 0, pa.table(columns))
    return folder


def write_estimated(
    folder: Path,
    texts: Sequence[str],
    clozes: dict[str, Sequence[Cloze]],
    pairs: dict[str, Sequence[Pair]],
    *,
    corpus: str = "en",
    holders: dict[str, Sequence[tuple[int, int]]] | None = None,
    evidence: tuple[int, int] = (-1, 0),
) -> EstimatedCorpus:
    """Text and frequency folders.

    Args:
        pairs: culture -> what was retrieved.
        holders: culture -> question and row of what an exhaustive scan accepts.
        evidence: of every pair.
    """
    write_text(folder / "text", texts)
    frequencies = {}
    for culture, retrieved in pairs.items():
        frequencies[culture] = folder / f"frequency-{culture}"
        frequencies[culture].mkdir()
        key = {"culture": culture, "corpus": corpus}
        place = {"passage_start": 0, "passage_length": 50}
        place |= {"evidence_start": evidence[0], "evidence_length": evidence[1]}
        rows = [
            {**key, "question": question, "document": f"d{row}", "row": row, "verdict": verdict}
            | {**place, "reason": "because"}
            for question, row, verdict in retrieved
        ]
        other = {"culture": culture, "corpus": "another", "question": 0, "verdict": True, "row": 0}
        questions = [
            {
                **key,
                "question": question,
                "retrieved": sum(pair[0] == question for pair in retrieved),
                "occurrences": sum(pair[0] == question and pair[2] is True for pair in retrieved),
                "documents": len(texts),
            }
            for question in range(len(clozes[culture]))
        ]
        found = [
            {**key, "question": question, "part": part, "row": row}
            for question, row in (holders or {}).get(culture, ())
            for part in ("documents", "english")
        ]
        tables = {
            "retrieved": [*rows, other],
            "questions": questions,
            "exhaustive": [*found, {**key, "question": 0, "part": "target", "row": 99}],
        }
        for name, content in tables.items():
            pq.write_table(pa.Table.from_pylist(content), frequencies[culture] / f"{name}.parquet")
    return EstimatedCorpus(
        corpus=corpus, text=folder / "text", clozes=clozes, frequencies=frequencies
    )
