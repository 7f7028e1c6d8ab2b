"""A judge that asks a model, with a cache of its verdicts.

Invariant: a pair without a verdict ends the call with an error; it is never taken for a document
that does not hold the knowledge. What was judged until then is in the cache.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.prompting import Answer, Pair, find_evidence
from ccx_ray.frequency.judges.records import StoredVerdict, Tokens, open_cache
from ccx_ray.frequency.judges.verdict import Request, Verdict


class UnansweredError(Exception):
    """Some pairs have no answer; the message says why, ``remedy`` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


Keep = Callable[[Pair, Answer, str, str, Tokens], None]
"""Takes the answer about a pair, all that the model said, the model's name, and the tokens."""


class ModelJudge(ABC):
    """Judges by a model's answers, those of the cache first."""

    def __init__(self, cache_file: Path) -> None:
        self._cache_file = cache_file
        self.counts: Counter[str] = Counter()
        """Since it was opened.

        ``pairs`` of question and document that were different, of them ``cached`` before;
        ``evidence_not_found``: accepted, but what the model quotes is not in the document;
        ``narrowed``: shown in a smaller window to fit a local model; of an endpoint ``requests``,
        of them ``retries``, ``unreadable`` pairs, ``prompt_tokens``, ``completion_tokens``.
        """

    @abstractmethod
    def show(self, request: Request) -> Pair:
        """What of a document the model reads."""

    @abstractmethod
    def answer(self, pairs: Sequence[Pair], keep: Keep) -> None:
        """Ask about different pairs; ``keep`` is called with each answer as it arrives.

        Raises:
            UnansweredError: not all are answered.
        """

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        """A verdict for every request, in their order.

        Raises:
            UserError: some have none; those that were given are kept.
        """
        pairs = [self.show(request) for request in requests]
        different = {pair.key: pair for pair in pairs}
        with open_cache(self._cache_file) as cache:
            stored = cache.read(different)
            self.counts.update(pairs=len(different), cached=len(stored))

            def keep(pair: Pair, answer: Answer, said: str, model: str, tokens: Tokens) -> None:
                stored[pair.key] = cache.add(_to_store(pair, answer, said, model, tokens))

            missing = [pair for key, pair in different.items() if key not in stored]
            try:
                if missing:
                    self.answer(missing, keep)
            except UnansweredError as error:
                without = len(different) - len(stored)
                raise UserError(
                    f"{error}; {len(stored)} of {len(different)} pairs of question and document "
                    f"have a verdict, {without} have none; {error.remedy} and give the same "
                    "command again: what was judged is kept"
                ) from None
        self.counts["evidence_not_found"] += sum(
            bool(one.holds and one.evidence and one.evidence_start < 0) for one in stored.values()
        )
        return [_verdict(stored[pair.key], pair.start) for pair in pairs]


def _to_store(pair: Pair, answer: Answer, said: str, model: str, tokens: Tokens) -> StoredVerdict:
    start, length = find_evidence(pair.text, answer.evidence)
    return StoredVerdict(
        key=pair.key,
        holds=int(answer.holds),
        reason=_encodable(answer.reason),
        evidence=_encodable(answer.evidence),
        evidence_start=start,
        evidence_length=length,
        answer=_encodable(said),
        model=_encodable(model),
        prompt_tokens=tokens.prompt,
        completion_tokens=tokens.completion,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _encodable(text: str) -> str:
    """Without the halves of surrogate pairs that a model may spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _verdict(stored: StoredVerdict, start: int) -> Verdict:
    found = stored.evidence_start >= 0
    return Verdict(
        holds=bool(stored.holds),
        reason=stored.reason,
        evidence_start=start + stored.evidence_start if found else -1,
        evidence_length=stored.evidence_length,
    )
