"""A cloze question with its right answer, and the query that is made of it."""

import re
from dataclasses import dataclass

from ccx_ray.frequency.text.normalization import TSHEG
from ccx_ray.study.frequency_spec import QueryForm
from ccx_ray.study.text_spec import BLANK

_SPACED_SCRIPT = re.compile("[A-Za-z0-9\u1820-\u18aa]")


@dataclass(frozen=True, kw_only=True)
class Cloze:
    """A question with its blank, and the answer that fills it."""

    question: str
    answer: str

    @property
    def statement(self) -> str:
        """The knowledge as a sentence: every blank filled; the answer follows if there is none.

        Written as a text would have it: 198 of 268 Tibetan questions leave out the tsheg beside
        the blank, 15 English ones and 4 Mongolian ones a space.
        """
        if BLANK.search(self.question):
            return BLANK.sub(self._filler, self.question)
        return f"{self.question} {self.answer}"

    def _filler(self, blank: re.Match[str]) -> str:
        if TSHEG in self.question:
            return f"{TSHEG}{self.answer.strip(TSHEG)}{TSHEG}"
        glued = _SPACED_SCRIPT.match(self.question[: blank.start()][-1:])
        return f" {self.answer}" if glued else self.answer

    def query(self, form: QueryForm) -> str:
        """What a retriever is asked: the filled question, or the question and then the answer."""
        if form == "filled":
            return self.statement
        return f"{BLANK.sub(' ', self.question)} {self.answer}"
