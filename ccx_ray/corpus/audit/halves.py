"""Halves of pairs by content: which pairs say the same, and where a half stands in a document.

Streams keep the halves of a pair apart by the digests of their texts. That sees neither a pair that
is repeated with other punctuation, nor a sentence that stands beside its translation in monolingual
text. Here texts are compared as near-duplicate detection does, by their sequence of units (words,
Tibetan syllables, Han characters), whatever stands between these.

Invariants: a half of fewer than ``LEAST_UNITS`` units is a phrase that stands anywhere; it is
compared to the letter, and not looked for in documents. Hashes have 64 bits. A translation in other
words than the pair's is not found.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.audit.inputs import FOUND, SIDES, Hashes
from ccx_ray.corpus.audit.texts import Ints, read_batches
from ccx_ray.corpus.cleaning.duplicates import digests
from ccx_ray.corpus.cleaning.near_duplicates import unit_hashes
from ccx_ray.corpus.packing.separation import pair_groups
from ccx_ray.corpus.tokenizing.tokens import spans

LEAST_UNITS = 3
"""As of a shingle in near-duplicate detection; with 5, a planted world has no half to find."""
ANCHOR_UNITS = 8
"""First units of a half by which it is looked up; the rest is then compared."""
LARGEST_FILTER = 2**26
FILTER_PER_HALF = 16
_BASE = 0xA0761D6478BD642F
"""Of the polynomials that hash sequences; odd, so that it has an inverse modulo 2**64."""

HALF = np.dtype([("whole", np.uint64), ("units", np.int32), ("side", np.int8), ("pair", np.int64)])
FoundHalves = npt.NDArray[np.void]


class Units(NamedTuple):
    """The units of some texts, ready to be compared as sequences."""

    starts: Ints
    """[units] the character at which each begins, of all texts with one character between two."""
    bounds: Ints
    """[texts + 1] the first unit of every text."""
    sums: Hashes
    """[units + 1] of which a sequence's hash is a difference."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Units":
        hashes, starts, ends = unit_hashes(texts)
        powers, _ = _powers(_power_of_two(len(hashes) + 1))
        sums = np.zeros(len(hashes) + 1, np.uint64)
        np.cumsum(hashes * powers[: len(hashes)], out=sums[1:])
        return cls(starts, np.concatenate([[0], ends]), sums)

    def hashes(self, first: Ints, units: Ints | int) -> Hashes:
        """The hashes of the sequences of so many units from ``first`` on."""
        _, inverses = _powers(_power_of_two(len(self.sums)))
        hashes: Hashes = (self.sums[first + units] - self.sums[first]) * inverses[first]
        hashes ^= hashes >> np.uint64(32)
        return hashes


class HalfIndex(NamedTuple):
    """The halves of a language's pairs, to be found in text."""

    anchors: Hashes
    """[halves] the hash of the first units, rising."""
    halves: npt.NDArray[np.void]
    """[halves] of ``HALF``."""
    maybe: npt.NDArray[np.bool_]
    """Whether a half may begin so, by the low bits of its anchor: turns almost everything away in
    one look."""

    @classmethod
    def of(cls, anchors: Hashes, halves: npt.NDArray[np.void]) -> "HalfIndex":
        size = min(LARGEST_FILTER, _power_of_two(FILTER_PER_HALF * len(anchors) + 1))
        maybe, order = np.zeros(size, bool), np.argsort(anchors, kind="stable")
        maybe[anchors % np.uint64(size)] = True
        return cls(anchors[order], halves[order], maybe)

    def find(self, texts: Sequence[str], units: Units) -> FoundHalves:
        """[found] of ``FOUND``: every half that stands in a text, unit for unit."""
        found = [np.zeros(0, FOUND)]
        text_of = np.repeat(np.arange(len(texts)), np.diff(units.bounds))
        begins = np.cumsum([0, *(len(text) + 1 for text in texts)])  # as in ``starts``
        for size in range(LEAST_UNITS, ANCHOR_UNITS + 1):
            place = np.arange(max(0, len(text_of) - size + 1))
            place = place[text_of[place] == text_of[place + size - 1]]
            anchor = units.hashes(place, size)
            possible = self.maybe[anchor % np.uint64(len(self.maybe))]
            place, anchor = place[possible], anchor[possible]
            first = np.searchsorted(self.anchors, anchor, side="left")
            many = np.searchsorted(self.anchors, anchor, side="right") - first
            place, half = np.repeat(place, many), self.halves[spans(first, many)]
            inside = place + half["units"] <= units.bounds[text_of[place] + 1]
            inside &= np.minimum(half["units"], ANCHOR_UNITS) == size
            place, half = place[inside], half[inside]
            same = units.hashes(place, half["units"].astype(np.int64)) == half["whole"]
            place, half = place[same], half[same]
            here = np.zeros(len(place), FOUND)
            here["text"], here["side"], here["pair"] = text_of[place], half["side"], half["pair"]
            first_unit = units.starts[place] - begins[here["text"]]
            last_unit = units.starts[place + half["units"] - 1] - begins[here["text"]]
            for number, text in enumerate(here["text"].tolist()):
                start, end = int(first_unit[number]), int(last_unit[number]) + 1
                before = len(texts[text][:start].encode())
                here["start"][number] = before
                here["end"][number] = before + len(texts[text][start:end].encode())
            found.append(here)
        return np.concatenate(found)


