"""Records that repeat an earlier one: equal texts, repeated ids, near-duplicates, over all shards.

Invariant: of equal keys the first in the order of the source files is kept, so the result does
not depend on how the work was spread.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.cleaning.near_duplicates import near_duplicates
from ccx_ray.corpus.parts import map_arrow

DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near-duplicate"
REPEATED_ID = "repeated id"
"""Another text came earlier under the same id, which must name one document."""
REASONS = (DUPLICATE, REPEATED_ID, NEAR_DUPLICATE)
Ints = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint64]

DIGEST_BYTES = 16
"""2**64 texts before two different ones are likely to collide."""


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


def repetitions(blocks: Path, names: Sequence[str], similarity: float | None) -> Iterator[pa.Table]:
    """Which rows repeat an earlier one, over all blocks of one kind in their order; each has the
    keys of its rows beside it.

    Yields:
        one table a block: reason (null where a row does not repeat another) and duplicate_of (the
        id of the earlier row).

    Memory: 150 bytes a row, and the near-duplicates' own; the texts stay on disk.
    """
    tables = [map_arrow(blocks / f"{name}.arrow") for name in names]
    sizes = [table.num_rows for table in tables]
    standing = np.concatenate(
        [np.zeros(0, bool)] + [pc.is_null(table["reason"]).to_numpy() for table in tables]
    )
    reason = np.full(len(standing), -1, np.int8)
    original = np.full(len(standing), -1, np.int64)
    everything = np.arange(len(standing), dtype=np.int64)

    def settle(code: int, first: Ints) -> None:
        repeats = standing & (first >= 0) & (first != everything)
        reason[repeats], original[repeats] = code, first[repeats]
        standing[repeats] = False

    for code, key in ((0, "texts"), (1, "ids")):
        keys = [np.load(keys_path(blocks, name, key), mmap_mode="r") for name in names]
        settle(code, first_seen(np.concatenate([np.zeros((0, 2), np.uint64), *keys]), standing))
    if similarity is not None:
        signatures = _Signatures([keys_path(blocks, name, "signatures") for name in names])
        bounds = np.cumsum(sizes)[:-1]
        settle(2, near_duplicates(signatures, np.split(standing, bounds), similarity))
    # Mapped into memory: only the ids that are asked for are ever read.
    ids = pa.chunked_array([c for table in tables for c in table["id"].chunks], pa.string())
    for begin, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        rows = slice(begin, begin + size)
        reasons = pa.array(reason[rows], mask=reason[rows] < 0)
        yield pa.table(
            {
                "reason": pa.DictionaryArray.from_arrays(reasons, pa.array(REASONS)).cast(
                    pa.string()
                ),
                "duplicate_of": ids.take(pa.array(original[rows], mask=original[rows] < 0)),
            }
        )
