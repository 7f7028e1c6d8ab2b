"""Folders of parts, ``part-00000`` and on, whose order is the order of the rows.

Invariant: a part is either absent or whole, so a killed task leaves nothing that could be taken
for a result; the same table makes the same bytes.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.storage.publishing import publish_json, writing_aside

PART_BYTES = 64 * 2**20
"""Text in memory after which the next part begins; a part is one task of the next step."""
ROW_GROUP_SIZE = 4096
PARQUET = {"compression": "lz4", "write_statistics": False}
"""Against zstd at level 1 text is written in two thirds of the time and read in half of it, and
takes a third to two thirds more space."""


def part_files(folder: Path, ending: str = "parquet") -> list[Path]:
    """The parts in order; none when the folder does not exist."""
    return sorted(folder.glob(f"part-*.{ending}"))


def part_path(folder: Path, number: int, ending: str = "parquet") -> Path:
    """Where a part stands."""
    return folder / f"part-{number:05d}.{ending}"


def read_batches(folder: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of all Parquet parts of a folder in order; one row group is held at a time."""
    for part in part_files(folder):
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, columns=columns).select(columns).to_batches()


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; Arrow gives a chunked one back where there is not one chunk."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def write_part(folder: Path, number: int, table: pa.Table) -> None:
    """Write one whole Parquet part.

    A dictionary is tried for ``source`` and ``file`` alone: trying one on texts costs time and
    never pays.
    """
    repeated = [name for name in table.column_names if name in ("source", "file", "reason")]
    with writing_aside(part_path(folder, number)) as path:
        pq.write_table(
            table, path, row_group_size=ROW_GROUP_SIZE, use_dictionary=repeated, **PARQUET
        )


def write_arrow(path: Path, tables: Sequence[pa.Table]) -> None:
    """Write tables of one schema as one uncompressed Arrow file, which can be mapped."""
    with (
        writing_aside(path) as aside,
        pa.OSFile(str(aside), "wb") as file,
        pa.ipc.new_file(file, tables[0].schema) as writer,
    ):
        for table in tables:
            writer.write_table(table)


def write_arrow_part(folder: Path, number: int, table: pa.Table) -> None:
    """Write one whole part as an Arrow file of one batch."""
    write_arrow(part_path(folder, number, "arrow"), [table.combine_chunks()])


def map_arrow(path: Path) -> pa.Table:
    """The table of an uncompressed Arrow file, mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def write_language(folder: Path, code: str, base: str) -> None:
    """Note whose text a text folder or a tokens folder holds, and the language of the first halves
    of its pairs."""
    publish_json(folder / "language.json", {"language": code, "base": base})


def read_language(folder: Path, role: str = "language") -> str:
    """The language code of a text folder or a tokens folder; with ``base`` that of the first halves
    of its pairs."""
    code: str = json.loads((folder / "language.json").read_text("utf-8"))[role]
    return code
