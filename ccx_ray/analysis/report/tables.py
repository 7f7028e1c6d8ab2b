"""The tables of the results as CSV, one row as in the dataclass of the same table.

Invariant: full precision; the page rounds, the tables never do. A value that does not exist is an
empty cell.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    """One CSV file a table; a table without rows has no file."""
    folder.mkdir()
    for name, rows in tables.items():
        if rows:
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    """Nested values as JSON, so that a cell can be read back."""
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value, ensure_ascii=False)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return value
