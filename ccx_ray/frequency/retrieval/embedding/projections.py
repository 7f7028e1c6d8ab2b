"""From the n-gram features to few dimensions: at random, or onto singular vectors of a sample.

Fitted vectors alone are better in a corpus of 4,000 passages (108 of 129 documents that the judge
accepts, at random 90) and worse in a large one: of statements planted in 100,000 documents they
found 47 %, random ones 83 %. Leading singular vectors keep what is common; a question asks for what
is rare.

Invariant: a projection is a function of its seed and of the sample alone.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ccx_ray.frequency.retrieval.embedding.ngrams import FEATURES

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NONZEROS = 8
"""Of the random projection in each row (sparse Johnson-Lindenstrauss, Kane and Nelson 2014)."""


def random_projection(dimensions: int, seed: int) -> "csr_matrix":
    """``[FEATURES, dimensions]``, float32: signs at random places."""
    from scipy.sparse import csr_matrix

    generator = np.random.default_rng(seed)
    columns = generator.integers(dimensions, size=FEATURES * NONZEROS, dtype=np.int32)
    signs = generator.choice(np.array([-1, 1], dtype=np.float32), size=FEATURES * NONZEROS)
    ends = np.arange(0, FEATURES * NONZEROS + 1, NONZEROS)
    return csr_matrix((signs, columns, ends), shape=(FEATURES, dimensions))


def fitted_projection(weighted: "csr_matrix", dimensions: int, seed: int) -> Any:
    """``[FEATURES, dimensions]``, float16: the leading right singular vectors of the sample.

    A sample of fewer passages than dimensions has fewer singular vectors; the rest is zero.

    Args:
        weighted: ``[passages, FEATURES]``, unit rows of a sample.
    """
    from sklearn.decomposition import TruncatedSVD

    projection = np.zeros((FEATURES, dimensions), np.float16)
    rank = min(dimensions, weighted.shape[0] - 1)
    if rank > 0:
        solver = TruncatedSVD(rank, n_iter=2, random_state=seed)
        projection[:, :rank] = solver.fit(weighted).components_.T
    return projection
