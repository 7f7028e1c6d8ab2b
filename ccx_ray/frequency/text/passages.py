"""Documents cut into passages, the unit that is embedded.

Invariant: the passages of a document cover it without gap or overlap, so nothing is unsearchable.
"""

import re

# A sentence ends at a line break, at the stops of the study's scripts, or at "." before a blank.
_SENTENCE_END = re.compile(r"\n+|[。！？；།༎༏༐༑᠃᠉]+\s*|[.!?]+['\")\]]*\s+")
_WORD_END = re.compile(r"\s+|\u0f0b")


def cut_passages(text: str, limit: int) -> list[tuple[int, int]]:
    """Start and length of every passage, each at most ``limit`` characters.

    A cut falls after the last sentence that ends in the second half of the limit, else after the
    last word or syllable there, else, in a text without borders, at the limit itself.
    """
    passages = []
    start = 0
    while len(text) - start > limit:
        end = _last_border(text, start + limit // 2, start + limit)
        passages.append((start, end - start))
        start = end
    if start < len(text):
        passages.append((start, len(text) - start))
    return passages


def _last_border(text: str, earliest: int, latest: int) -> int:
    for border in (_SENTENCE_END, _WORD_END):
        ends = [match.end() for match in border.finditer(text, earliest, latest)]
        if ends:
            return ends[-1]
    return latest
