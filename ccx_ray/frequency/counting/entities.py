"""The entity of a question: its rarest term that a corpus knows, found without an entity linker.

Kandpal et al. (2023) and wimbd count documents that hold a question's linked entities and its
answer. No linker knows five scripts, and a name is rarer than what is said of it. Bigrams of
Chinese and Tibetan are cut without knowing where words begin, and the rarest of a question nearly
always straddles two words: so a bigram must stand together more often than chance. Of 19 Chinese
questions looked at, the rarest bigram was a word in 5, the rarest cohesive one in 14.
"""

from collections.abc import Iterable, Mapping
from functools import cache

from ccx_ray.frequency.counting.lexicon.reading import Lexicon
from ccx_ray.frequency.text.normalization import TSHEG
from ccx_ray.frequency.text.terms import is_bigram
from ccx_ray.frequency.text.text_parts import DOCUMENTS

COHESION = 10
"""How many times as often as chance the halves of a bigram must stand together."""


class Entities:
    """Chooses entities by what one corpus holds."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._count = cache(lambda string: lexicon.count_strings(DOCUMENTS, string))
        self._characters = lexicon.characters(DOCUMENTS)

    def entity(self, terms: Iterable[str], frequencies: Mapping[str, int]) -> str:
        """The term in the fewest documents of those that any document holds; empty without one.

        A number is taken only where there is no other term: a year or an amount is rare, and no
        entity. Of equally rare terms words come before bigrams, then the first by code points. A
        bigram that is not cohesive is taken only where there is nothing else.

        Args:
            terms: of the question, without its answer's.
            frequencies: term -> documents that hold it.
        """

        def rank(term: str) -> tuple[bool, int, bool, str]:
            return term.isdecimal(), frequencies[term], is_bigram(term), term

        known = sorted((term for term in terms if frequencies.get(term, 0)), key=rank)
        likely = (term for term in known if not is_bigram(term) or self._is_cohesive(term))
        return next(likely, next(iter(known), ""))

    def _is_cohesive(self, bigram: str) -> bool:
        if TSHEG in bigram:
            first, second = bigram.split(TSHEG)
            units = self._count(TSHEG)
        else:
            first, second = bigram[0], bigram[1]
            units = self._characters
        by_chance = self._count(first) * self._count(second) / units
        return self._count(bigram) >= COHESION * by_chance
