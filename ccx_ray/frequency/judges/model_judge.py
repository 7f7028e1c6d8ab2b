"""A judge that asks a model, with a cache of its verdicts.

Invariants: a pair that got no answer ends the call with an error; what was judged until then is in
the cache. A pair whose answer cannot be read has no verdict: it is never taken for a document that
does not hold the knowledge, it is counted, and all that the model said of it is kept.
"""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.prompting import Answer, Pair, find_evidence
from ccx_ray.frequency.judges.records import (
    StoredVerdict,
    Tokens,
    UnreadableAnswer,
    VerdictCache,
    open_cache,
)
from ccx_ray.frequency.judges.verdict import Request, Verdict

logger = logging.getLogger(__name__)


class UnansweredError(Exception):
    """Some pairs have no answer; the message says why, ``remedy`` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


class Kept:
    """What is kept of each answer as it arrives."""

    def __init__(self, cache: VerdictCache, verdicts: dict[str, StoredVerdict]) -> None:
        self._cache = cache
        self.verdicts = verdicts
        """By the key of the pair."""
        self.faults: dict[str, str] = {}
        """Key of a pair without a verdict -> why its last answer cannot be read."""

    def answer(self, pair: Pair, answer: Answer, said: str, model: str, tokens: Tokens) -> None:
        """Keep a verdict.

        Args:
            said: all that the model said.
        """
        self.faults.pop(pair.key, None)
        verdict = _to_store(pair, answer, said, model, tokens)
        self.verdicts[pair.key] = self._cache.add(verdict)

    def unreadable(self, pair: Pair, fault: str, said: str, model: str) -> None:
        """Keep what is no verdict."""
        self.faults[pair.key] = fault
        self._cache.add_unreadable(
            UnreadableAnswer(
                key=pair.key,
                fault=_encodable(fault),
                answer=_encodable(said),
                model=_encodable(model),
                created=_now(),
            )
        )


class ModelJudge(ABC):
    """Judges by a model's answers, those of the cache first."""

    def __init__(self, cache_file: Path) -> None:
        self._cache_file = cache_file
        self.counts: Counter[str] = Counter()
        """Since it was opened.

        ``pairs`` of question and document that were different, of them ``cached`` before and
        ``unreadable``: without a verdict in the end;
        ``evidence_not_found``: accepted, but what the model quotes is not in the document;
        ``narrowed``: shown in a smaller window to fit a local model; of an endpoint ``requests``,
        of them ``retries``, ``prompt_tokens``, ``completion_tokens``.
        """

    @abstractmethod
    def show(self, request: Request) -> Pair:
        """What of a document the model reads."""

    @abstractmethod
    def answer(self, pairs: Sequence[Pair], kept: Kept) -> None:
        """Ask about different pairs, and keep each answer as it arrives.

        Raises:
            UnansweredError: not all are answered.
        """

    @abstractmethod
    def check_unreadable(self, faults: Mapping[str, str], pairs: int) -> None:
        """Raise an UnansweredError where too many of the pairs have no readable answer.

        Args:
            faults: key of a pair without a verdict -> why its last answer cannot be read.
        """

    def judge(self, requests: Sequence[Request]) -> list[Verdict]:
        """A verdict for every request, in their order.

        Raises:
            UserError: some got no answer, or too many none that can be read; those that were given
                are kept.
        """
        pairs = [self.show(request) for request in requests]
        different = {pair.key: pair for pair in pairs}
        with open_cache(self._cache_file) as cache:
            stored = cache.read(different)
            self.counts.update(pairs=len(different), cached=len(stored))
            kept = Kept(cache, stored)
            missing = [pair for key, pair in different.items() if key not in stored]
            try:
                if missing:
                    self.answer(missing, kept)
                self.check_unreadable(kept.faults, len(different))
            except UnansweredError as error:
                without = len(different) - len(stored)
                raise UserError(
                    f"{error}; {len(stored)} of {len(different)} pairs of question and document "
                    f"have a verdict, {without} have none; {error.remedy} and give the same "
                    "command again; the verdicts are kept"
                ) from None
            finally:
                self.counts["unreadable"] += len(kept.faults)
        if kept.faults:
            logger.warning(
                "%d of %d pairs of question and document have no verdict, because their answers "
                "are unreadable (for example: %s); the table unreadable of %s has all of them",
                len(kept.faults), len(different), next(iter(kept.faults.values())),
                self._cache_file,
            )  # fmt: skip
        self.counts["evidence_not_found"] += sum(
            bool(one.holds and one.evidence and one.evidence_start < 0) for one in stored.values()
        )
        return [
            _verdict(stored[pair.key], pair.start)
            if pair.key in stored
            else Verdict(holds=None, reason=f"no readable answer: {kept.faults[pair.key]}")
            for pair in pairs
        ]


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
        created=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
