"""Exact deduplication by digests, over all shards at once.

Invariant: of equal keys the first in the order of the source files is kept, so the result does
not depend on how the work was spread.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Digests = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

DIGEST_BYTES = 16
"""2**64 texts before two different ones are likely to collide."""


def digests(columns: Sequence[pa.Array]) -> Digests:
    """[rows, 2] the digest of one text, or of the sides of a pair, of every row.

    Args:
        columns: string arrays of equal length, without nulls.
    """
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
