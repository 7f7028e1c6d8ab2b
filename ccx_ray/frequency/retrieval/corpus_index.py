"""The index of one corpus: which documents come closest to a query.

Three retrievers share an index: the passages' vectors, whose shortlist the n-gram embedder puts in
order by the n-grams themselves; BM25; and both fused by their ranks. A document is as good as its
best passage. Everything is mapped, so a corpus need not fit into memory. Passages are told apart by
their number in the whole corpus, so that results of shards only have to be put together.

Invariant: a document comes once, best first, ties in the order of rows, whatever the shards are.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from ccx_ray.errors import UserError
from ccx_ray.frequency.retrieval.bm25 import (
    Postings,
    mapped,
    query_terms,
    score_passages,
    weigh_terms,
)
from ccx_ray.frequency.retrieval.embedders import open_embedder
from ccx_ray.frequency.retrieval.index_building import (
    DESCRIPTION,
    NGRAM_BITS,
    NGRAM_NORMS,
    PASSAGES,
    VECTORS,
)
from ccx_ray.frequency.retrieval.index_types import OVERSAMPLED, VectorIndex
from ccx_ray.frequency.retrieval.ngram_embedder import NgramEmbedder, Signatures, score_signatures
from ccx_ray.frequency.retrieval.vectors import Vectors
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


class Hit(NamedTuple):
    """A retrieved document: its row in the corpus, and its best passage with that one's score."""

    document: int
    score: float
    passage_start: int
    passage_length: int


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

    def __init__(self, folder: Path, description: dict[str, Any], *, first_passage: int) -> None:
        """``description``: of the shard in ``index.json``."""
        self._folder, self._description = folder, description
        self._first = first_passage
        self._spans = mapped(folder / PASSAGES)
        self.is_rounded = description["index"] == "ivfpq"
        """Whether its vectors are kept in few bits."""

    def __len__(self) -> int:
        return len(self._spans)

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
        """Those of the passages that are of this shard, scored by ``score_signatures``."""
        own = passages[self.holds(passages)] - self._first
        bits, norms = self._signatures
        signatures = Signatures(np.take(bits, own, axis=0), np.take(norms, own, axis=0))
        return self._scored(own, score_signatures(features, weights, signatures))

    def best_by_terms(self, weights: Mapping[int, float], most: int) -> Scored:
        """The best passage by BM25 of the documents that hold any of the terms, best first."""
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
        documents = self._spans[passages, 0].astype(np.int64) + self._description["first_document"]
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
        return VectorIndex(self._folder / VECTORS, shard["index"], shard["parameters"])


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
        description = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        self._described_shards: list[dict[str, Any]] = description["shards"]
        self.documents: int = description["documents"]
        self.passages: int = description["passages"]
        spec = embedder or TypeAdapter(EmbedderSpec).validate_python(description["embedder"])
        self._embedder = open_embedder(spec, state_folder=folder, model_folder=model_folder)
        if self._embedder.fingerprint != description["fingerprint"]:
            own, given = description["fingerprint"][:12], self._embedder.fingerprint[:12]
            raise UserError(
                f"{folder} was built by another embedder (fingerprint {own}, this is {given}); "
                "give the embedder of its index.json, or build the index again"
            )

    def search(
        self, queries: Sequence[str], top_documents: int, retriever: RetrieverName
    ) -> list[list[Hit]]:
        """The closest documents of every query, best first, ties by row."""
        hits: list[list[Hit]] = []
        for start in range(0, len(queries) if self._shards else 0, QUERIES_AT_ONCE):
            some = queries[start : start + QUERIES_AT_ONCE]
            hits.extend(self._search(some, top_documents, retriever))
        return hits or [[] for _ in queries]

    def _search(
        self, queries: Sequence[str], top: int, retriever: RetrieverName
    ) -> list[list[Hit]]:
        if retriever == "vectors":
            found = self._by_vectors(queries, top)
            return [self._hits(one.best_of_documents(top)) for one in found]
        most = top if retriever == "bm25" else max(FUSED, SHORTLISTED_BY_TERMS) * top
        by_terms = self._by_terms(queries, most)
        if retriever == "bm25":
            return [self._hits(one.best_of_documents(top)) for one in by_terms]
        by_vectors = self._by_vectors(queries, top, by_terms)
        return [
            self._hits(fuse([one.best_of_documents(FUSED * top) for one in both], top))
            for both in zip(by_vectors, by_terms, strict=True)
        ]

    def _by_vectors(
        self, queries: Sequence[str], top: int, joining: Sequence[Scored] = ()
    ) -> list[Scored]:
        """For every query the passages by likeness; n-grams judge those ``joining`` them, too."""
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
        return [Hit(document, score, *span) for document, score, span in rows]

    @cached_property
    def _shards(self) -> list[OpenShard]:
        shards = self._described_shards
        firsts = accumulate((shard["passages"] for shard in shards), initial=0)
        return [
            OpenShard(self._folder / shard["name"], shard, first_passage=first)
            for shard, first in zip(shards, firsts, strict=False)
        ]


def _together(scored: Sequence[Scored]) -> Scored:
    """What was found in all shards."""
    return Scored(*(np.concatenate(columns) for columns in zip(*scored, strict=True)))


def fuse(rankings: Sequence[Scored], top: int) -> Scored:
    """Rankings made one by the sum of 1 / (60 + rank), best first, ties by document.

    A document's passage is that of the ranking where it stands higher.
    """
    scores: defaultdict[int, float] = defaultdict(float)
    places: dict[int, tuple[int, int]] = {}
    for ranking in rankings:
        found = zip(ranking.documents.tolist(), ranking.passages.tolist(), strict=True)
        for rank, (document, passage) in enumerate(found, 1):
            scores[document] += 1 / (60 + rank)
            places[document] = min(places.get(document, (rank, passage)), (rank, passage))
    best = sorted(scores, key=lambda document: (-scores[document], document))[:top]
    passages = np.array([places[document][1] for document in best], np.int64)
    of_best = np.array([scores[document] for document in best], np.float32)
    return Scored(passages, np.array(best, np.int64), of_best)
