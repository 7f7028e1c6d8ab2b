"""Terms of a text, cut by the writing system of each run of characters.

A question and a document must be cut alike whatever language they are in, so nothing here asks
for a language: Chinese runs give character bigrams, Tibetan runs syllable bigrams, both cut at
grammatical characters and syllables, Korean words lose their particles, the rest is words. All
functions take normalised text.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from ccx_ray.frequency.text.normalization import TSHEG

HAN = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
TIBETAN = "\u0f00-\u0f0a\u0f0d-\u0fff"
HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff"
_RUN = re.compile(
    rf"(?P<han>[{HAN}]+)|(?P<tibetan>[{TIBETAN}]+(?:{TSHEG}[{TIBETAN}]+)*)|(?P<hangul>[{HANGUL}]+)"
    rf"|\d+|[^ {TSHEG}\d{HAN}{TIBETAN}{HANGUL}]+"
)

_LONE_UNIT = re.compile(f"[{HAN}]|[{TIBETAN}]+")

# Case and topic particles, longest first; verb endings are left alone. They are stripped as long
# as two syllables stay, so that 한반도 and 한반도의, whose 도 is no particle, give the same term.
PARTICLES = (
    "으로부터", "에서부터", "에서는", "에서도", "에서의", "에게서", "으로는", "으로도", "으로서",
    "으로써", "이라는", "이라고", "까지", "부터", "처럼", "보다", "에서", "에게", "에는", "에도",
    "으로", "로서", "로써", "라는", "라고", "이나", "이며", "하고", "은", "는", "이", "가", "을",
    "를", "의", "에", "도", "로", "와", "과", "만", "나",
)  # fmt: skip
COPULAS = (
    "입니다", "이었다", "이라는", "이라고", "이지만", "이에요", "이다", "이며", "이고", "이라",
    "이란", "이니", "였다",
)  # fmt: skip
"""What follows a noun as its verb; 인 is none of them, because 시인 and 노인 are words."""
_PARTICLE = re.compile(rf"(?<=[{HANGUL}]{{2}})(?:{'|'.join(PARTICLES)})+$")

_HANGUL_GRAMMAR = frozenset((*PARTICLES, "이다", "있다", "것은", "것이다"))

# Bigrams over these say nothing; a run is cut at them. 于 is not here because of 属于, 位于, 关于.
_HAN_GRAMMAR = re.compile("[的了是在和与與及之等也都而被把地得]")
_TIBETAN_GRAMMAR = frozenset(
    (
        *("གི", "ཀྱི", "གྱི", "ཡི", "འི", "གིས", "ཀྱིས", "གྱིས", "ཡིས", "ལ", "ན", "དུ", "ཏུ", "རུ", "སུ", "ར"),
        *("ནས", "ལས", "ནི", "དང", "ཡང", "ཀྱང", "འང", "ཞིག", "ཅིག", "ཤིག", "དེ", "འདི"),
        *("ཡིན", "རེད", "ཡོད", "མེད", "འདུག"),
    )
)


def terms_of(normalized: str) -> Iterator[str]:
    """Every occurrence of a term, in the order of the text."""
    for run in _RUN.finditer(normalized):
        text = run.group()
        if run.lastgroup == "han":
            for piece in _HAN_GRAMMAR.split(text):
                yield from _bigrams(piece, "")
        elif run.lastgroup == "tibetan":
            yield from _tibetan_terms(text.split(TSHEG))
        elif run.lastgroup == "hangul":
            if text not in _HANGUL_GRAMMAR:
                yield _PARTICLE.sub("", text)
        else:
            yield text


def _tibetan_terms(syllables: list[str]) -> Iterator[str]:
    for grammar, piece in groupby(syllables, _TIBETAN_GRAMMAR.__contains__):
        if not grammar:
            yield from _bigrams(list(piece), TSHEG)


def _bigrams(units: Sequence[str], between: str) -> Iterator[str]:
    if len(units) == 1:
        yield units[0]
    else:
        yield from map(between.join, pairwise(units))


def may_be_no_word(term: str) -> bool:
    """Whether the term was cut out without knowing where words begin, and may be no word at all."""
    return is_bigram(term) or is_lone_unit(term)


def is_lone_unit(term: str) -> bool:
    """Whether it is a single Han character or Tibetan syllable; most texts have it in bigrams."""
    return _LONE_UNIT.fullmatch(term) is not None


def is_bigram(term: str) -> bool:
    """Whether the term is a bigram, which may straddle two words and then is no word at all."""
    return TSHEG in term or (len(term) == 2 and re.fullmatch(f"[{HAN}]{{2}}", term) is not None)
