"""The interface of embedders."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """What turns texts into unit vectors.

    Invariant: a text's vector depends on the text and the embedder alone, not on the texts beside
    it, up to the rounding of a model's matrix products.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text would get another vector."""
        ...

    @property
    def cut_texts(self) -> int:
        """Texts so far that were longer than the embedder's context and were cut and pooled."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors ``[texts, dimensions]`` of length one; zero for a text that has none."""
        ...


def unit_rows(vectors: Vectors) -> Vectors:
    """Rows of length one; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
