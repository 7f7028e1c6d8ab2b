"""The form in which questions are looked for in text: letter case and white space levelled, and the
units that n-grams are made of.

A *unit* is a word; in scripts without blanks between words (Han, Kana, Thai, ...) a character; in
Tibetan a syllable, because the tsheg is punctuation. Punctuation and blanks (also U+202F) end a
unit; format characters and variation selectors, which choose a glyph, count for nothing. Case
folding is Unicode's simple one, a character for a character.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ccx_ray.corpus.audit.code_points import (
    Batch,
    Ints,
    Points,
    as_text,
    points_of,
    script_numbers,
    scripts_among,
)
from ccx_ray.corpus.cleaning.scripts import CODE_POINTS

BORDER, LETTER, WHOLE, IGNORED = range(4)
"""What a character is to a unit: its end, a piece of it, one by itself, nothing."""

UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Yi")
VARIATION_SELECTORS = (0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10))
MONGOLIAN_VOWEL_SEPARATOR = 0x180E
"""Stands within a word."""


class Units(NamedTuple):
    """The units of some texts, in order."""

    words: pa.StringArray
    """[units] letter case folded."""
    texts: Ints
    """[units] the number of the text that each stands in, rising."""


def normal_text(text: str) -> str:
    """A text with simple case folding, every run of white space as one blank, none at its ends,
    and without the characters that count for nothing."""
    points = points_of(text)
    kept = points[_kinds()[points] != IGNORED]
    return " ".join(as_text(_folding()[kept]).split())


def units_of(batch: Batch) -> Units:
    """The units of all texts of a batch."""
    kinds, points, ends = _kinds()[batch.points], batch.points, batch.ends
    ignored = kinds == IGNORED
    if ignored.any():
        ends = ends - np.concatenate([[0], np.cumsum(ignored)])[ends]
        kinds, points = kinds[~ignored], points[~ignored]
    begins = kinds != BORDER
    letter = kinds == LETTER
    continued = np.zeros(len(kinds), bool)
    continued[1:] = letter[1:] & letter[:-1]
    continued[ends[ends < len(kinds)]] = False  # a word ends with its text
    inside = begins.copy()
    begins &= ~continued
    per_text = np.diff(np.searchsorted(np.flatnonzero(begins), ends), prepend=0)
    letters = as_text(_folding()[points[inside]]).encode()
    # The bytes of a character after its first are 0b10xxxxxx.
    first_bytes = np.flatnonzero((np.frombuffer(letters, np.uint8) & 0xC0) != 0x80)
    places = np.append(first_bytes[begins[inside]], len(letters)).astype(np.int32)
    words = pa.StringArray.from_buffers(
        len(places) - 1, pa.py_buffer(places), pa.py_buffer(letters)
    )
    return Units(words, np.repeat(np.arange(len(ends)), per_text))


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
def _kinds() -> npt.NDArray[np.uint8]:
    """[0x110000] ``BORDER``, ``LETTER``, ``WHOLE`` or ``IGNORED``."""
    kinds = {"L": LETTER, "M": LETTER, "N": LETTER, "Cf": IGNORED}
    categories = map(unicodedata.category, map(chr, range(CODE_POINTS)))
    table = np.fromiter((kinds.get(c, kinds.get(c[0], BORDER)) for c in categories), np.uint8)
    table[(table == LETTER) & scripts_among(UNSPACED)[script_numbers()]] = WHOLE
    table[list(VARIATION_SELECTORS)] = IGNORED
    table[0xE0100:0xE01F0] = IGNORED
    table[MONGOLIAN_VOWEL_SEPARATOR] = LETTER
    return table
