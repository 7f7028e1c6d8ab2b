"""What judges keep on disk in SQLite: their verdicts, and what endpoints were paid in a run.

Invariants: a verdict is on the disk before it is used, and the first of two stays, so that no
answer is asked for, or paid for, twice; whoever is killed loses no answer that had arrived. What
cannot be read as a verdict is kept beside them, every time that it is said. Their file is named by
what decides a verdict, and holds neither the text of documents nor anything of the endpoint that
answered. Neither cap of a run is passed, however many requests are on their way and whoever sends
them: a request is entered before it is sent, with the most that it can cost; what it did cost
replaces that when it is known. What may have been paid for counts as paid: an answer that never
arrived, too.

SQLite's rollback journal is used and not the write-ahead log, whose shared memory does not work on
network disks.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from ccx_ray.errors import UserError
from ccx_ray.study.frequency_spec import JudgeRuntime

BUSY_SECONDS = 60.0
"""How long one process waits for another that writes; a write takes milliseconds."""
SPENDING = "spending.sqlite"
MESSAGE_TOKENS = 64
"""At most, of the frame that a chat template puts around the only message."""
_USABLE = "give a file written by ccx_ray in a writable folder"


@contextmanager
def open_database(path: Path, schema: str, *, loss: str) -> Iterator[sqlite3.Connection]:
    """A connection that commits every statement by itself, closed afterwards.

    Args:
        schema: the statements that create the tables when they are not there.
        loss: what is lost with the file, for the message about a broken one.

    Raises:
        UserError: the file is broken or cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{path}: cannot be opened ({error}); {_USABLE}") from None
    try:
        connection.executescript(schema)
        yield connection
    except sqlite3.OperationalError as error:
        raise UserError(f"{path}: cannot be used ({error}); {_USABLE}") from None
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path}: broken ({error}); restore it, or delete it and lose {loss}"
        ) from None
    finally:
        connection.close()


class StoredVerdict(NamedTuple):
    """A row of the table ``verdicts``."""

    key: str
    """``Pair.key`` of what was shown."""
    holds: int
    reason: str
    evidence: str
    """As the model quoted it."""
    evidence_start: int
    """In characters of the text that was shown; -1: nothing quoted, or not found there."""
    evidence_length: int
    answer: str
    """What the model said, as it said it; of several documents of a request all that it said."""
    model: str
    """As the endpoint calls it."""
    prompt_tokens: int
    """Of the request; its documents share them as evenly as whole numbers can."""
    completion_tokens: int
    created: str
    """UTC, ISO 8601."""


class UnreadableAnswer(NamedTuple):
    """A row of the table ``unreadable``."""

    key: str
    """``Pair.key`` of what was shown."""
    fault: str
    """Why it cannot be read."""
    answer: str
    """What the model said, as it said it."""
    model: str
    created: str


_KEYS_AT_ONCE = 500
_VERDICTS = (
    "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, holds INTEGER NOT NULL, "
    "reason TEXT NOT NULL, evidence TEXT NOT NULL, evidence_start INTEGER NOT NULL, "
    "evidence_length INTEGER NOT NULL, answer TEXT NOT NULL, model TEXT NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, created TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS unreadable (key TEXT NOT NULL, fault TEXT NOT NULL, "
    "answer TEXT NOT NULL, model TEXT NOT NULL, created TEXT NOT NULL)"
)


class VerdictCache:
    """The open file of one judge."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def read(self, keys: Iterable[str]) -> dict[str, StoredVerdict]:
        """What is there of these keys."""
        found: dict[str, StoredVerdict] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            some = wanted[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            select = f"SELECT * FROM verdicts WHERE key IN ({marks})"
            found |= {row[0]: StoredVerdict(*row) for row in self._connection.execute(select, some)}
        return found

    def add(self, verdict: StoredVerdict) -> StoredVerdict:
        """Keep a verdict; the one that counts, which is another's if that was earlier."""
        marks = ",".join("?" * len(verdict))
        self._connection.execute(f"INSERT OR IGNORE INTO verdicts VALUES ({marks})", verdict)
        return self.read([verdict.key])[verdict.key]

    def add_unreadable(self, answer: UnreadableAnswer) -> None:
        """Keep an answer that is no verdict."""
        self._connection.execute("INSERT INTO unreadable VALUES (?, ?, ?, ?, ?)", answer)


