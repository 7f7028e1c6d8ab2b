"""Folders of Parquet parts, ``part-00000.parquet`` and on, whose order is the order of the rows."""

from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

PART_BYTES = 64 * 2**20
"""Size in memory after which the next part begins; a part is one task of the next step."""
ROW_GROUP_SIZE = 1024


def part_files(folder: Path) -> list[Path]:
    """The parts in order; none when the folder does not exist."""
    return sorted(folder.glob("part-*.parquet"))


def write_part(folder: Path, number: int, table: pa.Table) -> None:
    """Write one whole part."""
    pq.write_table(table, _part(folder, number), compression="zstd", row_group_size=ROW_GROUP_SIZE)


class PartWriter:
    """Writes tables one behind the other; without any, one empty part that carries the schema."""

    def __init__(self, folder: Path, schema: pa.Schema, *, part_bytes: int = PART_BYTES) -> None:
        folder.mkdir(parents=True)
        self._folder, self._schema, self._part_bytes = folder, schema, part_bytes
        self._parts = 0
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and (self._waiting or not self._parts):
            self._flush()

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            self._waiting.append(table.select(self._schema.names).cast(self._schema))
        if sum(waiting.nbytes for waiting in self._waiting) >= self._part_bytes:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables([self._schema.empty_table(), *self._waiting])
        write_part(self._folder, self._parts, table)
        self._parts += 1
        self._waiting = []


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"
