"""Near-duplicates by MinHash: of documents that say almost the same, the first one is kept.

Two documents are near when their signatures agree in a share of slots, which estimates the Jaccard
similarity of their sets of shingles (standard error 0.035 at 0.8). A document that is near an
earlier *kept* one is dropped: where A is near B, B near C and A not near C, A and C stay.

Invariants: a signature depends on the document's text alone, not on what is hashed beside it, on
the process or on the number of threads; the outcome depends on the texts and their order alone, not
on how they were cut into blocks or on the process.

**Shingles** are three consecutive units. A unit is a run of letters, marks and digits between
anything else (a word of English, Korean or Mongolian; a syllable of Tibetan, where the tsheg
divides), or one character of a script that is written without such marks (Han, kana, Thai, Lao,
Burmese, Khmer). Punctuation, white space and symbols count for nothing, so a text that was merely
laid out anew is the same. Why three, as medians of the bundled English, Chinese and Tibetan text:
with three, documents whose sentences were shuffled are 0.85 similar, and unrelated ones share less
than 0.002 on average; with five they are 0.73. With two units (0.92) or with five characters (0.92)
a stub of 20 words that differs from another in one fact would be a near-duplicate of it at 0.8.

**A document of fewer than three units has no shingle**; it is near to nothing.

Measured on one core of an AMD EPYC with AVX-512, UTF-8 MB/s in all: English 86, Korean single
sentences 35, Chinese 80, Tibetan 220, Mongolian 75. The signatures alone, from hashed English
shingles to an array: Rensa's R-MinHash from one flat buffer 700, from lists 113, as objects 49, its
C-MinHash 32, datasketch 21. Its rho sketch (940) samples positions of the text, so shuffled
sentences would be another document.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple, Protocol
from unicodedata import category

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]
Standing = npt.NDArray[np.bool_]

PERMUTATIONS = 128
"""Slots of a signature, 512 bytes a document. With a power of two R-MinHash skips what cannot
change the result: 1.2 to 1.9 ns a shingle against 1.5 to 4.7 with 112."""
SEED = 1
UNITS_PER_SHINGLE = 3
NO_SHINGLE = np.uint32(0xFFFFFFFF)
"""In every slot of a document that has no shingle."""

_WINDOW = 1 << 16
"""Characters that are hashed at once: larger arrays leave the cache."""
_DOCUMENTS_AT_ONCE = 255
"""Rensa starts threads from 256 on, but a task owns one core."""
_UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF)),  # Thai, Lao; Burmese; Khmer
    *((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),  # kana, Han
)
_ZERO_WIDTH_SPACE = 0x200B
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
"""Odd, so that multiplication modulo 2**64 loses nothing."""

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
_BAND_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
"""Odd, so that multiplication modulo 2**64 loses nothing."""


class Blocks(Protocol):
    """The signatures of blocks in the order of the corpus, such as memory-mapped files."""

    def __getitem__(self, number: int, /) -> Signatures: ...


def signatures(texts: Sequence[str]) -> Signatures:
    """The signatures of some documents; of each by itself, whatever stands beside it.

    Returns:
        [documents, PERMUTATIONS].
    """
    from rensa import RMinHash

    table = np.empty((len(texts), PERMUTATIONS), np.uint32)
    for first, last in _batches(texts):
        shingles, ends = _shingles(texts[first:last])
        offsets = np.concatenate([[0], ends]).astype(np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            shingles, offsets, PERMUTATIONS, SEED
        )
        table[first:last] = matrix.to_rows()
    return table


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ranges of documents for one call; one that fills a window by itself stands alone."""
    first = characters = 0
    for number, text in enumerate(texts):
        if number > first and (
            characters + len(text) >= _WINDOW or number - first == _DOCUMENTS_AT_ONCE
        ):
            yield first, number
            first, characters = number, 0
        characters += len(text) + 1
    if first < len(texts):
        yield first, len(texts)


def _shingles(texts: Sequence[str]) -> tuple[Hashes, Ints]:
    """The hashes of all shingles, and [documents] where those of each document end."""
    units, _, unit_ends = unit_hashes(texts)
    counts = np.diff(unit_ends, prepend=0)
    last = UNITS_PER_SHINGLE - 1
    shingles = np.zeros(max(0, len(units) - last), np.uint64)
    for place in range(UNITS_PER_SHINGLE):
        shingles *= np.uint64(_MULTIPLIERS[0])
        shingles += units[place : place + len(shingles)]
    shingles ^= shingles >> np.uint64(32)
    # A document's last units begin shingles that would reach into the next document.
    within = np.ones(len(units), np.bool_)
    for place in range(1, last + 1):
        within[(unit_ends - place)[counts >= place]] = False
    return shingles[within[: len(shingles)]], np.cumsum(np.maximum(counts - last, 0))


def unit_hashes(texts: Sequence[str]) -> tuple[Hashes, Ints, Ints]:
    """The hashes of all units; the character at which each begins, of all texts with one character
    between two; and [texts] where the units of each text end."""
    units, starts = _units("\n".join(texts))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return units, starts, np.searchsorted(starts, np.cumsum(lengths + 1) - 1)


