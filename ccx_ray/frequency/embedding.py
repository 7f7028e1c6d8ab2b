"""Texts as vectors whose inner product is their likeness, behind one small interface.

The embedder that needs no download weighs hashed character n-grams by TF-IDF and projects them at
random to a few hundred dimensions. Character n-grams need no word borders, so the five scripts of
the study are treated alike. Noise is the price: two unrelated vectors of 256 dimensions have a
cosine of 0.06 in size, as much as a question and a passage that answers it, so what the vectors
bring up is put in order by the exact likeness (``score``).

Invariant: the projection is a function of the seed alone and the fitted state has a fingerprint,
so an index is never searched with another embedder than its own.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.normalization import normalize

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEATURES = 2**18
"""Hash buckets; 10,000 English passages have about 300,000 different n-grams."""
ORDERS = (2, 3, 4)
"""Lengths of the n-grams. 1 to 3 and 3 to 5 found no more of what the judge accepts."""
NONZEROS = 8
"""Of the projection in each row (sparse Johnson-Lindenstrauss, Kane and Nelson 2014). A truncated
SVD took 20 s a corpus where this takes one and found fewer documents in Korean."""
QUERIES_AT_ONCE = 64
STATE_FILE = "embedder.npz"


class Embedder(Protocol):
    """What turns texts into unit vectors."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text would get another vector."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors ``[texts, dimensions]`` of length one; zero for a text without letters."""
        ...

    def score(
        self, queries: Sequence[str], passages: Sequence[str], candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The likeness that the vectors stand for, exactly.

        Args:
            candidates: ``[queries, n]``, indices into ``passages``.

        Returns:
            ``[queries, n]``, higher is more alike.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the fitted state."""
        ...


class NgramEmbedder:
    """Cosine of TF-IDF over hashed character n-grams; the vectors are its random projection."""

    name = "ngram"

    def __init__(
        self, *, passage_frequencies: NDArray[np.int64], passages: int, dimensions: int, seed: int
    ) -> None:
        """
        Args:
            passage_frequencies: ``[FEATURES]``, in how many passages each feature occurs.
            passages: of the corpus.
        """
        self._passage_frequencies = passage_frequencies
        self._passages = passages
        self.dimensions = dimensions
        self._seed = seed

    @cached_property
    def fingerprint(self) -> str:
        settings = f"{ORDERS} {FEATURES} {NONZEROS} {self.dimensions} {self._seed} {self._passages}"
        return hashlib.sha256(settings.encode() + self._passage_frequencies.tobytes()).hexdigest()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        from sklearn.preprocessing import normalize as to_unit_length

        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        projected = (self._weighted(texts) @ self._projection).toarray()
        vectors: NDArray[np.float32] = to_unit_length(projected)
        return vectors

    def score(
        self, queries: Sequence[str], passages: Sequence[str], candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        weighted_queries, weighted_passages = self._weighted(queries), self._weighted(passages).T
        scores = np.empty(candidates.shape, dtype=np.float32)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            rows = slice(start, start + QUERIES_AT_ONCE)
            cosines = (weighted_queries[rows] @ weighted_passages).toarray()
            scores[rows] = np.take_along_axis(cosines, candidates[rows], axis=1)
        return scores

    def save(self, folder: Path) -> None:
        np.savez_compressed(
            folder / STATE_FILE,
            passage_frequencies=self._passage_frequencies,
            passages=self._passages,
            dimensions=self.dimensions,
            seed=self._seed,
        )

    @classmethod
    def load(cls, folder: Path) -> "NgramEmbedder":
        with np.load(folder / STATE_FILE) as state:
            return cls(
                passage_frequencies=state["passage_frequencies"],
                passages=int(state["passages"]),
                dimensions=int(state["dimensions"]),
                seed=int(state["seed"]),
            )

    def _weighted(self, texts: Sequence[str]) -> "csr_matrix":
        """Unit rows of sublinear TF times smoothed IDF: ``[texts, FEATURES]``."""
        from sklearn.preprocessing import normalize as to_unit_length

        counts = count_ngrams(texts)
        if not texts:  # scikit-learn refuses to normalise no rows
            return counts
        counts.data = (1 + np.log(counts.data)) * self._inverse_frequencies[counts.indices]
        return to_unit_length(counts)

    @cached_property
    def _inverse_frequencies(self) -> NDArray[np.float32]:
        ratio = (1 + self._passages) / (1 + self._passage_frequencies)
        return (np.log(ratio) + 1).astype(np.float32)

    @cached_property
    def _projection(self) -> "csr_matrix":
        from scipy.sparse import csr_matrix

        generator = np.random.default_rng(self._seed)
        columns = generator.integers(self.dimensions, size=FEATURES * NONZEROS, dtype=np.int32)
        signs = generator.choice(np.array([-1, 1], dtype=np.float32), size=FEATURES * NONZEROS)
        ends = np.arange(0, FEATURES * NONZEROS + 1, NONZEROS)
        return csr_matrix((signs, columns, ends), shape=(FEATURES, self.dimensions))


def count_ngrams(texts: Sequence[str]) -> "csr_matrix":
    """How often each hashed n-gram occurs: ``[texts, FEATURES]``, float32."""
    from scipy.sparse import csr_matrix

    columns, counts, ends = [np.empty(0, np.int32)], [np.empty(0, np.int64)], [0]
    for text in texts:
        features, occurrences = np.unique(_ngram_features(text), return_counts=True)
        columns.append(features)
        counts.append(occurrences)
        ends.append(ends[-1] + len(features))
    return csr_matrix(
        (np.concatenate(counts).astype(np.float32), np.concatenate(columns), ends),
        shape=(len(texts), FEATURES),
    )


def _ngram_features(text: str) -> NDArray[np.int32]:
    """The feature of every n-gram; Fibonacci hashing of a polynomial in the code points."""
    normalized = normalize(text).strip()
    if not normalized:
        return np.empty(0, np.int32)
    code_points = np.frombuffer(f" {normalized} ".encode("utf-32-le"), dtype="<u4")
    features = []
    hashes = code_points.astype(np.uint64)
    for order in range(2, max(ORDERS) + 1):
        hashes = hashes[:-1] * np.uint64(0x100000001B3) + code_points[order - 1 :]
        mixed = hashes * np.uint64(0x9E3779B97F4A7C15)
        if order in ORDERS:
            features.append((mixed >> np.uint64(65 - FEATURES.bit_length())).astype(np.int32))
    return np.concatenate(features)
