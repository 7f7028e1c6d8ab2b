"""Invented words in real scripts."""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from ccx_ray.errors import UserError
from ccx_ray.study.world_spec import COMMON_SIGNS

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


class Words:
    """Different words of two syllables (of three where those are used up), in random order.

    Raises:
        UserError: no alphabet is known for the script.
    """

    def __init__(self, script: str, random: np.random.Generator, field: str) -> None:
        if script not in ALPHABETS:
            raise UserError(f"{field}: {script!r} is none of {', '.join(ALPHABETS)}")
        self._words = self._shuffled(script, random)

    @staticmethod
    def _shuffled(script: str, random: np.random.Generator) -> Iterator[str]:
        syllables = ["".join(pair) for pair in product(*ALPHABETS[script])]
        for length in (2, 3):
            words = ["".join(word) for word in product(syllables, repeat=length)]
            for place in random.permutation(len(words)):
                yield words[place]

    def take(self, count: int) -> list[str]:
        """The next ``count`` words; there are 300,000 and more of each script."""
        return [next(self._words) for _ in range(count)]
