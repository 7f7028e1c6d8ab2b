"""A seeded sample: the texts whose seeded hash of the id is smallest.

Invariant: which texts are drawn depends on the seed and the ids alone, not on their order, nor on
the parts in which they stand.
"""

import heapq
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import pyarrow as pa

SHOWN_CHARACTERS = 4_000
"""Of each text, so that a page can be opened in a browser."""


class Sampled(NamedTuple):
    """One drawn document or pair."""

    key: bytes
    """The hash that decides."""
    id: str
    source: str
    texts: tuple[str, ...]
    """The beginning of each of its sides."""
    characters: tuple[int, ...]
    """The whole length of each."""


def sample_key(seed: int, id_: str) -> bytes:
    """8 bytes that decide who is drawn."""
    return blake2b(f"{seed}:{id_}".encode(), digest_size=8).digest()


def draw(rows: pa.RecordBatch, columns: Sequence[str], *, size: int, seed: int) -> list[Sampled]:
    """At most ``size`` of some rows."""
    ids = rows["id"].to_pylist()
    keys = [sample_key(seed, id_) for id_ in ids]
    drawn = []
    for i in heapq.nsmallest(size, range(len(ids)), key=lambda i: (keys[i], ids[i])):
        texts = [rows[column][i].as_py() for column in columns]
        shown = tuple(text[:SHOWN_CHARACTERS] for text in texts)
        source = rows["source"][i].as_py() or ""
        drawn.append(Sampled(keys[i], ids[i], source, shown, tuple(map(len, texts))))
    return drawn
