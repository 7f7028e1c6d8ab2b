"""The form in which questions are looked for in text: letter case and white space levelled, and the
units that n-grams are made of.

A *unit* is a word; in scripts without blanks between words (Han, Kana, Thai, ...) a character; in
Tibetan a syllable, because the tsheg is punctuation. Punctuation and blanks (also U+202F) end a
unit, format characters and variation selectors, which choose a glyph, are no part of one.

Case folding is Unicode's simple one, a character for a character. Hashes are polynomials over
2**64, taken for all positions at once as differences of one running sum.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.audit.code_points import Batch, Hashes, Ints, Points, points_of_scripts
from ccx_ray.corpus.unicode_scripts import CODE_POINTS

SEPARATOR, LETTER, WHOLE, IGNORED = range(4)
"""What a character is to a unit: its border, a piece of it, one by itself, nothing."""

UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Yi")
VARIATION_SELECTORS = (0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10))
MONGOLIAN_VOWEL_SEPARATOR = 0x180E
"""Stands within a word."""

_POINT_BASE = 0x9E3779B97F4A7C15
_UNIT_BASE = 0xD6E8FEB86659FD93
_BITS = 2**64 - 1


def normalized(batch: Batch) -> Batch:
    """Texts with simple case folding and every run of white space as one blank, none in front."""
    folded = _folding()[batch.points]
    blank = _blanks()[folded]
    folded[blank] = ord(" ")
    dropped = np.zeros(len(folded), bool)
    np.logical_and(blank[1:], blank[:-1], out=dropped[1:])
    fronts = batch.starts[batch.starts < batch.ends]
    dropped[fronts] = blank[fronts]
    # A blank behind a dropped one in front of a text has been dropped with it already.
    return without(Batch(folded, batch.starts, batch.ends), dropped)


def without(batch: Batch, dropped: npt.NDArray[np.bool_]) -> Batch:
    """The batch without some of its characters."""
    if not dropped.any():
        return batch
    before = np.concatenate([[0], np.cumsum(~dropped)])
    return Batch(batch.points[~dropped], before[batch.starts], before[batch.ends])


class Units(NamedTuple):
    """The units of a batch, in order."""

    batch: Batch
    """Without the characters that are ignored."""
    starts: Ints
    ends: Ints
    hashes: Hashes

    def spelled(self, first: int, number: int) -> tuple[str, ...]:
        """Some units as text."""
        spans = zip(
            self.starts[first : first + number], self.ends[first : first + number], strict=True
        )
        points = self.batch.points
        return tuple(points[a:b].astype("<u4").tobytes().decode("utf-32-le") for a, b in spans)


def units_of(batch: Batch) -> Units:
    """The units of normalized texts."""
    batch = without(batch, _classes()[batch.points] == IGNORED)
    kinds = _classes()[batch.points]
    letter, whole = kinds == LETTER, kinds == WHOLE
    begins, ends = letter.copy(), letter.copy()
    begins[1:] &= ~letter[:-1]
    ends[:-1] &= ~letter[1:]
    # A word ends with its text; the next text begins a new one.
    fronts = batch.starts[(batch.starts < batch.ends) & (batch.starts > 0)]
    begins[fronts], ends[fronts - 1] = letter[fronts], letter[fronts - 1]
    starts = np.flatnonzero(begins | whole)
    stops = np.flatnonzero(ends | whole) + 1
    sums = running_sums(batch.points, _POINT_BASE)
    hashes = (sums[stops] - sums[starts]) * powers(_inverse(_POINT_BASE), len(sums))[starts]
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    return Units(batch, starts, stops, hashes ^ (hashes >> np.uint64(32)))


def gram_hashes(units: Hashes, size: int) -> Hashes:
    """[units - size + 1] the hash of every run of ``size`` units."""
    return _window_hashes(units, size, _UNIT_BASE)


def window_hashes(points: Points, size: int) -> Hashes:
    """[points - size + 1] the hash of every run of ``size`` characters."""
    return _window_hashes(points, size, _POINT_BASE)


def _window_hashes(values: Points | Hashes, size: int, base: int) -> Hashes:
    if len(values) < size:
        return np.zeros(0, np.uint64)
    sums = running_sums(values, base)
    hashes = (sums[size:] - sums[:-size]) * powers(_inverse(base), len(sums))[: len(sums) - size]
    # The low bits of a polynomial over 2**64 are weak; the filters look at the high ones.
    return (hashes ^ (hashes >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)


def running_sums(values: Points | Hashes, base: int) -> Hashes:
    """[values + 1] the sums of ``values[j] * base**j`` over all j before each position."""
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * powers(base, len(values)), out=sums[1:])
    return sums


_POWERS: dict[int, Hashes] = {}


def powers(base: int, number: int) -> Hashes:
    """At least ``number`` powers of an odd base, from the zeroth, modulo 2**64."""
    known = _POWERS.get(base)
    if known is None or len(known) < number:
        size = max(2**19, 2 * number)
        factors = np.full(size, base, np.uint64)
        factors[0] = 1
        known = _POWERS[base] = np.multiply.accumulate(factors)
    return known[:number]


@cache
def _inverse(base: int) -> int:
    return pow(base, -1, _BITS + 1)


@cache
def _folding() -> Points:
    """[0x110000] the simple case folding of every code point."""
    table = np.arange(CODE_POINTS, dtype=np.uint32)
    for code in range(CODE_POINTS):
        character = chr(code)
        if (folded := character.casefold()) != character and len(folded) > 1:
            folded = character.lower()
        if len(folded) == 1:
            table[code] = ord(folded)
    return table


@cache
def _blanks() -> npt.NDArray[np.bool_]:
    """[0x110000] white space."""
    table = np.zeros(CODE_POINTS, bool)
    table[[code for code in range(0x3001) if chr(code).isspace()]] = True
    return table


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """[0x110000] ``SEPARATOR``, ``LETTER``, ``WHOLE`` or ``IGNORED``."""
    kinds = {"L": LETTER, "M": LETTER, "N": LETTER, "Cf": IGNORED}
    table = np.zeros(CODE_POINTS, np.uint8)
    for code in range(CODE_POINTS):
        category = unicodedata.category(chr(code))
        table[code] = kinds.get(category, kinds.get(category[0], SEPARATOR))
    letters = table == LETTER
    table[letters & points_of_scripts(UNSPACED)] = WHOLE
    table[list(VARIATION_SELECTORS)] = IGNORED
    table[0xE0100:0xE01F0] = IGNORED
    table[MONGOLIAN_VOWEL_SEPARATOR] = LETTER
    return table
