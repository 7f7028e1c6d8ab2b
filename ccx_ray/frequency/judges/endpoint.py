"""Asking a model behind an OpenAI-compatible endpoint about many pairs at once.

Invariant: every answer is handed on as it arrives, and every pair without one is accounted for.
When a cap is reached, or the endpoint is dead or refuses, nothing new is sent, and what is on its
way is waited for. An answer that cannot be read is asked for again with words that say what was
wrong, as often as ``runtime.judge.max_retries`` allows, and keeps no other from being asked for.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Semaphore

from ccx_ray.frequency.judges.answers import read_answers, unreadable_because
from ccx_ray.frequency.judges.chat import (
    AdaptedError,
    Chat,
    Parameters,
    Reply,
    TransientError,
)
from ccx_ray.frequency.judges.model_judge import Kept, ModelJudge, UnansweredError
from ccx_ray.frequency.judges.prompting import Pair, fill_prompt, repair_words, shown_part
from ccx_ray.frequency.judges.records import Budget, CapReachedError, Tokens, open_spending
from ccx_ray.frequency.judges.verdict import Request
from ccx_ray.study.frequency_spec import EndpointJudgeSpec, JudgeRuntime

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds; each pause is twice the one before, and up to a half of it is left to chance, so that
requests that failed together do not come back together."""
LONGEST_WAIT = 600.0
"""Seconds; an endpoint that asks to wait longer is left alone."""
SHOWN_CHARACTERS = 80
"""Of an answer that cannot be read, in a message."""
PLACE_SECONDS = 0.02
"""Between two looks whether another thread has given its place back; an answer takes longer."""
_places: dict[tuple[str | None, int], Semaphore] = {}
"""By endpoint, for all threads of this process: cultures are judged side by side."""


class EndpointJudge(ModelJudge):
    """A model behind an endpoint; remembers which parameters the endpoint does not know."""

    def __init__(
        self,
        spec: EndpointJudgeSpec,
        runtime: JudgeRuntime,
        prompt: str,
        cache_file: Path,
        *,
        run: str,
        account: str,
    ) -> None:
        """
        Args:
            run: of the driver; the caps hold for all judges of one.
            account: under which it stands beside the others of the run.
        """
        super().__init__(cache_file)
        self.spec, self.runtime, self.prompt = spec, runtime, prompt
        self.parameters = Parameters(answer_tokens=runtime.answer_tokens)
        self._spending, self._run, self._account = cache_file.parent, run, account

    def show(self, request: Request) -> Pair:
        return shown_part(request, self.spec.window_characters)

    def answer(self, pairs: Sequence[Pair], kept: Kept) -> None:
        with open_spending(self._spending) as connection:
            budget = Budget(connection, self.runtime, run=self._run, judge=self._account)
            asyncio.run(_Asking(self, budget, kept).all(pairs))

    def check_unreadable(self, faults: Mapping[str, str], pairs: int) -> None:
        if len(faults) <= self.runtime.unreadable_share * pairs:
            return
        tries, fault = self.runtime.max_retries + 1, next(iter(faults.values()))
        raise UnansweredError(
            f"the model {self.spec.model!r} gave no readable answer in {tries} tries about "
            f"{len(faults)} pairs (for example: {fault})",
            "use another model or prompt, or raise runtime.judge.max_retries or unreadable_share,",
        )


