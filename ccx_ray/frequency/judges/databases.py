"""The SQLite files beside a study: opened for a moment, by several processes at once.

Invariant: what is committed is on the disk, and nobody has to close anything for it. The rollback
journal is used and not the write-ahead log, whose shared memory does not work on network disks.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
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