@contextmanager
def open_cache(path: Path) -> Iterator[VerdictCache]:
    """The verdicts in a file, which is created when missing; see ``open_database``."""
    with open_database(path, _VERDICTS, loss="its verdicts") as connection:
        yield VerdictCache(connection)


_SPENDING = (
    "CREATE TABLE IF NOT EXISTS spending (run TEXT, judge TEXT, requests INTEGER NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, dollars REAL NOT NULL, "
    "PRIMARY KEY (run, judge))"
)


def open_spending(folder: Path) -> AbstractContextManager[sqlite3.Connection]:
    """What all judges of a study have spent; see ``open_database``."""
    return open_database(folder / SPENDING, _SPENDING, loss="the record of requests and cost")


def read_spending(folder: Path) -> tuple[int, float]:
    """Requests and dollars of all runs together; zeros where nothing was ever asked for."""
    if not (folder / SPENDING).is_file():
        return 0, 0.0
    with open_spending(folder) as connection:
        row = connection.execute(
            "SELECT COALESCE(SUM(requests), 0), COALESCE(SUM(dollars), 0) FROM spending"
        ).fetchone()
    return int(row[0]), float(row[1])


class CapReachedError(Exception):
    """The next request might pass a cap; the message names the cap and what is spent."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final
        """False: requests on their way may turn out cheaper than they were entered."""


class Tokens(NamedTuple):
    """Of one request."""

    prompt: int
    completion: int


class Budget:
    """The caps of a run and what all its judges have spent of them."""

    def __init__(
        self, connection: sqlite3.Connection, runtime: JudgeRuntime, *, run: str, judge: str
    ) -> None:
        self._connection, self._runtime = connection, runtime
        self._run, self._judge = run, judge

    def reserve(self, *, prompt: str, completion_tokens: int) -> float:
        """Enter a request before it is sent; the most it can cost, in dollars.

        No tokenizer makes more tokens of a text than it has bytes.

        Raises:
            CapReachedError: it might pass a cap, and must not be sent.
        """
        cost = self._dollars(Tokens(len(prompt.encode()) + MESSAGE_TOKENS, completion_tokens))
        with self._connection:  # commits, or rolls back what is refused
            self._connection.execute("BEGIN IMMEDIATE")
            self._check(cost)
            self._add(1, Tokens(0, 0), cost)
        return cost

    def settle(self, reserved: float, tokens: Tokens) -> None:
        """Replace what was entered for a request by what it cost."""
        self._add(0, tokens, self._dollars(tokens) - reserved)

    def _check(self, cost: float) -> None:
        requests, dollars = self._connection.execute(
            "SELECT COALESCE(SUM(requests), 0), COALESCE(SUM(dollars), 0) FROM spending "
            "WHERE run = ?",
            (self._run,),
        ).fetchone()
        most_requests, most_dollars = self._runtime.max_requests, self._runtime.max_dollars
        if most_requests is not None and requests + 1 > most_requests:
            raise CapReachedError(
                f"runtime.judge.max_requests: {requests} of {most_requests} requests are used",
                final=True,
            )
        # Sums of fractions: the last digits are noise.
        if most_dollars is not None and round(dollars + cost, 12) > most_dollars:
            raise CapReachedError(
                f"runtime.judge.max_dollars: {dollars:.6g} of {most_dollars:g} dollars are spent, "
                f"and the next request may cost {cost:.2g}",
                final=False,
            )

    def _add(self, requests: int, tokens: Tokens, dollars: float) -> None:
        self._connection.execute(
            "INSERT INTO spending VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, judge) DO UPDATE SET "
            "requests = requests + excluded.requests, "
            "prompt_tokens = prompt_tokens + excluded.prompt_tokens, "
            "completion_tokens = completion_tokens + excluded.completion_tokens, "
            "dollars = dollars + excluded.dollars",
            (self._run, self._judge, requests, *tokens, dollars),
        )

    def _dollars(self, tokens: Tokens) -> float:
        runtime = self._runtime
        return (
            tokens.prompt * runtime.dollars_per_million_input_tokens
            + tokens.completion * runtime.dollars_per_million_output_tokens
        ) / 1e6
