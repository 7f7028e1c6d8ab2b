"""The index of one corpus: which documents come closest to a query.

Three retrievers share an index: the passages' vectors, whose shortlist the n-gram embedder puts in
order by the n-grams themselves; BM25; and both fused by their ranks. A document is as good as its
best passage. Everything is mapped, so a corpus need not fit into memory.

Invariant: a document comes once, best first, ties in the order of rows, whatever the shards are.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter

from ccx_ray.errors import UserError
from ccx_ray.frequency.retrieval.bm25 import query_terms, weigh_terms
from ccx_ray.frequency.retrieval.embedding.factory import open_embedder
from ccx_ray.frequency.retrieval.embedding.interface import Embedder
from ccx_ray.frequency.retrieval.embedding.ngram import NgramEmbedder
from ccx_ray.frequency.retrieval.index_files import IndexDescription
from ccx_ray.frequency.retrieval.index_types import OVERSAMPLED
from ccx_ray.frequency.retrieval.open_shard import OpenShard, Scored
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.study.frequency_spec import EmbedderSpec, RetrieverName

SHORTLIST = 40
"""Passages taken by vector for every document asked for, before the n-grams decide.
On the bundled Tibetan text 10, 20 and 40 found 57, 66 and 77 % of what the judge accepts there."""
SHORTLISTED_BY_TERMS = 20
"""Documents of BM25 whose best passages join the shortlist of a hybrid search, for every one asked
for. Of 121,000 passages those 50 whose n-grams are most alike were to 38 % among 2,000 by vector,
to 44 % among 1,000 by BM25, and to 51 % among 1,000 of each."""
FUSED = 2
"""Documents of each ranking that are fused, for every document asked for."""
QUERIES_AT_ONCE = 64

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A retrieved document: its row in the corpus, and its best passage with that one's score."""

    document: int
    score: float
    passage_start: int
    passage_length: int


