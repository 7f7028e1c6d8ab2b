"""The rows of the tables of results.

A table is a list of rows with the same columns, in the order in which they are written to
``tables/<name>.csv``; docs/data-format.md says what each table holds. Numbers are plain Python
ones, and shares, not points; what cannot be computed is NaN or None.
"""

from collections.abc import Sequence
from types import SimpleNamespace

BASE_RUN = "base"
"""Name of the base's run, and of the condition of its rows; they stand at step 0."""


class Row(SimpleNamespace):
    """One row of a table of results; its columns are attributes."""


def last_steps(rows: Sequence[Row], *columns: str) -> list[Row]:
    """The rows of the last checkpoint of what ``columns`` say; rows of the base are kept."""

    def key(row: Row) -> tuple[object, ...]:
        return tuple(getattr(row, column) for column in columns)

    last: dict[tuple[object, ...], int] = {}
    for row in rows:
        last[key(row)] = max(row.step, last.get(key(row), 0))
    return [
        row
        for row in rows
        if row.step == last[key(row)] or getattr(row, "condition", None) == BASE_RUN
    ]
