"""The vectors of texts: ``[texts, dimensions]``, of length one."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def unit_rows(vectors: Vectors) -> Vectors:
    """Rows of length one; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
