"""The form in which questions are looked for in text: letter case and white space levelled, and the
units that n-grams are made of.

A *unit* is a word; in scripts without blanks between words (Han, Kana, Thai, ...) a character; in
Tibetan a syllable, because the tsheg is punctuation. Punctuation and blanks (also U+202F) end a
unit; format characters and variation selectors, which choose a glyph, count for nothing.

Case folding is Unicode's simple one, a character for a character. Hashes are polynomials over
2**64, taken for all positions at once as differences of one running sum.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.audit.code_points import (
    Batch,
    Hashes,
    Ints,
    Points,
    as_text,
    points_of_scripts,
)
from ccx_ray.corpus.cleaning.unicode_scripts import CODE_POINTS

BORDER, LETTER, WHOLE, IGNORED = range(4)
"""What a character is to a unit: its end, a piece of it, one by itself, nothing."""

UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Yi")
VARIATION_SELECTORS = (0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10))
MONGOLIAN_VOWEL_SEPARATOR = 0x180E
"""Stands within a word."""

_POINT_BASE = 0x9E3779B97F4A7C15
_UNIT_BASE = 0xD6E8FEB86659FD93
_MODULUS = 2**64


def normal_text(points: Points) -> str:
    """One text with simple case folding, every run of white space as one blank, none at its ends,
    and without the characters that count for nothing."""
    kept = points[_classes()[points] != IGNORED]
    return " ".join(as_text(_folding()[kept]).split())


class Units(NamedTuple):
    """The units of a batch of texts, in order."""

    points: Points
    """Of the batch, letter case folded, without the characters that count for nothing."""
    starts: Ints
    """[units] where each begins in ``points``."""
    ends: Ints
    hashes: Hashes
    text_ends: Ints
    """[texts] where each ends in ``points``."""

    def owners(self, units: Ints) -> Ints:
        """The texts that some units stand in."""
        return np.searchsorted(self.text_ends, self.starts[units], side="right").astype(np.int64)

    def spelled(self, first: int, number: int) -> tuple[str, ...]:
        """Some units as text."""
        spans = zip(
            self.starts[first : first + number], self.ends[first : first + number], strict=True
        )
        return tuple(as_text(self.points[a:b]) for a, b in spans)


def units_of(batch: Batch) -> Units:
    """The units of all texts of a batch."""
    kinds, points, text_ends = _classes()[batch.points], batch.points, batch.ends
    ignored = kinds == IGNORED
    if ignored.any():
        text_ends = text_ends - np.concatenate([[0], np.cumsum(ignored)])[text_ends]
        kinds, points = kinds[~ignored], points[~ignored]
    points = _folding()[points]
    letter, whole = kinds == LETTER, kinds == WHOLE
    begins, ends = letter.copy(), letter.copy()
    begins[1:] &= ~letter[:-1]
    ends[:-1] &= ~letter[1:]
    # A word ends with its text; the next text begins a new one.
    borders = text_ends[(text_ends > 0) & (text_ends < len(points))]
    begins[borders], ends[borders - 1] = letter[borders], letter[borders - 1]
    starts = np.flatnonzero(begins | whole)
    stops = np.flatnonzero(ends | whole) + 1
    sums = _running_sums(points, _POINT_BASE)
    hashes = (sums[stops] - sums[starts]) * _powers(_inverse(_POINT_BASE), len(sums))[starts]
    return Units(points, starts, stops, _mixed(hashes), text_ends)


class GramHashes:
    """The hashes of every run of n units, for any n."""

    def __init__(self, units: Hashes) -> None:
        self._sums = _running_sums(units, _UNIT_BASE)
        self._shifts = _powers(_inverse(_UNIT_BASE), len(self._sums))
        self._known: dict[int, Hashes] = {}

    def of(self, size: int) -> Hashes:
        """[units - size + 1]"""
        if size not in self._known:
            sums = self._sums
            number = max(0, len(sums) - size)
            runs = sums[size:] - sums[:number]
            self._known[size] = _mixed(runs * self._shifts[:number])
        return self._known[size]


def _running_sums(values: Points | Hashes, base: int) -> Hashes:
    """[values + 1] the sums of ``values[j] * base**j`` over all j before each position."""
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * _powers(base, len(values)), out=sums[1:])
    return sums


def _mixed(hashes: Hashes) -> Hashes:
    """Spread over all bits: the low ones of a polynomial over 2**64 say little."""
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(29)
    return hashes


_KNOWN_POWERS: dict[int, Hashes] = {}


def _powers(base: int, number: int) -> Hashes:
    """The first powers of an odd base, from the zeroth, modulo 2**64."""
    known = _KNOWN_POWERS.get(base)
    if known is None or len(known) < number:
        factors = np.full(max(2**19, 2 * number), base, np.uint64)
        factors[0] = 1
        known = _KNOWN_POWERS[base] = np.multiply.accumulate(factors)
    return known[:number]


@cache
def _inverse(base: int) -> int:
    return pow(base, -1, _MODULUS)


@cache
def _folding() -> Points:
    """[0x110000] the simple case folding of every code point."""
    table = np.arange(CODE_POINTS, dtype=np.uint32)
    for code in range(CODE_POINTS):
        character = chr(code)
        folded = character.casefold()
        if folded != character:
            folded = folded if len(folded) == 1 else character.lower()
            table[code] = ord(folded) if len(folded) == 1 else code
    return table


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """[0x110000] ``BORDER``, ``LETTER``, ``WHOLE`` or ``IGNORED``."""
    kinds = {"L": LETTER, "M": LETTER, "N": LETTER, "Cf": IGNORED}
    categories = map(unicodedata.category, map(chr, range(CODE_POINTS)))
    table = np.fromiter((kinds.get(c, kinds.get(c[0], BORDER)) for c in categories), np.uint8)
    table[(table == LETTER) & points_of_scripts(UNSPACED)] = WHOLE
    table[list(VARIATION_SELECTORS)] = IGNORED
    table[0xE0100:0xE01F0] = IGNORED
    table[MONGOLIAN_VOWEL_SEPARATOR] = LETTER
    return table
