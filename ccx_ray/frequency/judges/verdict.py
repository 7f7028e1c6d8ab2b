"""The interface of judges: requests and verdicts.

Invariant: the evidence is a span of the document's own characters, so that a person can check it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze


@dataclass(frozen=True)
class Request:
    """Does this document hold the knowledge of this question?"""

    cloze: Cloze
    document: Document
    passage_start: int = 0
    """Where the retrieved passage stands in the document; a judge with a limited context reads
    around it."""
    passage_length: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A judge's decision; the evidence is a span of the document's characters, -1 and 0 if none."""

    holds: bool | None
    """None: the judge answered, but nothing that can be read; the reason says what."""
    reason: str
    evidence_start: int = -1
    evidence_length: int = 0


class Judge(Protocol):
    """Decides which documents hold the knowledge of which questions."""

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        """A verdict for every request, in their order."""
        ...
