"""The index of one corpus: which documents come closest to a statement.

An index folder is self-contained: the documents, their passages, the FAISS index over the
passages' vectors, the embedder's fitted state and the document frequencies that a judge needs.
Invariant: row ``i`` of the FAISS index is row ``i`` of the passages, in the documents' order.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.embedding import Embedder, NgramEmbedder
from ccx_ray.frequency.judges import Document
from ccx_ray.storage import publish_json

if TYPE_CHECKING:
    import pyarrow as pa

DOCUMENTS, PASSAGES, TERMS = "documents", "passages.parquet", "terms.parquet"
VECTORS, DESCRIPTION = "passages.faiss", "index.json"
SHORTLIST = 40
"""Passages taken by vector for every document asked for, before the exact likeness decides.
On the bundled Tibetan text 10, 20 and 40 found 57, 66 and 77 % of what the judge accepts there."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A retrieved document: its row in the corpus and the score of its best passage."""

    document: int
    score: float


def document_files(folder: Path) -> list[Path]:
    """The Parquet files of a text or index folder's documents, in order."""
    return sorted((folder / DOCUMENTS).glob("*.parquet"))


def write_index(
    folder: Path,
    *,
    embedder: Embedder,
    passages: "pa.Table",
    vectors: NDArray[np.float32],
    terms: "pa.Table",
    documents: int,
) -> None:
    """Write everything but the documents, which stand in ``folder`` already.

    Args:
        passages: document (row of the corpus), start, length; in order.
        vectors: ``[passages, dimensions]``.
        terms: term, documents.
    """
    import faiss
    import pyarrow.parquet as pq

    vectors_of_passages = faiss.IndexFlatIP(embedder.dimensions)
    vectors_of_passages.add(np.ascontiguousarray(vectors))
    faiss.write_index(vectors_of_passages, str(folder / VECTORS))
    pq.write_table(passages, folder / PASSAGES, compression="zstd")
    pq.write_table(terms, folder / TERMS, compression="zstd")
    embedder.save(folder)
    publish_json(
        folder / DESCRIPTION,
        {
            "embedder": embedder.name,
            "embedder_fingerprint": embedder.fingerprint,
            "dimensions": embedder.dimensions,
            "documents": documents,
            "passages": len(passages),
        },
    )


class CorpusIndex:
    """A written index, opened for searching."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ValueError: the vectors were made by another embedder than the one in the folder.
        """
        self._folder = folder
        description = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        self.documents: int = description["documents"]
        self.passages: int = description["passages"]
        self._embedder: Embedder = NgramEmbedder.load(folder)
        if self._embedder.fingerprint != description["embedder_fingerprint"]:
            raise ValueError(f"{folder}: its vectors were made by another embedder than its own")

    def document_frequencies(self) -> dict[str, int]:
        """Term -> in how many documents it occurs."""
        import pyarrow.parquet as pq

        table = pq.read_table(self._folder / TERMS)
        terms, counts = (table.column(name).to_pylist() for name in ("term", "documents"))
        return dict(zip(terms, counts, strict=True))

    def read_documents(self, rows: Sequence[int]) -> dict[int, Document]:
        """The documents in these rows of the corpus."""
        import pyarrow.dataset as ds

        files = [str(path) for path in document_files(self._folder)]
        table = ds.dataset(files).take(rows, columns=["id", "text"]).to_pydict()
        fields = zip(rows, table["id"], table["text"], strict=True)
        return {row: Document(id=name, text=text) for row, name, text in fields}

    def search(self, statements: Sequence[str], top_documents: int) -> list[list[Hit]]:
        """The closest documents of every statement, best first, ties by row."""
        import faiss

        if not self.passages or not statements:
            return [[] for _ in statements]
        index = faiss.read_index(str(self._folder / VECTORS))
        wanted = min(self.passages, SHORTLIST * top_documents)
        _, shortlist = index.search(self._embedder.embed(statements), wanted)
        passages, positions = np.unique(shortlist, return_inverse=True)
        scores = self._embedder.score(
            statements, self._passage_texts(passages), positions.reshape(shortlist.shape)
        )
        owners = self._owners[shortlist]
        return [
            _best_documents(*of_one, top_documents) for of_one in zip(owners, scores, strict=True)
        ]

    @cached_property
    def _spans(self) -> tuple[NDArray[np.int64], ...]:
        import pyarrow.parquet as pq

        table = pq.read_table(self._folder / PASSAGES)
        return tuple(table.column(n).to_numpy() for n in ("document", "start", "length"))

    @property
    def _owners(self) -> NDArray[np.int64]:
        """Passage -> row of its document."""
        return self._spans[0]

    def _passage_texts(self, passages: NDArray[np.int64]) -> list[str]:
        owners, starts, lengths = (column[passages] for column in self._spans)
        documents = self.read_documents(np.unique(owners).tolist())
        return [
            documents[owner].text[start : start + length]
            for owner, start, length in zip(owners, starts, lengths, strict=True)
        ]


def _best_documents(
    owners: NDArray[np.int64], scores: NDArray[np.float32], top_documents: int
) -> list[Hit]:
    documents, where = np.unique(owners, return_inverse=True)
    best = np.full(len(documents), -np.inf, dtype=np.float32)
    np.maximum.at(best, where, scores)
    order = np.argsort(-best, kind="stable")[:top_documents]
    return [Hit(document=int(documents[i]), score=float(best[i])) for i in order]
