"""Bit signatures of a passage's n-grams, which put a shortlist in order without its texts.

A passage of 1,000 characters has about 1,300 different n-grams and no few of them stand for the
rest: most occur once in a corpus, all of them weigh the same, and a question may ask for any. So
all are kept, each as one bit of a signature; what falls on the same bit by chance is subtracted on
average. On the collected text the heaviest 256 n-grams (1 KiB a passage) found 99 of the 128
documents that the judge accepts, 1,024 of them (4 KiB) 111, a signature of 2**14 bits (2 KiB) 113,
and the exact cosine 116. Reading and counting the texts of a shortlist again took 0.5 s a question.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BITS_OF_AN_NGRAM = 12
LEAST_BITS, MOST_BITS = 2**9, 2**14


class Signatures(NamedTuple):
    """Of some passages, in memory or mapped."""

    bits: NDArray[np.uint8]
    """``[passages, bits / 8]``."""
    norms: NDArray[np.float32]
    """``[passages, 2]``: length of the weights' vector, share of bits that are set."""


def signature_bits(ngrams: float) -> int:
    """How many bits a signature should have: a power of two.

    Args:
        ngrams: different ones in an average passage of the corpus.
    """
    wanted = max(1, round(BITS_OF_AN_NGRAM * ngrams))
    return min(MOST_BITS, max(LEAST_BITS, 1 << (wanted - 1).bit_length()))


def make_signatures(counts: "csr_matrix", lengths: NDArray[np.float32], bits: int) -> Signatures:
    """The signatures of passages.

    Args:
        counts: ``[passages, FEATURES]``.
        lengths: of the passages' weights before they were made unit rows.
    """
    present = np.zeros((counts.shape[0], bits), np.bool_)
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    present[rows, counts.indices & (bits - 1)] = True
    shares = present.mean(axis=1, dtype=np.float32)
    return Signatures(
        np.packbits(present, axis=1, bitorder="little"), np.stack([lengths, shares], axis=1)
    )


def score_signatures(
    features: NDArray[np.int32], weights: NDArray[np.float32], passages: Signatures
) -> NDArray[np.float32]:
    """The cosine of a query with every passage, as far as the bits tell.

    Args:
        features: of the query.
        weights: what a passage of length one that has the feature once gets for it.
    """
    places = features & (8 * passages.bits.shape[1] - 1)
    masks = np.uint8(1) << (places & 7).astype(np.uint8)
    held = np.take(passages.bits, places >> 3, axis=1) & masks
    lengths, shares = passages.norms.T
    by_chance = shares * weights.sum()
    possible = np.maximum(1 - shares, np.float32(1e-3)) * np.maximum(lengths, np.float32(1e-9))
    scores: NDArray[np.float32] = ((held != 0).astype(np.float32) @ weights - by_chance) / possible
    return scores
