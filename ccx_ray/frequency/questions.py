"""The knowledge that is looked for: a cloze question with its right answer, and how it is asked for."""

import re
from dataclasses import dataclass

from ccx_ray.study.frequency_spec import QueryForm

BLANK = re.compile("_+")


@dataclass(frozen=True, kw_only=True)
class Cloze:
    """A question with its blank, and the answer that fills it."""

    question: str
    answer: str

    @property
    def statement(self) -> str:
        """The knowledge as a sentence: every blank filled; the answer follows if there is none."""
        if BLANK.search(self.question):
            return BLANK.sub(lambda _: self.answer, self.question)
        return f"{self.question} {self.answer}"

    def query(self, form: QueryForm) -> str:
        """What a retriever is asked: the filled question, or the question and then the answer."""
        if form == "filled":
            return self.statement
        return f"{BLANK.sub(' ', self.question)} {self.answer}"
