"""Text as arrays of code points, so that whole batches are counted and searched at once."""

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.cleaning.scripts import CODE_POINTS, SCRIPTS, UNKNOWN_SCRIPT, script_ranges

Points = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]

BATCH_BYTES = 2**19
"""Text of one batch, whose arrays stay within a core's caches."""
ROWS_PER_READ = 4096

SCRIPT_NAMES: tuple[str, ...] = tuple(sorted(SCRIPTS | {UNKNOWN_SCRIPT}))
"""Script of each number in ``script_numbers``."""


class Batch(NamedTuple):
    """Some texts as code points, one behind the other with nothing between them."""

    texts: Sequence[str]
    points: Points
    starts: Ints
    """[texts] where each begins in ``points``."""
    ends: Ints


def batch_of(texts: Sequence[str]) -> Batch:
    """Texts as code points."""
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
    return Batch(texts, points_of("".join(texts)), starts, ends)


def points_of(text: str) -> Points:
    """The code points of a string."""
    return np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)


def as_text(points: Points) -> str:
    """Code points as a string."""
    return points.astype("<u4").tobytes().decode("utf-32-le")


def read_batches(part: Path, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a part in batches of about ``BATCH_BYTES`` of text, a longer text by itself."""
    for rows in pq.ParquetFile(part).iter_batches(ROWS_PER_READ, columns=list(columns)):
        size = sum(pc.binary_length(column).fill_null(0).to_numpy() for column in rows.columns)
        batch = (np.cumsum(size) - size) // BATCH_BYTES
        for first, last in pairwise([0, *(np.flatnonzero(np.diff(batch)) + 1), rows.num_rows]):
            yield rows.slice(first, last - first)


@cache
def script_numbers() -> npt.NDArray[np.uint8]:
    """[0x110000] the number of every code point's script in ``SCRIPT_NAMES``."""
    numbers = np.full(CODE_POINTS, SCRIPT_NAMES.index(UNKNOWN_SCRIPT), np.uint8)
    for number, name in enumerate(SCRIPT_NAMES):
        for first, last in script_ranges([name]):
            numbers[first : last + 1] = number
    return numbers


def scripts_among(names: Collection[str]) -> npt.NDArray[np.bool_]:
    """[scripts] which of ``SCRIPT_NAMES`` are among these."""
    return np.array([name in names for name in SCRIPT_NAMES])