class CorpusIndex:
    """A written index, opened for searching."""

    def __init__(
        self,
        folder: Path,
        embedder: EmbedderSpec | None = None,
        *,
        model_folder: Path | None = None,
    ) -> None:
        """
        Args:
            embedder: must be the one that the index was built by; its own if not given.
            model_folder: where the embedder's model lies, if not where its settings say.

        Raises:
            UserError: the index was built by another embedder.
        """
        self._folder = folder
        self._description = IndexDescription.read(folder)
        self.documents = self._description.documents
        self.passages = self._description.passages
        spec = embedder or TypeAdapter(EmbedderSpec).validate_python(self._description.embedder)
        self._embedder: Embedder = open_embedder(
            spec, state_folder=folder, model_folder=model_folder
        )
        if self._embedder.fingerprint != self._description.fingerprint:
            own, given = self._description.fingerprint[:12], self._embedder.fingerprint[:12]
            raise UserError(
                f"{folder} was built by another embedder (fingerprint {own}, this is {given}); "
                "give the embedder of its index.json, or build the index again"
            )

    def search(
        self, queries: Sequence[str], top_documents: int, retriever: RetrieverName
    ) -> list[list[Hit]]:
        """The closest documents of every query, best first, ties by row."""
        hits: list[list[Hit]] = []
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            some = queries[start : start + QUERIES_AT_ONCE]
            hits.extend(self._search(some, top_documents, retriever))
        return hits

    def _search(
        self, queries: Sequence[str], top: int, retriever: RetrieverName
    ) -> list[list[Hit]]:
        if not self._shards:
            return [[] for _ in queries]
        if retriever == "vectors":
            found = self._by_vectors(queries, top)
            return [self._hits(one.best_of_documents(top)) for one in found]
        by_terms = self._by_terms(queries, top if retriever == "bm25" else self._joining(top))
        if retriever == "bm25":
            return [self._hits(one.best_of_documents(top)) for one in by_terms]
        by_vectors = self._by_vectors(queries, top, by_terms)
        return [
            self._hits(_fused([one.best_of_documents(FUSED * top) for one in both], top))
            for both in zip(by_vectors, by_terms, strict=True)
        ]

    def _joining(self, top: int) -> int:
        return max(FUSED, SHORTLISTED_BY_TERMS) * top

    def _by_vectors(
        self, queries: Sequence[str], top: int, joining: Sequence[Scored] = ()
    ) -> list[Scored]:
        """For every query the passages by likeness, in any order.

        Args:
            joining: passages for each query that the n-grams shall judge beside the shortlist.
        """
        rounded = any(shard.is_rounded for shard in self._shards)
        wanted = int(SHORTLIST * top * (OVERSAMPLED if rounded else 1))
        vectors = self._embedder.embed(queries)
        of_shards = self._of_shards(lambda shard: shard.closest(vectors, wanted))
        of_queries = zip(*of_shards, strict=True)
        shortlists = [_together(of_query).best_first(wanted) for of_query in of_queries]
        if not isinstance(self._embedder, NgramEmbedder):
            return shortlists
        passages = [shortlist.passages for shortlist in shortlists]
        if joining:
            both = zip(passages, joining, strict=True)
            passages = [np.union1d(own, other.passages) for own, other in both]
        found = []
        for (features, weights), own in zip(self._embedder.sign(queries), passages, strict=True):
            weigh = partial(OpenShard.weigh, features=features, weights=weights, passages=own)
            found.append(_together(self._of_shards(weigh)))
        return found

    def _by_terms(self, queries: Sequence[str], most: int) -> list[Scored]:
        """For every query the best passages of so many documents."""
        postings = [shard.postings for shard in self._shards]
        found = []
        for query in queries:
            weights = weigh_terms(query_terms(normalize(query)), postings, self.passages)
            of_shards = self._of_shards(
                partial(OpenShard.best_by_terms, weights=weights, most=most)
            )
            found.append(_together(of_shards).best_first(most))
        return found

    def _of_shards(self, search: Callable[[OpenShard], Found]) -> list[Found]:
        """What is found in every shard, in their order.

        FAISS and NumPy let other threads run meanwhile; what is found does not depend on them.
        """
        return list(self._threads.map(search, self._shards))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(min(len(self._shards), os.cpu_count() or 1))

    def _hits(self, scored: Scored) -> list[Hit]:
        spans = np.zeros((len(scored.passages), 2), np.int64)
        for shard in self._shards:
            own = shard.holds(scored.passages)
            spans[own] = shard.spans(scored.passages[own])
        rows = zip(scored.documents.tolist(), scored.scores.tolist(), spans.tolist(), strict=True)
        return [
            Hit(document=document, score=score, passage_start=start, passage_length=length)
            for document, score, (start, length) in rows
        ]

    @cached_property
    def _shards(self) -> list[OpenShard]:
        shards = self._description.shards
        firsts = np.cumsum([0, *(shard.passages for shard in shards)]).tolist()
        return [
            OpenShard(self._folder / shard.name, shard, first_passage=first)
            for shard, first in zip(shards, firsts, strict=False)
        ]


def _together(scored: Sequence[Scored]) -> Scored:
    """What was found in all shards."""
    return Scored(*(np.concatenate(columns) for columns in zip(*scored, strict=True)))


def _fused(rankings: Sequence[Scored], top: int) -> Scored:
    """Rankings made one; a document's passage is that of the ranking where it stands higher."""
    places: dict[int, tuple[int, int]] = {}
    for ranking in rankings:
        found = zip(ranking.documents.tolist(), ranking.passages.tolist(), strict=True)
        for rank, (document, passage) in enumerate(found):
            places[document] = min(places.get(document, (rank, passage)), (rank, passage))
    fused = fuse([ranking.documents.tolist() for ranking in rankings])[:top]
    return Scored(
        np.array([places[document][1] for document, _ in fused], np.int64),
        np.array([document for document, _ in fused], np.int64),
        np.array([score for _, score in fused], np.float32),
    )


CONSTANT = 60
"""Of the paper."""


def fuse(rankings: Sequence[Sequence[int]]) -> list[tuple[int, float]]:
    """Documents with the sum of 1 / (60 + rank), best first, ties by document.

    Args:
        rankings: documents of each ranking, best first.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, document in enumerate(ranking, 1):
            scores[document] = scores.get(document, 0.0) + 1 / (CONSTANT + rank)
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
