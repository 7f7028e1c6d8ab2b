"""Unicode's properties that isolation needs, as ranges of code points.

*Script* (UAX #24) is exactly the ``Scripts.txt`` that fontTools carries (4.68: Unicode 18), newer
than RE2's (15) and Python 3.11's (14). It is *Script*, one value a code point, not
*Script_Extensions*: what several scripts share (U+30FC, the prolonged sound mark of Hiragana and
Katakana) is Common.

The import costs 10 ms in a process that holds pydantic, so that names are checked before compute.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from unicodedata import combining, decomposition, is_normalized, normalize

from fontTools.unicodedata import Scripts

CODE_POINTS = 0x110000
UNKNOWN_SCRIPT = "Unknown"
"""The script of what is unassigned, for private use, or a surrogate."""

SCRIPTS = frozenset(Scripts.NAMES[code] for code in Scripts.VALUES)
"""Every script that a code point has, by its long name, such as ``Old_Turkic``."""


class CodePoints(NamedTuple):
    """A range of code points, both ends included."""

    first: int
    last: int


@cache
def script_of(character: str) -> str:
    """The script of one character, by its long name."""
    name: str = Scripts.NAMES[Scripts.VALUES[bisect_right(Scripts.RANGES, ord(character)) - 1]]
    return name


def script_ranges(scripts: Collection[str]) -> list[CodePoints]:
    """The code points of these scripts taken together, ascending, as few ranges as can be."""
    bounds = pairwise((*Scripts.RANGES, CODE_POINTS))
    return _merged(
        CodePoints(first, end - 1)
        for (first, end), code in zip(bounds, Scripts.VALUES, strict=True)
        if Scripts.NAMES[code] in scripts
    )


def character_class(ranges: Iterable[CodePoints]) -> str:
    """The inside of a character class of RE2 that holds exactly these code points."""
    return "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in ranges)


class NormalizationRanges(NamedTuple):
    """A text without ``unstable`` code points and two ``reorderable`` in a row is in NFC."""

    unstable: list[CodePoints]
    """NFC_Quick_Check is No or Maybe: it decomposes, or may compose with what stands before."""
    reorderable: list[CodePoints]
    """The combining class is not zero."""


@cache
def normalization_ranges() -> NormalizationRanges:
    """What UAX #15, "Detecting Normalization Forms", looks for, by the interpreter's Unicode.

    Python has the properties only one character at a time: 40 ms, once a process.
    """
    characters = [
        chr(code_point)
        for first, last in script_ranges(SCRIPTS - {UNKNOWN_SCRIPT})
        for code_point in range(first, last + 1)
    ]
    decomposable = [character for character in characters if decomposition(character)]
    composites = [c for c in decomposable if is_normalized("NFC", c)]
    # The vowels and finals of Hangul compose by arithmetic and stand in no decomposition.
    seconds = {chr(code_point) for code_point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    seconds.update(*(normalize("NFD", composite)[1:] for composite in composites))
    unstable = seconds | set(decomposable).difference(composites)
    unstable.update(c for c in composites if normalize("NFD", c)[0] in seconds)
    return NormalizationRanges(
        unstable=_merged(CodePoints(ord(c), ord(c)) for c in sorted(unstable)),
        reorderable=_merged(CodePoints(ord(c), ord(c)) for c in characters if combining(c)),
    )


def _merged(ranges: Iterable[CodePoints]) -> list[CodePoints]:
    merged: list[CodePoints] = []
    for first, last in ranges:
        if merged and merged[-1].last == first - 1:
            merged[-1] = CodePoints(merged[-1].first, last)
        else:
            merged.append(CodePoints(first, last))
    return merged
