"""One normal form for questions, answers and documents, with the way back to the original text.

Spelling that carries no meaning is levelled: case, width, ligatures, punctuation, glyph variants.
Invariant: what is spelled as two words stays two. The tsheg of Tibetan stays a border of its own
kind, U+202F before a Mongolian case suffix becomes a blank, and U+180E stays a letter, because it
spells the separated final vowel; only variation selectors, which choose a glyph, disappear.
"""

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

TSHEG = "\u0f0b"
NARROW_NO_BREAK_SPACE = "\u202f"
MONGOLIAN_VOWEL_SEPARATOR = "\u180e"
_OWN_RULES = {TSHEG: TSHEG, "\u0f0c": TSHEG, MONGOLIAN_VOWEL_SEPARATOR: MONGOLIAN_VOWEL_SEPARATOR,
              "\u200b": " "}  # fmt: skip
_VARIATION_SELECTORS = frozenset(
    map(chr, (0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
_SEPARATORS = re.compile(f"[ {TSHEG}]{{2,}}")


class _Replacements(dict[int, str]):
    """What every character becomes, computed when it is first met; a table of ``str.translate``."""

    def __missing__(self, code: int) -> str:
        replacement = self[code] = _replacement(chr(code))
        return replacement


def _replacement(character: str) -> str:
    if character in _OWN_RULES:
        return _OWN_RULES[character]
    if character in _VARIATION_SELECTORS or unicodedata.category(character) == "Cf":
        return ""
    folded = unicodedata.normalize("NFKC", character).casefold()
    folded = unicodedata.normalize("NFKC", folded)
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)


_REPLACEMENTS = _Replacements()


def normalize(text: str) -> str:
    """The normal form of a text: letters, marks and digits between single separators."""
    spelled = unicodedata.normalize("NFC", text).translate(_REPLACEMENTS)
    return _SEPARATORS.sub(_one_separator, spelled)


def origins(text: str) -> NDArray[np.int32]:
    """For every character of ``normalize(text)`` its position in ``text``, which is in NFC."""
    pieces = [_REPLACEMENTS[ord(character)] for character in text]
    positions = np.repeat(np.arange(len(text), dtype=np.int32), [len(piece) for piece in pieces])
    kept = np.ones(len(positions), dtype=bool)
    for run in _SEPARATORS.finditer("".join(pieces)):
        kept[run.start() + 1 : run.end()] = False
    return positions[kept]


def _one_separator(run: re.Match[str]) -> str:
    return " " if " " in run.group() else TSHEG
