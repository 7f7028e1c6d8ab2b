"""The cache of a judge's verdicts on disk: no answer is asked for, or paid for, twice.

Invariants: a verdict is on the disk before it is used, and the first of two stays; whoever is
killed loses no answer that had arrived. The file is named by what decides a verdict, and holds
neither the text of documents nor anything of the endpoint that answered. SQLite's rollback journal
is used and not the write-ahead log, whose shared memory does not work on network disks.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ccx_ray.errors import UserError

BUSY_SECONDS = 60.0
"""How long one process waits for another that writes; a write takes milliseconds."""

_USABLE = "see that it is a file of this program, in a folder that you may write to"


@contextmanager
def open_database(path: Path, schema: str, *, loss: str) -> Iterator[sqlite3.Connection]:
    """A connection that commits every statement by itself, closed afterwards.

    Args:
        schema: the statement that creates the table when it is not there.
        loss: what deleting the file would cost, for the message about a broken one.

    Raises:
        UserError: the file is broken or cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{path}: cannot be opened ({error}); {_USABLE}") from None
    try:
        connection.execute(schema)
        yield connection
    except sqlite3.OperationalError as error:
        raise UserError(f"{path}: cannot be used ({error}); {_USABLE}") from None
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path}: broken ({error}); restore it, or delete it, which costs {loss}"
        ) from None
    finally:
        connection.close()


@dataclass(frozen=True, kw_only=True)
class StoredVerdict:
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


_KEYS_AT_ONCE = 500
_COLUMNS = tuple(field.name for field in fields(StoredVerdict))
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, holds INTEGER NOT NULL, "
    "reason TEXT NOT NULL, evidence TEXT NOT NULL, evidence_start INTEGER NOT NULL, "
    "evidence_length INTEGER NOT NULL, answer TEXT NOT NULL, model TEXT NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, created TEXT NOT NULL)"
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
            rows = self._connection.execute(
                f"SELECT {','.join(_COLUMNS)} FROM verdicts WHERE key IN ({marks})", some
            )
            for row in rows:
                found[row[0]] = StoredVerdict(**dict(zip(_COLUMNS, row, strict=True)))
        return found

    def add(self, verdict: StoredVerdict) -> StoredVerdict:
        """Keep a verdict; the one that counts, which is another's if that was earlier."""
        marks = ",".join("?" * len(_COLUMNS))
        self._connection.execute(
            f"INSERT OR IGNORE INTO verdicts ({','.join(_COLUMNS)}) VALUES ({marks})",
            astuple(verdict),
        )
        return self.read([verdict.key])[verdict.key]


@contextmanager
def open_cache(path: Path) -> Iterator[VerdictCache]:
    """The verdicts in a file, which is created when missing.

    Raises:
        UserError: the file is broken or cannot be used.
    """
    with open_database(path, _SCHEMA, loss="asking again for the verdicts in it") as connection:
        yield VerdictCache(connection)
