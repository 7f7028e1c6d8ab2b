"""BM25 over the terms of passages (Robertson and Zaragoza 2009; the variant of Lucene).

What is stored is the part of a score that the passage decides; the rarity of a term is counted over
all shards when it is asked for. So a score does not depend on how a corpus was cut into shards.
That rules out the library bm25s, whose scores hold the rarity within one index and whose vocabulary
is one dictionary in memory; the tests hold our scores to its scores.

Invariant: postings of a term are in the order of the passages.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.text.terms import terms_of

SATURATION = 1.5
"""k1: how soon repetitions of a term stop counting."""
LENGTH_SHARE = 0.75
"""b: how much a passage's length counts."""
COMMON_SHARE = 0.1
"""Of the passages. A term that more of them hold is not looked up beside a rarer one: it tells the
least and takes the longest."""
_FIELDS = {"terms": np.uint64, "starts": np.int64, "passages": np.int32, "weights": np.float32}


@dataclass(frozen=True, kw_only=True)
class Postings:
    """Which passages hold which terms, in memory or mapped."""

    terms: NDArray[np.uint64]
    """Hashes, ascending."""
    starts: NDArray[np.int64]
    """``[terms + 1]``, where the postings of each term begin."""
    passages: NDArray[np.int32]
    weights: NDArray[np.float32]

    def save(self, folder: Path) -> None:
        for field in _FIELDS:
            np.save(folder / f"bm25-{field}.npy", getattr(self, field))

    @classmethod
    def open(cls, folder: Path) -> "Postings":
        return cls(**{field: mapped(folder / f"bm25-{field}.npy") for field in _FIELDS})

    def span(self, term: int) -> tuple[int, int]:
        """Where the postings of a term begin and end."""
        place = int(np.searchsorted(self.terms, np.uint64(term)))
        if place == len(self.terms) or self.terms[place] != term:
            return 0, 0
        return int(self.starts[place]), int(self.starts[place + 1])


def mapped(path: Path) -> Any:
    """An array in a file, read where it is looked at; a plain one, because numpy's own type for it
    takes five times as long to slice."""
    return np.asarray(np.load(path, mmap_mode="r"))


def hash_term(term: str) -> int:
    """64 bits; among 10 million terms two are alike with a chance of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little")


def count_terms(normalized: Sequence[str]) -> int:
    """Occurrences of terms in normalised texts."""
    return sum(1 for text in normalized for _ in terms_of(text))


def make_postings(normalized: Sequence[str], *, average_terms: float) -> Postings:
    """The postings of passages in normal form; ``average_terms`` is of a passage of the corpus."""
    vocabulary: dict[str, int] = {}
    numbers, lengths = [np.empty(0, np.int64)], np.zeros(len(normalized), np.int64)
    for passage, text in enumerate(normalized):
        own = [vocabulary.setdefault(term, len(vocabulary)) for term in terms_of(text)]
        numbers.append(np.array(own, np.int64))
        lengths[passage] = len(own)
    hashes = np.array([hash_term(term) for term in vocabulary], np.uint64)
    terms, places = np.unique(hashes, return_inverse=True)
    owners = np.repeat(np.arange(len(normalized)), lengths)
    keys = places[np.concatenate(numbers)] * max(1, len(normalized)) + owners
    distinct, occurrences = np.unique(keys, return_counts=True)
    columns, passages = np.divmod(distinct, max(1, len(normalized)))
    length_norm = 1 - LENGTH_SHARE + LENGTH_SHARE * lengths / max(average_terms, 1e-9)
    return Postings(
        terms=terms,
        starts=np.searchsorted(columns, np.arange(len(terms) + 1)).astype(np.int64),
        passages=passages.astype(np.int32),
        weights=(occurrences / (occurrences + SATURATION * length_norm[passages])).astype(
            np.float32
        ),
    )


def merge_postings(pieces: Sequence[tuple[Postings, int]], folder: Path) -> None:
    """Write the postings of passages that follow one another, never holding them in memory.

    Each of the ``pieces`` is postings and the number of their first passage.
    """
    terms = np.unique(np.concatenate([np.empty(0, np.uint64), *(p.terms for p, _ in pieces)]))
    columns = [np.searchsorted(terms, piece.terms) for piece, _ in pieces]
    starts = np.zeros(len(terms) + 1, np.int64)
    for places, (piece, _) in zip(columns, pieces, strict=True):
        starts[places + 1] += np.diff(piece.starts)
    np.cumsum(starts, out=starts)
    heads = starts[:-1].copy()
    written = Postings(
        terms=terms,
        starts=starts,
        passages=_mapped(folder, "passages", int(starts[-1])),
        weights=_mapped(folder, "weights", int(starts[-1])),
    )
    for places, (piece, first) in zip(columns, pieces, strict=True):
        counts = np.diff(piece.starts)
        targets = np.repeat(heads[places] - piece.starts[:-1], counts) + np.arange(counts.sum())
        written.passages[targets] = piece.passages + np.int32(first)
        written.weights[targets] = piece.weights
        heads[places] += counts
    np.save(folder / "bm25-terms.npy", terms)
    np.save(folder / "bm25-starts.npy", starts)


def _mapped(folder: Path, field: str, length: int) -> Any:
    path = folder / f"bm25-{field}.npy"
    if not length:  # nothing cannot be mapped
        np.save(path, np.empty(0, _FIELDS[field]))
        return np.load(path)
    return np.lib.format.open_memmap(path, "w+", _FIELDS[field], (length,))


def query_terms(query: str) -> Mapping[int, int]:
    """The hashes of a normalised query's terms, and how often each is asked for."""
    return Counter(map(hash_term, terms_of(query)))


def weigh_terms(
    terms: Mapping[int, int], shards: Sequence[Postings], passages: int
) -> dict[int, float]:
    """What a posting of each term counts: its rarity in the corpus times its place in the query."""
    spans = {term: [shard.span(term) for shard in shards] for term in terms}
    held = {term: sum(end - start for start, end in spans[term]) for term in terms}
    known = {term: count for term, count in held.items() if count}
    rare = {term: count for term, count in known.items() if count <= COMMON_SHARE * passages}
    return {
        term: float(terms[term] * np.log(1 + (passages - count + 0.5) / (count + 0.5)))
        for term, count in (rare or known).items()
    }


def score_passages(
    weights: Mapping[int, float], postings: Postings, passages: int
) -> NDArray[np.float32]:
    """The score of every passage of a shard: ``[passages]``, zero where no term is held."""
    scores = np.zeros(passages, np.float32)
    for term, weight in weights.items():
        start, end = postings.span(term)
        # A passage is posted once a term, so nothing is lost by adding at indices.
        scores[postings.passages[start:end]] += postings.weights[start:end] * np.float32(weight)
    return scores
