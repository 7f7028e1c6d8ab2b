"""Near-duplicates by MinHash: of documents that say almost the same, the first one is kept.

Two documents are near when their signatures agree in a share of slots, which estimates the Jaccard
similarity of their sets of shingles (standard error 0.035 at 0.8). A document that is near an
earlier *kept* one is dropped: where A is near B, B near C and A not near C, A and C stay.

Invariant: the outcome depends on the texts and their order alone, not on how they were cut into
blocks or on the process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.cleaning.minhash import NO_SHINGLE, PERMUTATIONS, Hashes, Ints, Signatures

Standing = npt.NDArray[np.bool_]

CROWD = 32
"""Kept documents that one key of a band remembers. Text that stands in every page of a site gives
100,000 documents one key; whoever comes later is compared with the first of them only, here, and
with others by its other bands."""
LEAST_RECALL = 0.9
"""Of pairs exactly at the threshold, the least share that must become candidates."""
RUN = 4096
"""Documents that are decided together; 2 MB of signatures."""
BANDS_AT_ONCE = 4
"""Whose keys are taken in one pass over the signatures; at 7 million documents 230 MB."""
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
"""Odd, so that multiplication modulo 2**64 loses nothing."""


def near_duplicates(
    blocks: Sequence[Signatures], standing: Sequence[Standing], threshold: float
) -> Ints:
    """Which documents are near an earlier kept one.

    Measured on one core at 7 million documents, a tenth of them altered copies, and a threshold of
    0.8: 45 s, 1.4 GB. A copy costs 5 to 40 us, by how many kept documents share its keys. Blocks
    are taken one at a time and let go, so that a sequence that maps a file when asked for it keeps
    the mapped pages out of memory, too.

    Args:
        blocks: signatures in the order of the corpus, such as memory-mapped files.
        standing: [documents of the block] each; documents that are not in the running neither drop
            another nor are dropped.
        threshold: least share of equal slots.

    Returns:
        [documents of all blocks] number of the earliest kept document that it is near, or -1.
    """
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in standing], dtype=np.int64)])
    found = np.full(int(bounds[-1]), -1, np.int64)
    buckets, sizes = _buckets(blocks, standing, bounds, rows_per_band(threshold))
    decisions = _Decisions(blocks, bounds, threshold * PERMUTATIONS, _KeptIndex.empty(sizes), found)
    sharing = np.flatnonzero((buckets >= 0).any(axis=0))
    for start in range(0, len(sharing), RUN):
        documents = sharing[start : start + RUN]
        run = _Run(documents, decisions.signatures(documents), buckets[:, documents].T)
        decisions.decide(run, since=0)
    return found


def rows_per_band(threshold: float) -> int:
    """Slots that must all be equal for two documents to be compared: as many as still find
    ``LEAST_RECALL`` of the pairs at the threshold. At 0.8 they are 8, and 0.95 are found."""
    for rows in (16, 8, 4):
        if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= LEAST_RECALL:
            return rows
    return 2


def _buckets(
    blocks: Sequence[Signatures],
    standing: Sequence[Standing],
    bounds: Ints,
    rows: int,
) -> tuple[npt.NDArray[np.int32], Ints]:
    """Documents that share the key of a band share a bucket.

    Returns:
        [bands, documents] number of the bucket, -1 where a key is the document's own; and [buckets]
        how many documents each holds.
    """
    bands = PERMUTATIONS // rows
    buckets = np.full((bands, int(bounds[-1])), -1, np.int32)
    sizes, number = [np.zeros(0, np.int64)], 0
    for first in range(0, bands, BANDS_AT_ONCE):
        group = range(first, min(bands, first + BANDS_AT_ONCE))
        keys, taking_part = _band_keys(blocks, standing, bounds, rows, group)
        for band, key in zip(group, keys, strict=True):
            order = np.argsort(key)
            sorted_keys = key[order]
            begins = np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]])[: len(key)]
            size = np.diff(np.flatnonzero(begins), append=len(key))
            shared = size > 1
            names = np.where(shared, number + np.cumsum(shared) - 1, -1).astype(np.int32)
            buckets[band, taking_part[order]] = np.repeat(names, size)
            sizes.append(size[shared])
            number += len(sizes[-1])
    return buckets, np.concatenate(sizes)


def _band_keys(
    blocks: Sequence[Signatures],
    standing: Sequence[Standing],
    bounds: Ints,
    rows: int,
    group: range,
) -> tuple[Hashes, Ints]:
    """[bands of the group, n] the keys of the n documents that take part, and their numbers."""
    keys = np.empty((len(group), int(bounds[-1])), np.uint64)
    numbers = np.empty(int(bounds[-1]), np.int64)
    count = 0
    for block, stands, first in zip(blocks, standing, bounds, strict=False):
        slots = np.ascontiguousarray(block[:, group.start * rows : group.stop * rows])
        takes_part = np.flatnonzero(stands & (slots != NO_SHINGLE).any(axis=1))
        words = slots[takes_part].view(np.uint64).reshape(-1, len(group), rows // 2)
        key = np.zeros(words.shape[:2], np.uint64)
        for word in range(words.shape[2]):
            key = (key ^ words[:, :, word]) * _MULTIPLIER
            key ^= key >> np.uint64(29)
        there = slice(count, count + len(takes_part))
        keys[:, there], numbers[there] = key.T, first + takes_part
        count += len(takes_part)
    return keys[:, :count], numbers[:count]


class _KeptIndex(NamedTuple):
    """The first kept documents of every bucket."""

    begins: Ints
    """[buckets + 1] where a bucket's documents stand in ``documents``."""
    filled: Ints
    """[buckets]"""
    documents: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, sizes: Ints) -> "_KeptIndex":
        begins = np.concatenate([[0], np.cumsum(np.minimum(sizes, CROWD))])
        return cls(begins, np.zeros(len(sizes), np.int64), np.empty(int(begins[-1]), np.int32))

    def open(self, buckets: Ints) -> Standing:
        """Whether each bucket takes further documents."""
        return self.filled[buckets] < self.begins[buckets + 1] - self.begins[buckets]

    def add(self, buckets: Ints, documents: Ints) -> None:
        """Each bucket at most once, and open."""
        self.documents[self.begins[buckets] + self.filled[buckets]] = documents
        self.filled[buckets] += 1


