"""Invented words in real scripts."""

from collections.abc import Iterator, Mapping
from itertools import islice, product

import numpy as np

from ccx_ray.errors import UserError
from ccx_ray.study.world_spec import COMMON_SIGNS, WorldSpec

ALPHABETS: Mapping[str, tuple[str, str]] = {
    "Latin": ("bdfgklmnprstvz", "aeiou"),
    "Greek": ("βγδζθκλμνξπρστφχψ", "αεηιου"),
    "Cyrillic": ("бвгджзклмнпрстфх", "аеиоу"),
    "Georgian": ("ბგდვზთკლმნპრსტფქ", "აეიოუ"),
    "Armenian": ("բգդզթժլխծկհձղմնպ", "աեէիօ"),
}
"""Script -> consonants and vowels. Single letters that NFC leaves alone."""

COMMON_VALUES = "".join(map(chr, range(0x1D400, 0x1D400 + COMMON_SIGNS)))
"""Letters of script Common (mathematical A to z): every isolation keeps them, and the pre-tokenizer
takes them for words, so a value is one token wherever it stands."""


def script_of(world: WorldSpec, language: str) -> str:
    """The script of a planted language; the base language's is Latin."""
    planted = world.languages.get(language)
    return "Latin" if planted is None else planted.script


def alphabet(script: str) -> str:
    """All letters that the invented words of a script are made of."""
    return "".join(ALPHABETS[script])


class Words:
    """Different words of two syllables (of three where those are used up), in random order."""

    def __init__(self, script: str, random: np.random.Generator) -> None:
        self._script = script
        self._words = self._shuffled(script, random)

    @staticmethod
    def _shuffled(script: str, random: np.random.Generator) -> Iterator[str]:
        syllables = ["".join(pair) for pair in product(*ALPHABETS[script])]
        for length in (2, 3):
            words = ["".join(word) for word in product(syllables, repeat=length)]
            for place in random.permutation(len(words)):
                yield words[place]

    def take(self, count: int) -> list[str]:
        """The next ``count`` words.

        Raises:
            UserError: the script has no more; there are 275,000 and more of each.
        """
        words = list(islice(self._words, count))
        if len(words) < count:
            raise UserError(f"world: more words are needed than {self._script} letters can make")
        return words
