"""The heaviest n-grams of every passage, so that a shortlist is put in order without its texts.

A passage of 1,000 characters has about 1,300 different n-grams; the heaviest few hundred carry
nearly all of a cosine with a question. Each is one number of 32 bits: 14 of weight, 18 of feature.
Rereading and recounting the 2,000 passages of a shortlist took 0.5 s a question.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.embedding.ngrams import FEATURE_BITS, FEATURES

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KEPT = 2048
"""N-grams of a passage."""
LARGEST_WEIGHT = 2 ** (32 - FEATURE_BITS) - 1
Packed = NDArray[np.uint32]


def pack_weights(weighted: "csr_matrix") -> Packed:
    """``[passages, KEPT]``: the heaviest n-grams, ties by feature; zero where there are fewer.

    Args:
        weighted: unit rows ``[passages, FEATURES]``.
    """
    levels = np.rint(weighted.data * LARGEST_WEIGHT).astype(np.uint32)
    entries = levels << np.uint32(FEATURE_BITS) | weighted.indices.astype(np.uint32)
    packed = np.zeros((weighted.shape[0], KEPT), np.uint32)
    for row, (start, end) in enumerate(zip(weighted.indptr, weighted.indptr[1:], strict=False)):
        own = entries[start:end]
        if len(own) > KEPT:
            own = np.sort(np.partition(own, len(own) - KEPT)[-KEPT:])
        packed[row, : len(own)] = own
    return packed


def score_packed(query: NDArray[np.float32], packed: Packed) -> NDArray[np.float32]:
    """The cosine of a query with every passage.

    Args:
        query: ``[FEATURES]``, of length one.
        packed: ``[passages, KEPT]``.
    """
    weights = query[packed & np.uint32(FEATURES - 1)]
    weights *= packed >> np.uint32(FEATURE_BITS)
    scores: NDArray[np.float32] = weights.sum(axis=1, dtype=np.float32)
    return scores / np.float32(LARGEST_WEIGHT)
