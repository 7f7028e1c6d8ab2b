"""Texts that stand in more than one corpus, to the letter, by a digest of each.

A digest has 64 bits: among 10 million texts two different ones agree once in 400,000 audits.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.code_points import Hashes, Ints
from ccx_ray.corpus.audit.inputs import Column

EXAMPLES = 5


class SharedTexts(NamedTuple):
    """What two corpora have in common."""

    corpus: str
    other: str
    distinct: int
    """Different texts that stand in both."""
    texts: int
    """Texts of ``corpus`` that stand in ``other`` too."""
    other_texts: int
    """Texts of ``other`` that stand in ``corpus`` too."""
    places: tuple[tuple[int, int], ...]
    """(part, row) of the first of them in ``corpus``, for examples."""


def text_digests(texts: pa.Array) -> Hashes:
    """[texts] a digest of each text's UTF-8."""
    if not len(texts):
        return np.zeros(0, np.uint64)
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content, places = memoryview(data), bounds.tolist()
    digests = b"".join(
        blake2b(content[first:last], digest_size=8).digest() for first, last in pairwise(places)
    )
    return np.frombuffer(digests, np.uint64)


def shared_texts(digests: Mapping[str, Mapping[int, Hashes]]) -> Iterator[SharedTexts]:
    """Compare every two corpora; those that share nothing are left out.

    Args:
        digests: corpus -> part -> [rows].
    """
    whole = {corpus: _concatenated(parts) for corpus, parts in digests.items()}
    distinct = {corpus: np.unique(all_) for corpus, all_ in whole.items()}
    for corpus, other in combinations(digests, 2):
        common = np.intersect1d(distinct[corpus], distinct[other], assume_unique=True)
        if len(common):
            shared = np.isin(whole[corpus], common)
            yield SharedTexts(
                corpus,
                other,
                len(common),
                int(shared.sum()),
                int(np.isin(whole[other], common).sum()),
                tuple(_places(digests[corpus], np.flatnonzero(shared)[:EXAMPLES])),
            )


def shared_with_any(
    digests: Mapping[str, Mapping[int, Hashes]], corpus: str, others: Sequence[str]
) -> int:
    """How many texts of a corpus stand in at least one of the others."""
    elsewhere = [_concatenated(digests[other]) for other in others]
    if not elsewhere:
        return 0
    return int(np.isin(_concatenated(digests[corpus]), np.concatenate(elsewhere)).sum())


def read_texts(
    files: Sequence[Path], column: Column, places: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, str]]:
    """Id and text of some rows."""
    for part, row in places:
        table = pq.read_table(files[part], columns=["id", column.name]).slice(row, 1)
        yield table["id"][0].as_py(), table[column.name][0].as_py()


def _concatenated(parts: Mapping[int, Hashes]) -> Hashes:
    empty = np.zeros(0, np.uint64)
    return np.concatenate([empty, *(parts[number] for number in sorted(parts))])


def _places(parts: Mapping[int, Hashes], rows: Ints) -> Iterator[tuple[int, int]]:
    numbers = sorted(parts)
    ends = np.cumsum([len(parts[number]) for number in numbers])
    for row in rows.tolist():
        at = int(np.searchsorted(ends, row, side="right"))
        yield numbers[at], row - int(ends[at]) + len(parts[numbers[at]])
