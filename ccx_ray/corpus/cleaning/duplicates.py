"""Records that repeat an earlier one: equal texts, repeated ids, near-duplicates, over all shards.

Invariants: of equal keys the first in the order of the source files is kept, so the result does
not depend on how the work was spread. Ids are unique within their scope, a source or one of its
files; where another scope has used an id before, the file's name is put before it, so that an id
names one record of what is written.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.cleaning.near_duplicates import near_duplicates
from ccx_ray.corpus.parts import map_arrow, one_array

DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near-duplicate"
REPEATED_ID = "repeated id"
"""Another text came earlier under the same id, which must name one document."""
REASONS = (DUPLICATE, REPEATED_ID, NEAR_DUPLICATE)
SCOPE_FACTOR = 0x9E3779B97F4A7C15
SEPARATOR = "#"
"""Between a file's name and an id; a record without an id is called ``file:place``."""
Ints = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint64]

DIGEST_BYTES = 16
"""2**64 texts before two different ones are likely to collide."""


class BlockOfRows(NamedTuple):
    """A block, and where its rows come from."""

    name: str
    scope: int
    """Within which their ids are unique."""
    file: str
    """What is put before an id that another scope has used; no other scope has the same."""


def digests(columns: Sequence[pa.Array]) -> Digests:
    """[rows, 2] the digest of one text, or of the sides of a pair, of every row; without nulls."""
    views, offsets = zip(*map(_content, columns), strict=True)
    out = bytearray()
    blake2b = hashlib.blake2b
    if len(columns) == 1:
        view, (begins,) = views[0], offsets
        for begin, end in pairwise(begins):
            out += blake2b(view[begin:end], digest_size=DIGEST_BYTES).digest()
    else:
        for row in range(len(columns[0])):
            digest = blake2b(digest_size=DIGEST_BYTES)
            for view, begins in zip(views, offsets, strict=True):
                begin, end = begins[row], begins[row + 1]
                digest.update((end - begin).to_bytes(8, "little"))
                digest.update(view[begin:end])
            out += digest.digest()
    return np.frombuffer(bytes(out), np.uint64).reshape(-1, 2)


def first_seen(keys: Digests, standing: npt.NDArray[np.bool_]) -> Ints:
    """[rows] the first row with the same key among the standing ones; -1 where a row is not
    standing. A row that is its own first is fresh.

    Memory: about 50 bytes a row.
    """
    first = np.full(len(keys), -1, np.int64)
    rows = np.flatnonzero(standing)
    if len(rows):
        # Stable, so that the rows of one key stay in their order.
        order = rows[np.lexsort((keys[rows, 0], keys[rows, 1]))]
        begins = np.ones(len(order), bool)
        begins[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
        first[order] = order[begins][np.cumsum(begins) - 1]
    return first


def _content(column: pa.Array) -> tuple[memoryview, list[int]]:
    """The bytes of a string array, and where each of its texts begins and ends in them."""
    _, offsets, values = column.buffers()
    begins = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(values if values is not None else b""), begins.tolist()


def keys_path(blocks: Path, name: str, key: str) -> Path:
    """Where a block's ``texts``, ``ids`` or ``signatures`` stand, one row a row of the block."""
    return blocks / f"{name}.{key}.npy"


class _Signatures:
    """The signatures of blocks, each mapped into memory when it is asked for, so that those of a
    large corpus are never held together."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __getitem__(self, number: int) -> npt.NDArray[np.uint32]:
        signatures: npt.NDArray[np.uint32] = np.load(self._paths[number], mmap_mode="r")
        return signatures


def repetitions(
    folder: Path, blocks: Sequence[BlockOfRows], similarity: float | None
) -> Iterator[pa.Table]:
    """Which rows repeat an earlier one, over all blocks of one kind in their order; each has the
    keys of its rows beside it in ``folder``.

    Yields:
        one table a block: reason (null where a row does not repeat another), duplicate_of (the id
        of the earlier row) and name (another id than the file's, where that was used before).

    Memory: 170 bytes a row, and the near-duplicates' own; the texts stay on disk.
    """
    tables = [map_arrow(folder / f"{block.name}.arrow") for block in blocks]
    sizes = [table.num_rows for table in tables]
    standing = np.concatenate(
        [np.zeros(0, bool)] + [pc.is_null(table["reason"]).to_numpy() for table in tables]
    )
    reason = np.full(len(standing), -1, np.int8)
    original = np.full(len(standing), -1, np.int64)
    everything = np.arange(len(standing), dtype=np.int64)

    def keys_of(key: str) -> Digests:
        keys = [np.load(keys_path(folder, block.name, key), mmap_mode="r") for block in blocks]
        return np.concatenate([np.zeros((0, 2), np.uint64), *keys])

    def settle(code: int, first: Ints) -> None:
        repeats = standing & (first >= 0) & (first != everything)
        reason[repeats], original[repeats] = code, first[repeats]
        standing[repeats] = False

    settle(0, first_seen(keys_of("texts"), standing))
    names = keys_of("ids")
    # Another digest for each scope: equal ones of two scopes are as unlikely as of two ids.
    scopes = np.repeat(np.array([block.scope for block in blocks], np.uint64), sizes)
    settle(1, first_seen(names ^ (scopes * np.uint64(SCOPE_FACTOR))[:, None], standing))
    if similarity is not None:
        signatures = _Signatures([keys_path(folder, block.name, "signatures") for block in blocks])
        bounds = np.cumsum(sizes)[:-1]
        settle(2, near_duplicates(signatures, np.split(standing, bounds), similarity))
    used = first_seen(names, standing)
    used_before = (used >= 0) & (used != everything)
    # Mapped into memory: only the ids that are asked for are ever read.
    ids = pa.chunked_array([c for table in tables for c in table["id"].chunks], pa.string())
    files = pa.array([block.file for block in blocks], pa.string())
    of_block = np.repeat(np.arange(len(blocks)), sizes)

    def named(rows: Ints) -> pa.Array:
        """Their ids as they are written; null where a row is -1."""
        none = rows < 0
        plain = one_array(ids.take(pa.array(rows, mask=none)))
        before = pc.take(files, pa.array(of_block[rows], mask=none))
        renamed = pa.array(used_before[rows] & ~none)
        return pc.if_else(renamed, pc.binary_join_element_wise(before, plain, SEPARATOR), plain)

    for begin, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        rows = slice(begin, begin + size)
        reasons = pa.array(reason[rows], mask=reason[rows] < 0)
        yield pa.table(
            {
                "reason": pa.DictionaryArray.from_arrays(reasons, pa.array(REASONS)).cast(
                    pa.string()
                ),
                "duplicate_of": named(original[rows]),
                "name": named(np.where(used_before[rows], everything[rows], -1)),
            }
        )
