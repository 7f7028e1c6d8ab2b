"""One shard of an index, mapped for searching.

Passages are told apart by their number in the whole corpus, so that results of shards only have to
be put together.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.retrieval.bm25 import Postings, score_passages
from ccx_ray.frequency.retrieval.embedding.interface import Vectors
from ccx_ray.frequency.retrieval.embedding.signatures import Signatures, score_signatures
from ccx_ray.frequency.retrieval.index_files import (
    NGRAM_BITS,
    NGRAM_NORMS,
    PASSAGES,
    VECTORS,
    ShardDescription,
    mapped,
)
from ccx_ray.frequency.retrieval.index_types import IndexChoice, VectorIndex


class Scored(NamedTuple):
    """Passages of the corpus with their scores and documents, for one query."""

    passages: NDArray[np.int64]
    documents: NDArray[np.int64]
    scores: NDArray[np.float32]

    def best_first(self, most: int) -> "Scored":
        """The best, ties in the order of the passages."""
        some = self
        if most < len(self.scores):  # sorting thousands takes longer than leaving most out
            least = np.partition(self.scores, len(self.scores) - most)[-most]
            some = self._rows(np.flatnonzero(self.scores >= least))
        return some._rows(np.lexsort((some.passages, -some.scores))[:most])

    def best_of_documents(self, most: int) -> "Scored":
        """The best passage of every document, best first, ties by row."""
        ordered = self.best_first(len(self.passages))
        first = np.sort(np.unique(ordered.documents, return_index=True)[1])[:most]
        return ordered._rows(first)

    def _rows(self, rows: NDArray[np.int64]) -> "Scored":
        return Scored(self.passages[rows], self.documents[rows], self.scores[rows])


class OpenShard:
    """The passages of some consecutive documents."""

    def __init__(self, folder: Path, description: ShardDescription, *, first_passage: int) -> None:
        self._folder = folder
        self._description = description
        self._first = first_passage
        self._spans = mapped(folder / PASSAGES)

    @property
    def is_rounded(self) -> bool:
        """Whether its vectors are kept in few bits."""
        return self._description.index == "ivfpq"

    def __len__(self) -> int:
        return self._description.passages

    def closest(self, vectors: Vectors, wanted: int) -> list[Scored]:
        """The closest passages of every query, at most so many."""
        scores, passages = self._vectors.search(vectors, min(wanted, len(self)))
        return [
            self._scored(own[own >= 0], some[own >= 0])
            for own, some in zip(passages, scores, strict=True)
        ]

    def weigh(
        self,
        features: NDArray[np.int32],
        weights: NDArray[np.float32],
        passages: NDArray[np.int64],
    ) -> Scored:
        """Those of the passages that are of this shard, with the likeness of their n-grams.

        Args:
            features: of the query, with their weights; see ``score_signatures``.
        """
        own = passages[self.holds(passages)] - self._first
        bits, norms = self._signatures
        signatures = Signatures(np.take(bits, own, axis=0), np.take(norms, own, axis=0))
        return self._scored(own, score_signatures(features, weights, signatures))

    def best_by_terms(self, weights: Mapping[int, float], most: int) -> Scored:
        """The best passage by BM25 of the documents that hold any of the terms, best first.

        Args:
            weights: see ``bm25.weigh_terms``.
        """
        scores = score_passages(weights, self.postings, len(self))
        passages = np.flatnonzero(scores > 0)  # of truth values, ten times as fast
        found = scores[passages]
        # Every document has at most so many passages, so these hold the best of enough documents.
        enough = most * self._most_passages
        if len(found) > enough:
            least = np.partition(found, len(found) - enough)[-enough]
            passages, found = passages[found >= least], found[found >= least]
        return self._scored(passages, found).best_of_documents(most)

    def spans(self, passages: NDArray[np.int64]) -> NDArray[np.int32]:
        """Start and length in their documents of passages of this shard: ``[passages, 2]``."""
        spans: NDArray[np.int32] = self._spans[passages - self._first, 1:]
        return spans

    def holds(self, passages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which passages are of this shard."""
        return (passages >= self._first) & (passages < self._first + len(self))

    @cached_property
    def postings(self) -> Postings:
        return Postings.open(self._folder)

    def _scored(self, passages: NDArray[np.int64], scores: NDArray[np.float32]) -> Scored:
        documents = self._spans[passages, 0].astype(np.int64) + self._description.first_document
        return Scored(passages + self._first, documents, scores)

    @cached_property
    def _most_passages(self) -> int:
        """Of a document."""
        return int(np.bincount(self._spans[:, 0]).max())

    @cached_property
    def _signatures(self) -> Signatures:
        return Signatures(*(mapped(self._folder / name) for name in (NGRAM_BITS, NGRAM_NORMS)))

    @cached_property
    def _vectors(self) -> VectorIndex:
        shard = self._description
        choice = IndexChoice(type=shard.index, reason=shard.reason, parameters=shard.parameters)
        return VectorIndex(self._folder / VECTORS, choice)
