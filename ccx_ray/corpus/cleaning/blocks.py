"""Blocks: isolated text between the two passes of the text step, before duplicates are known.

A block is an uncompressed Arrow file of at most about one part of text, with the keys of its rows
beside it, which alone are compared over all blocks. Invariant: a block's content depends on its
shard alone.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ccx_ray.corpus.parts import PART_BYTES
from ccx_ray.corpus.reading.record import Shard
from ccx_ray.storage.publishing import writing_aside

Digests = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]

DROPPED = "dropped"
"""Column of the lines in another language, where languages are told apart."""


class Block(NamedTuple):
    """Some rows of a block, as they are made."""

    table: pa.Table
    """id, source, one column a side, position, reason and rejected (null where nothing is wrong so
    far; the raw text where something is), perhaps dropped."""
    text_keys: Digests
    id_keys: Digests
    signatures: Signatures | None


class BlockWriter:
    """Writes the blocks of one shard one behind the other."""

    def __init__(self, folder: Path, name: str, shard: Shard) -> None:
        self.written: list[dict[str, Any]] = []
        """Name, rows, and place of every block that is closed."""
        self._folder, self._name, self._shard = folder, name, shard
        self._waiting: list[Block] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._waiting:
            self._flush()

    def write(self, block: Block) -> None:
        self._waiting.append(block)
        self._bytes += block.table.nbytes
        if self._bytes >= PART_BYTES:
            self._flush()

    def _flush(self) -> None:
        name = f"{self._name}-{len(self.written):05d}"
        tables = [block.table for block in self._waiting]
        with (
            writing_aside(self._folder / f"{name}.arrow") as path,
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, tables[0].schema) as writer,
        ):
            for table in tables:
                writer.write_table(table)
        keys: dict[str, list[npt.NDArray[Any]]] = {
            "texts": [block.text_keys for block in self._waiting],
            "ids": [block.id_keys for block in self._waiting],
            "signatures": [b.signatures for b in self._waiting if b.signatures is not None],
        }
        for key, arrays in keys.items():
            if arrays:
                with (
                    writing_aside(self._folder / f"{name}.{key}.npy") as path,
                    path.open("wb") as file,
                ):
                    np.save(file, np.concatenate(arrays))
        self.written.append({"name": name, "rows": sum(table.num_rows for table in tables)})
        self._waiting, self._bytes = [], 0


def read_block(folder: Path, name: str) -> pa.Table:
    """The table of a block, mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(str(folder / f"{name}.arrow"))).read_all()


class BlockKeys(Sequence[npt.NDArray[Any]]):
    """``texts``, ``ids`` or ``signatures`` of blocks, each mapped into memory when it is asked for,
    so that those of a large corpus are never held together."""

    def __init__(self, folder: Path, names: Sequence[str], key: str) -> None:
        self._paths = [folder / f"{name}.{key}.npy" for name in names]

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[npt.NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> npt.NDArray[Any] | Sequence[npt.NDArray[Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        keys: npt.NDArray[Any] = np.load(self._paths[index], mmap_mode="r")
        return keys


def write_repeated(folder: Path, name: str, table: pa.Table) -> None:
    """Note which rows of a block repeat earlier ones; see ``duplicates.repetitions``."""
    with (
        writing_aside(folder / f"{name}.repeated.arrow") as path,
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)


def read_repeated(folder: Path, name: str) -> pa.Table:
    """What ``write_repeated`` noted."""
    return read_block(folder, f"{name}.repeated")
