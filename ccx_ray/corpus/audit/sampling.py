"""A seeded sample: the texts whose seeded hash of the id is smallest.

Invariant: which texts are drawn depends on the seed and the ids alone, not on their order, nor on
the parts in which they stand.
"""

import heapq
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


def draw(
    drawn: list[Sampled], rows: pa.RecordBatch, columns: list[str], *, size: int, seed: int
) -> list[Sampled]:
    """What is drawn of earlier rows and these together: at most ``size``, sorted."""
    ids = rows["id"].to_pylist()
    keys = [sample_key(seed, id_) for id_ in ids]
    worst = drawn[-1].key if len(drawn) >= size else b"\xff" * 9
    candidates = [i for i, key in enumerate(keys) if key < worst]
    candidates = heapq.nsmallest(size, candidates, key=lambda i: (keys[i], ids[i]))
    new = []
    for i in candidates:
        texts = [rows[column][i].as_py() for column in columns]
        shown = tuple(text[:SHOWN_CHARACTERS] for text in texts)
        source = rows["source"][i].as_py() or ""
        new.append(Sampled(keys[i], ids[i], source, shown, tuple(map(len, texts))))
    return merge_drawn(drawn, new, size)


def merge_drawn(one: list[Sampled], other: list[Sampled], size: int) -> list[Sampled]:
    """The sample of two parts together."""
    return sorted([*one, *other])[:size]
