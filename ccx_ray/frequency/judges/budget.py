"""Caps on requests and dollars of an endpoint in one run of the driver, and what was spent.

Invariant: neither cap is passed, however many requests are on their way and whoever sends them. A
request is entered before it is sent, with the most that it can cost; what it did cost replaces that
when it is known. What may have been paid for counts as paid: an answer that never arrived, too.
"""

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ccx_ray.frequency.judges.cache import open_database
from ccx_ray.study.frequency_spec import JudgeRuntime

SPENDING = "spending.sqlite"
MESSAGE_TOKENS = 64
"""At most, of the frame that a chat template puts around the only message."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS spending (run TEXT, judge TEXT, requests INTEGER NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, dollars REAL NOT NULL, "
    "PRIMARY KEY (run, judge))"
)


class CapReachedError(Exception):
    """The next request might pass a cap; the message names the cap and what is spent."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final
        """False: requests on their way may turn out cheaper than they were entered."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Of one request."""

    prompt: int
    completion: int


class Budget:
    """The caps of a run and what all its judges have spent of them."""

    def __init__(
        self, connection: sqlite3.Connection, runtime: JudgeRuntime, *, run: str, judge: str
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._run = run
        self._judge = judge

    def reserve(self, *, prompt: str, completion_tokens: int) -> float:
        """Enter a request before it is sent; the most it can cost, in dollars.

        No tokenizer makes more tokens of a text than it has bytes.

        Raises:
            CapReachedError: it might pass a cap, and must not be sent.
        """
        cost = self._dollars(
            Tokens(prompt=len(prompt.encode()) + MESSAGE_TOKENS, completion=completion_tokens)
        )
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._check(cost)
            self._add(requests=1, dollars=cost)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return cost

    def settle(self, reserved: float, tokens: Tokens) -> float:
        """Replace what was entered for a request by what it cost, in dollars."""
        cost = self._dollars(tokens)
        self._add(
            dollars=cost - reserved,
            prompt_tokens=tokens.prompt,
            completion_tokens=tokens.completion,
        )
        return cost

    def _check(self, cost: float) -> None:
        (requests, dollars) = self._connection.execute(
            "SELECT COALESCE(SUM(requests), 0), COALESCE(SUM(dollars), 0) FROM spending "
            "WHERE run = ?",
            (self._run,),
        ).fetchone()
        most_requests, most_dollars = self._runtime.max_requests, self._runtime.max_dollars
        if most_requests is not None and requests + 1 > most_requests:
            raise CapReachedError(
                f"runtime.judge.max_requests: {requests} of {most_requests} requests are sent",
                final=True,
            )
        # Sums of fractions: the last digits are noise.
        if most_dollars is not None and round(dollars + cost, 12) > most_dollars:
            raise CapReachedError(
                f"runtime.judge.max_dollars: {dollars:.6g} of {most_dollars:g} dollars are spent, "
                f"and the next request may cost {cost:.2g}",
                final=False,
            )

    def _add(
        self,
        *,
        requests: int = 0,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        dollars: float = 0.0,
    ) -> None:
        self._connection.execute(
            "INSERT INTO spending VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, judge) DO UPDATE SET "
            "requests = requests + excluded.requests, "
            "prompt_tokens = prompt_tokens + excluded.prompt_tokens, "
            "completion_tokens = completion_tokens + excluded.completion_tokens, "
            "dollars = dollars + excluded.dollars",
            (self._run, self._judge, requests, prompt_tokens, completion_tokens, dollars),
        )

    def _dollars(self, tokens: Tokens) -> float:
        runtime = self._runtime
        return (
            tokens.prompt * runtime.dollars_per_million_input_tokens
            + tokens.completion * runtime.dollars_per_million_output_tokens
        ) / 1e6


def open_spending(folder: Path) -> AbstractContextManager[sqlite3.Connection]:
    """The file that all judges of a study write what they spend into.

    Raises:
        UserError: it is broken or cannot be used.
    """
    return open_database(folder / SPENDING, _SCHEMA, loss="the account of what was spent")