class _Run(NamedTuple):
    """Consecutive documents among those that share a key with any other."""

    documents: Ints
    rows: Signatures
    buckets: npt.NDArray[np.int32]
    """[documents, bands]"""

    def take(self, which: slice | Standing) -> "_Run":
        return _Run(self.documents[which], self.rows[which], self.buckets[which])


@dataclass(frozen=True)
class _Decisions:
    """What has been decided of the documents so far."""

    blocks: Sequence[Signatures]
    bounds: Ints
    least_equal: float
    """Equal slots of two documents that are near."""
    index: _KeptIndex
    found: Ints

    def decide(self, run: _Run, *, since: int) -> None:
        """Drop what is near a kept document; keep the rest where no two of them share a key, else
        decide the first half and then the second. The outcome is that of one after another.

        Args:
            since: the run has been compared with the kept documents before this one.
        """
        at, kept = self._near_pairs(run, since)
        nearest = np.full(len(run.documents), len(self.found), np.int64)
        np.minimum.at(nearest, at, kept)
        dropped = nearest < len(self.found)
        self.found[run.documents[dropped]] = nearest[dropped]

        run = run.take(~dropped)
        member, band = np.nonzero(run.buckets >= 0)
        buckets = run.buckets[member, band].astype(np.int64)
        open_ = self.index.open(buckets)
        member, buckets = member[open_], buckets[open_]
        if len(_distinct(buckets)) == len(buckets):
            self.index.add(buckets, run.documents[member])
            return
        half = len(run.documents) // 2
        since = int(run.documents[0])
        self.decide(run.take(slice(0, half)), since=since)
        self.decide(run.take(slice(half, None)), since=since)

    def _near_pairs(self, run: _Run, since: int) -> tuple[Ints, Ints]:
        """Pairs that are near: place in the run, number of a kept document."""
        at, kept = self._candidates(run, since)
        documents = _distinct(kept)
        rows, which = self.signatures(documents), np.searchsorted(documents, kept)
        near = np.empty(len(at), np.bool_)
        for first in range(0, len(at), RUN):
            pairs = slice(first, first + RUN)
            equal = run.rows[at[pairs]] == rows[which[pairs]]
            near[pairs] = np.count_nonzero(equal, axis=1) >= self.least_equal
        return at[near], kept[near]

    def _candidates(self, run: _Run, since: int) -> tuple[Ints, Ints]:
        """Pairs that share a key, each once."""
        member, band = np.nonzero(run.buckets >= 0)
        buckets = run.buckets[member, band]
        counts = self.index.filled[buckets]
        ends = np.cumsum(counts)
        places = np.arange(counts.sum()) + np.repeat(
            self.index.begins[buckets] - ends + counts, counts
        )
        at, kept = np.repeat(member, counts), self.index.documents[places].astype(np.int64)
        new = kept >= since
        pairs = _distinct((at[new] << 32) | kept[new])
        return pairs >> 32, pairs & 0xFFFFFFFF

    def signatures(self, documents: Ints) -> Signatures:
        """[n, PERMUTATIONS] of documents in ascending order."""
        rows = np.empty((len(documents), PERMUTATIONS), np.uint32)
        blocks = np.searchsorted(self.bounds, documents, side="right") - 1
        edges = np.flatnonzero(np.diff(blocks, prepend=-1, append=-1))
        for first, last in pairwise(edges.tolist()):
            block = int(blocks[first])
            rows[first:last] = self.blocks[block][documents[first:last] - self.bounds[block]]
        return rows


def _distinct(numbers: Ints) -> Ints:
    """In ascending order, as ``np.unique``, which hashes and takes twice as long."""
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) > 0]
