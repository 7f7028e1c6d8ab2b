"""A judge that asks a model, with a cache of its verdicts.

Invariant: a pair without a verdict ends the call with an error; it is never taken for a document
that does not hold the knowledge. What was judged until then is in the cache.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.answers import Answer, find_evidence
from ccx_ray.frequency.judges.budget import Tokens
from ccx_ray.frequency.judges.cache import StoredVerdict, VerdictCache, open_cache
from ccx_ray.frequency.judges.prompting import Pair, Shown
from ccx_ray.frequency.judges.verdict import Request, Verdict


class UnansweredError(Exception):
    """Some pairs have no answer; the message says why, ``remedy`` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A model's answer about one pair, and what is kept of where it comes from."""

    answer: Answer
    said: str
    model: str
    tokens: Tokens


Keep = Callable[[Pair, Answered], None]


class AnsweringModel(Protocol):
    """A model that is asked."""

    counts: Counter[str]
    """What it did since it was opened."""

    def show(self, request: Request) -> Shown:
        """What of a document it reads."""
        ...

    def answer(self, pairs: Sequence[Pair], keep: Keep) -> None:
        """Ask about different pairs; ``keep`` is called with each answer as it arrives.

        Raises:
            UnansweredError: not all are answered.
        """
        ...


class ModelJudge:
    """Judges by a model's answers, those of the cache first."""

    def __init__(self, model: AnsweringModel, cache_file: Path) -> None:
        self._model = model
        self._cache_file = cache_file
        self._own: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """Since it was opened.

        ``pairs`` of question and document that were different, of them ``cached`` before;
        ``evidence_not_found``: accepted, but what the model quotes is not in the document;
        ``narrowed``: shown in a smaller window to fit a local model; of an endpoint ``requests``,
        of them ``retries``, ``unreadable`` pairs, ``prompt_tokens``, ``completion_tokens``.
        """
        return {**self._own, **self._model.counts}

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        """A verdict for every request, in their order.

        Raises:
            UserError: some have none; those that were given are kept.
        """
        shown = [self._model.show(request) for request in requests]
        pairs = [
            Pair(cloze=request.cloze, text=part.text)
            for request, part in zip(requests, shown, strict=True)
        ]
        keys = [pair.key for pair in pairs]
        different = dict(zip(keys, pairs, strict=True))
        with open_cache(self._cache_file) as cache:
            stored = cache.read(different)
            self._own.update(pairs=len(different), cached=len(stored))
            self._ask([pair for key, pair in different.items() if key not in stored], cache, stored)
        self._own["evidence_not_found"] += sum(
            bool(one.holds and one.evidence and one.evidence_start < 0) for one in stored.values()
        )
        return [_verdict(stored[key], part) for key, part in zip(keys, shown, strict=True)]

    def _ask(
        self, missing: Sequence[Pair], cache: VerdictCache, stored: dict[str, StoredVerdict]
    ) -> None:
        total = len(stored) + len(missing)
        if not missing:
            return

        def keep(pair: Pair, answered: Answered) -> None:
            stored[pair.key] = cache.add(_to_store(pair, answered))

        try:
            self._model.answer(missing, keep)
        except UnansweredError as error:
            raise UserError(
                f"{error}; {len(stored)} of {total} pairs of question and document have a verdict, "
                f"{total - len(stored)} have none; {error.remedy} and give the same command again: "
                "what was judged is kept"
            ) from None


def _to_store(pair: Pair, answered: Answered) -> StoredVerdict:
    answer = answered.answer
    start, length = find_evidence(pair.text, answer.evidence)
    return StoredVerdict(
        key=pair.key,
        holds=int(answer.holds),
        reason=_encodable(answer.reason),
        evidence=_encodable(answer.evidence),
        evidence_start=start,
        evidence_length=length,
        answer=_encodable(answered.said),
        model=_encodable(answered.model),
        prompt_tokens=answered.tokens.prompt,
        completion_tokens=answered.tokens.completion,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _encodable(text: str) -> str:
    """Without the halves of surrogate pairs that a model may spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _verdict(stored: StoredVerdict, shown: Shown) -> Verdict:
    found = stored.evidence_start >= 0
    return Verdict(
        holds=bool(stored.holds),
        reason=stored.reason,
        evidence_start=shown.start + stored.evidence_start if found else -1,
        evidence_length=stored.evidence_length,
    )
