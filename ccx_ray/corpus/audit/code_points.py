"""Text as arrays of code points, so that whole batches are counted and hashed at once.

Invariant: a batch holds its texts whole, one behind the other, with nothing between them.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.cleaning.unicode_scripts import (
    CODE_POINTS,
    SCRIPTS,
    UNKNOWN_SCRIPT,
    script_ranges,
)

if TYPE_CHECKING:
    from collections.abc import Collection

Points = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

BATCH_BYTES = 2**19
"""Text of one batch, whose arrays stay within a core's caches. Of 2**15 to 2**22 the contamination
scan was fastest at 2**19 and 2**20 (41 and 44 MB/s of English, 108 and 101 of Chinese), a tenth to
a quarter slower at 2**22."""
ROWS_PER_READ = 4096

SCRIPT_NAMES: tuple[str, ...] = tuple(sorted(SCRIPTS | {UNKNOWN_SCRIPT}))
"""Script of each number in ``script_numbers``."""


class Batch(NamedTuple):
    """Some texts as code points."""

    points: Points
    starts: Ints
    """[texts] where each begins in ``points``."""
    ends: Ints

    def text(self, number: int) -> str:
        return as_text(self.points[self.starts[number] : self.ends[number]])


def as_text(points: Points) -> str:
    """Code points as a string."""
    return points.astype("<u4").tobytes().decode("utf-32-le")


def batch_of(texts: pa.Array) -> Batch:
    """Texts as code points. Nulls are empty texts."""
    ends = np.cumsum(pc.utf8_length(texts).fill_null(0).to_numpy(), dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
    encoded = text_bytes(texts).decode().encode("utf-32-le")
    return Batch(np.frombuffer(encoded, np.uint32), starts, ends)


def text_bytes(texts: pa.Array) -> bytes:
    """The UTF-8 of all texts, one behind the other."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return b""
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bytes(memoryview(data)[bounds[0] : bounds[-1]])


def read_batches(part: Path, columns: "Collection[str]") -> Iterator[pa.RecordBatch]:
    """The rows of a part in batches of about ``BATCH_BYTES`` of text, a longer text by itself."""
    for rows in pq.ParquetFile(part).iter_batches(ROWS_PER_READ, columns=list(columns)):
        size = np.zeros(rows.num_rows, np.int64)
        for column in rows.columns:
            size += pc.binary_length(column).fill_null(0).to_numpy()
        batch = (np.cumsum(size) - size) // BATCH_BYTES
        bounds = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), rows.num_rows]
        for first, last in pairwise(bounds):
            if last > first:
                yield rows.slice(first, last - first)


@cache
def script_numbers() -> npt.NDArray[np.uint8]:
    """[0x110000] the number of every code point's script in ``SCRIPT_NAMES``."""
    numbers = np.full(CODE_POINTS, SCRIPT_NAMES.index(UNKNOWN_SCRIPT), np.uint8)
    for number, name in enumerate(SCRIPT_NAMES):
        for first, last in script_ranges([name]):
            numbers[first : last + 1] = number
    return numbers


def scripts_among(names: "Collection[str]") -> npt.NDArray[np.bool_]:
    """[scripts] which of ``SCRIPT_NAMES`` are among these."""
    return np.array([name in names for name in SCRIPT_NAMES])


def points_of_scripts(names: "Collection[str]") -> npt.NDArray[np.bool_]:
    """[0x110000] which code points are of one of these scripts."""
    members: npt.NDArray[np.bool_] = scripts_among(names)[script_numbers()]
    return members