class PairContents(NamedTuple):
    """The pairs of a language by content."""

    lookup: HalfIndex
    groups: Ints
    """[pairs] the group of each; pairs that share a half by content, directly or not, are one."""

    def documents_with_both(self, found: FoundHalves) -> list[tuple[int, int]]:
        """Every text in which both sides of a group stand, with the first pair of each group."""
        groups, pairs = self.groups[found["pair"]], len(self.groups)
        keys = found["text"] * pairs + groups
        both = np.intersect1d(*(keys[found["side"] == side] for side in range(len(SIDES))))
        _, first = np.unique(self.groups, return_index=True)
        return list(zip((both // pairs).tolist(), first[both % pairs].tolist(), strict=True))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What ``open_pairs`` opens, each in a file of its own."""
        return {**self.lookup._asdict(), "groups": self.groups}


@lru_cache(maxsize=8)
def open_pairs(folder: Path) -> PairContents:
    """What was saved, mapped into memory."""
    names = (*HalfIndex._fields, "groups")
    *lookup, groups = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in names)
    return PairContents(HalfIndex(*lookup), groups)


def read_pairs(parts: Sequence[Path]) -> PairContents:
    """Read the pairs of a language; 60 bytes of memory a half."""
    anchors, halves, first = [np.zeros(0, np.uint64)], [np.zeros(0, HALF)], 0
    keys: tuple[list[Hashes], list[Hashes]] = ([np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)])
    for rows in (rows for part in parts for rows in read_batches(part, SIDES)):
        for side, column in enumerate(SIDES):
            units = Units.of(rows[column].to_pylist())
            begins, counts = units.bounds[:-1], np.diff(units.bounds)
            whole, long = units.hashes(begins, counts), counts >= LEAST_UNITS
            keys[side].append(np.where(long, whole, digests([rows[column]])[:, 0]))
            here = np.zeros(int(long.sum()), HALF)
            here["whole"], here["units"], here["side"] = whole[long], counts[long], side
            here["pair"] = first + np.flatnonzero(long)
            halves.append(here)
            anchors.append(units.hashes(begins[long], np.minimum(counts[long], ANCHOR_UNITS)))
        first += rows.num_rows
    lookup = HalfIndex.of(np.concatenate(anchors), np.concatenate(halves))
    return PairContents(lookup, pair_groups(*map(np.concatenate, keys)))


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


@cache
def _powers(size: int) -> tuple[Hashes, Hashes]:
    """[size] of the base and of its inverse."""
    both = []
    for factor in (_BASE, pow(_BASE, -1, 1 << 64)):
        powers = np.full(size, factor, np.uint64)
        powers[0] = 1
        both.append(np.multiply.accumulate(powers))
    return both[0], both[1]