class _Asking:
    """One call of ``answer``, inside its event loop."""

    def __init__(self, endpoint: EndpointJudge, budget: Budget, kept: Kept) -> None:
        self._prompt, self._runtime = endpoint.prompt, endpoint.runtime
        self._model, self._counts = endpoint.spec.model, endpoint.counts
        self._budget, self._kept = budget, kept
        self._chat = Chat(model=self._model, runtime=self._runtime, parameters=endpoint.parameters)
        self._stop: UnansweredError | None = None
        self._stopped = asyncio.Event()
        limit = self._runtime.url, self._runtime.concurrency
        self._places = _places.setdefault(limit, Semaphore(self._runtime.concurrency))
        self._on_their_way = 0
        self._back = asyncio.Event()
        """Set when the next request is back, and then another."""

    async def all(self, pairs: Sequence[Pair]) -> None:
        waiting = deque(_requests(pairs, self._runtime.pairs_per_request))
        try:
            # The first goes alone: a wrong key, a wrong name or a dead endpoint costs one request.
            await self._ask(waiting.popleft())
            workers = min(self._runtime.concurrency, len(waiting))
            await asyncio.gather(*(self._work(waiting) for _ in range(workers)))
        finally:
            await self._chat.close()
        if self._stop is not None:
            raise self._stop

    async def _work(self, waiting: deque[list[Pair]]) -> None:
        while waiting and self._stop is None:
            await self._ask(waiting.popleft())

    async def _ask(self, pairs: list[Pair]) -> None:
        """Ask about the pairs of one request until each has an answer, or there will be none."""
        failures = 0
        again = ""
        while self._stop is None:
            try:
                reply = await self._send(fill_prompt(self._prompt, pairs) + again, len(pairs))
            except AdaptedError:
                continue
            except CapReachedError as error:
                if self._on_their_way and not error.final:
                    await self._back.wait()
                    continue
                self._end(str(error), "raise the limit")
            except UnansweredError as error:
                self._end(f"{self._where()} {error}", error.remedy)
            except TransientError as error:
                failures += 1
                await self._wait(failures, error)
            else:
                pairs, again = self._take(pairs, reply)
                failures += 1
                if not pairs or failures > self._runtime.max_retries:
                    return
            if self._stop is None:
                self._counts["retries"] += 1

    async def _send(self, prompt: str, documents: int) -> Reply:
        """One request, entered into the account before it goes and settled afterwards."""
        # Other steps of the driver have requests on their way, too.
        while not self._places.acquire(blocking=False):
            await asyncio.sleep(PLACE_SECONDS)
        try:
            most = self._runtime.answer_tokens * documents
            reserved = self._budget.reserve(prompt=prompt, completion_tokens=most)
        except BaseException:
            self._places.release()
            raise
        self._counts["requests"] += 1
        self._on_their_way += 1
        try:
            async with asyncio.timeout(self._runtime.timeout_seconds):
                reply = await self._chat.ask(prompt, documents)
        except TimeoutError:
            seconds = self._runtime.timeout_seconds
            raise TransientError(f"no complete answer in {seconds:g} s", maybe_paid=True) from None
        except (TransientError, UnansweredError, AdaptedError) as error:
            if not (isinstance(error, TransientError) and error.maybe_paid):
                self._budget.settle(reserved, Tokens(0, 0))
            raise
        else:
            if reply.tokens is not None:
                self._budget.settle(reserved, reply.tokens)
                self._counts["prompt_tokens"] += reply.tokens.prompt
                self._counts["completion_tokens"] += reply.tokens.completion
            return reply
        finally:
            self._places.release()
            self._on_their_way -= 1
            self._back.set()
            self._back = asyncio.Event()

    def _take(self, pairs: list[Pair], reply: Reply) -> tuple[list[Pair], str]:
        """Hand on what is said; the pairs without a verdict, and words to ask for them again."""
        # Some servers take an answer for a thought, or make a call of a tool of it.
        said = reply.content if reply.cut else reply.content or reply.beside
        both = list(zip(pairs, read_answers(said, len(pairs)), strict=True))
        read = [(pair, answer) for pair, answer in both if answer is not None]
        shares = _shares(reply.tokens or Tokens(0, 0), len(read))
        for (pair, answer), tokens in zip(read, shares, strict=True):
            self._kept.answer(pair, answer, said, reply.model or self._model, tokens)
        without = [pair for pair, answer in both if answer is None]
        fault = self._fault(reply)
        everything = reply.content or reply.beside
        shown = f"{fault}: {everything[:SHOWN_CHARACTERS]!r}" if everything else fault
        for pair in without:
            self._kept.unreadable(pair, shown, everything, reply.model or self._model)
        # Thoughts that were cut, and verdicts on others, would only lengthen the prompt.
        useful = len(pairs) == 1 and not reply.cut
        return without, repair_words(fault, reply.content if useful else "", cut=reply.cut)

    def _fault(self, reply: Reply) -> str:
        """Why an answer has no verdict on all of its pairs."""
        limit = f"the limit of {self._runtime.answer_tokens} tokens, runtime.judge.answer_tokens"
        ended = f"finish_reason: {reply.finish_reason}" + (f", {limit}" if reply.cut else "")
        if not reply.content.strip():
            instead = f", with {reply.beside.partition(':')[0]} instead" if reply.beside else ""
            return f"its content is empty ({ended}){instead}"
        return f"it is cut off ({ended})" if reply.cut else unreadable_because(reply.content)

    async def _wait(self, failures: int, error: TransientError) -> None:
        """Pause before the next try, or end everything after the last."""
        if failures > self._runtime.max_retries:
            self._end(f"{self._where()} failed {failures} times, last: {error}", "repair it")
            return
        asked = error.retry_after
        if asked is not None and asked > LONGEST_WAIT:
            self._end(f"{self._where()} asks to wait {asked:g} s: {error}", "wait")
            return
        pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)
        logger.debug("%s; trying again", error)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause, asked or 0.0)):
                await self._stopped.wait()

    def _end(self, reason: str, remedy: str) -> None:
        if self._stop is None:
            self._stop = UnansweredError(reason, remedy)
            self._stopped.set()

    def _where(self) -> str:
        return f"runtime.judge.url: {self._runtime.url!r}"


def _requests(pairs: Sequence[Pair], together: int) -> list[list[Pair]]:
    """The pairs of one question, so many at a time."""
    by_question: dict[object, list[Pair]] = {}
    for pair in pairs:
        by_question.setdefault(pair.cloze, []).append(pair)
    return [
        some[start : start + together]
        for some in by_question.values()
        for start in range(0, len(some), together)
    ]


def _shares(tokens: Tokens, among: int) -> list[Tokens]:
    """Whole numbers that add up to the tokens of a request."""
    return [
        Tokens(*(count * (place + 1) // among - count * place // among for count in tokens))
        for place in range(among)
    ]