def _units(text: str) -> tuple[Hashes, Ints]:
    """The hashes of a text's units and the characters at which they begin."""
    kinds, powers, inverse_powers = _tables()
    hashes, starts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    at = 0
    while at < len(text):
        window = text[at : at + _WINDOW]
        codes = np.frombuffer(window.encode("utf-32-le", "surrogatepass"), np.uint32)
        kind = kinds.take(codes, mode="clip")
        begins = kind.copy()
        begins[1:] = kind[1:] > (kind[1:] & kind[:-1] & 1)
        start = np.flatnonzero(begins)
        # A unit's hash is a polynomial of its characters, summed at their places in the window and
        # shifted to the window's beginning; what stands between units adds nothing.
        terms = (codes * (kind > 0)) * powers[: len(codes)]
        unit = np.add.reduceat(terms, start) if len(start) else hashes[0]
        unit *= inverse_powers[start]
        unit ^= unit >> np.uint64(32)
        unit *= np.uint64(_MULTIPLIERS[1])
        used = len(window)
        if at + used < len(text) and len(start) and start[-1] > 0:
            used, unit, start = int(start[-1]), unit[:-1], start[:-1]
        hashes.append(unit)
        starts.append(start + at)
        at += used
    return np.concatenate(hashes), np.concatenate(starts)


@cache
def _tables() -> tuple[npt.NDArray[np.uint8], Hashes, Hashes]:
    """The kind of every character (0 divides units, 1 belongs to one, 2 is one), and the powers of
    the polynomial's base and of its inverse."""
    categories = [category(chr(code)) for code in range(0x40000)]
    kinds = np.array([name[0] in "LMN" or name == "Cf" for name in categories], np.uint8)
    kinds[_ZERO_WIDTH_SPACE] = 0
    for first, last in _UNSPACED:
        kinds[first : last + 1] *= 2
    base = _MULTIPLIERS[2]
    powers, inverse_powers = (
        np.concatenate(
            [[np.uint64(1)], np.multiply.accumulate(np.full(_WINDOW - 1, factor, np.uint64))]
        )
        for factor in (base, pow(base, -1, 1 << 64))
    )
    return kinds, powers, inverse_powers


def near_duplicates(blocks: Blocks, standing: Sequence[Standing], threshold: float) -> Ints:
    """Which documents are near an earlier kept one.

    Measured on one core at 7 million documents, a tenth of them altered copies, and a threshold of
    0.8: 45 s, 1.4 GB. A copy costs 5 to 40 us, by how many kept documents share its keys. Blocks
    are taken one at a time and let go, so that a sequence that maps a file when asked for it keeps
    the mapped pages out of memory, too.

    Args:
        standing: [documents of the block] each; documents that are not in the running neither drop
            another nor are dropped.
        threshold: least share of equal slots.

    Returns:
        [documents of all blocks] number of the earliest kept document that it is near, or -1.
    """
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in standing], dtype=np.int64)])
    found = np.full(int(bounds[-1]), -1, np.int64)
    buckets, sizes = _buckets(blocks, standing, bounds, rows_per_band(threshold))
    decisions = _Decisions(blocks, bounds, sizes, threshold * PERMUTATIONS, found)
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
    blocks: Blocks,
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
    blocks: Blocks,
    standing: Sequence[Standing],
    bounds: Ints,
    rows: int,
    group: range,
) -> tuple[Hashes, Ints]:
    """[bands of the group, n] the keys of the n documents that take part, and their numbers."""
    keys = np.empty((len(group), int(bounds[-1])), np.uint64)
    numbers = np.empty(int(bounds[-1]), np.int64)
    count = 0
    for number, (stands, first) in enumerate(zip(standing, bounds, strict=False)):
        slots = np.ascontiguousarray(blocks[number][:, group.start * rows : group.stop * rows])
        takes_part = np.flatnonzero(stands & (slots != NO_SHINGLE).any(axis=1))
        words = slots[takes_part].view(np.uint64).reshape(-1, len(group), rows // 2)
        key = np.zeros(words.shape[:2], np.uint64)
        for word in range(words.shape[2]):
            key = (key ^ words[:, :, word]) * _BAND_MULTIPLIER
            key ^= key >> np.uint64(29)
        there = slice(count, count + len(takes_part))
        keys[:, there], numbers[there] = key.T, first + takes_part
        count += len(takes_part)
    return keys[:, :count], numbers[:count]


class _Run(NamedTuple):
    """Consecutive documents among those that share a key with any other."""

    documents: Ints
    rows: Signatures
    buckets: npt.NDArray[np.int32]
    """[documents, bands]"""

    def take(self, which: slice | Standing) -> "_Run":
        return _Run(self.documents[which], self.rows[which], self.buckets[which])


class _Decisions:
    """What has been decided of the documents so far, and the first kept ones of every bucket."""

    def __init__(
        self, blocks: Blocks, bounds: Ints, sizes: Ints, least_equal: float, found: Ints
    ) -> None:
        self.blocks, self.bounds, self.found = blocks, bounds, found
        self.least_equal = least_equal
        """Equal slots of two documents that are near."""
        self.begins = np.concatenate([[0], np.cumsum(np.minimum(sizes, CROWD))])
        """[buckets + 1] where a bucket's documents stand in ``kept``."""
        self.filled = np.zeros(len(sizes), np.int64)
        self.kept = np.empty(int(self.begins[-1]), np.int32)

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
        open_ = self.filled[buckets] < self.begins[buckets + 1] - self.begins[buckets]
        member, buckets = member[open_], buckets[open_]
        if len(_distinct(buckets)) == len(buckets):
            self.kept[self.begins[buckets] + self.filled[buckets]] = run.documents[member]
            self.filled[buckets] += 1
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
        counts = self.filled[buckets]
        ends = np.cumsum(counts)
        places = np.arange(counts.sum()) + np.repeat(self.begins[buckets] - ends + counts, counts)
        at, kept = np.repeat(member, counts), self.kept[places].astype(np.int64)
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
