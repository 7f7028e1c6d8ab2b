"""Texts that are longer than a model's context: cut into windows, pooled over all of them.

Models cut what is too long and say nothing. A Tibetan passage of 1,000 characters has several
thousand tokens, so most of it would be unsearchable.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.retrieval.embedding.interface import Vectors
from ccx_ray.frequency.text.passages import cut_passages


class Windows(NamedTuple):
    """Pieces of texts, in their order."""

    texts: list[str]
    owners: NDArray[np.int64]
    """``[windows]``, the place of the text that each is of."""
    tokens: NDArray[np.int64]
    """``[windows]``."""


def cut_windows(
    texts: Sequence[str], count_tokens: Callable[[Sequence[str]], Sequence[int]], most: int
) -> Windows:
    """Cut texts at the ends of sentences or words until every piece has at most so many tokens.

    A piece of one character is left as it is, however many tokens that takes.
    """
    done: list[tuple[int, int, str, int]] = []
    waiting = [(owner, 0, text) for owner, text in enumerate(texts)]
    while waiting:
        counts = count_tokens([text for _, _, text in waiting])
        longer: list[tuple[int, int, str]] = []
        for (owner, start, text), tokens in zip(waiting, counts, strict=True):
            if tokens <= most or len(text) < 2:
                done.append((owner, start, text, tokens))
                continue
            # A little shorter than the average tells, for tokens are not spread evenly.
            limit = max(1, min(len(text) - 1, int(0.9 * len(text) * most / tokens)))
            longer.extend(
                (owner, start + at, text[at : at + length])
                for at, length in cut_passages(text, limit)
            )
        waiting = longer
    done.sort(key=lambda piece: piece[:2])
    return Windows(
        [text for _, _, text, _ in done],
        np.array([owner for owner, _, _, _ in done], np.int64),
        np.array([tokens for _, _, _, tokens in done], np.int64),
    )


def pool_windows(vectors: Vectors, windows: Windows, texts: int) -> Vectors:
    """The mean of every text's windows, weighted by their tokens: ``[texts, dimensions]``."""
    pooled = np.zeros((texts, vectors.shape[1]), np.float64)
    np.add.at(pooled, windows.owners, vectors * windows.tokens[:, None])
    totals = np.bincount(windows.owners, windows.tokens, texts)
    return (pooled / np.maximum(totals, 1)[:, None]).astype(np.float32)
