"""Pieces of a shard: so many passages as one task embeds, left for the shard to be put together.

A piece is small enough that its texts, vectors and postings are held in memory, and that little is
lost with a task that is killed. Invariant: a piece's content depends on its rows alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.retrieval.bm25 import make_postings
from ccx_ray.frequency.retrieval.embedding.interface import Embedder
from ccx_ray.frequency.retrieval.embedding.ngram import NgramEmbedder
from ccx_ray.frequency.retrieval.embedding.signatures import make_signatures, signature_bits
from ccx_ray.frequency.retrieval.index_files import NGRAM_BITS, NGRAM_NORMS, PASSAGES
from ccx_ray.frequency.text.corpus_rows import CorpusRows
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.passages import cut_passages
from ccx_ray.storage.publishing import writing_aside

PIECE_PASSAGES = 16_384
TEXTS_AT_ONCE = 256
PIECE_VECTORS = "vectors.npy"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Consecutive documents and how many passages they have."""

    first: int
    end: int
    passages: int


def cut_rows(passages: NDArray[np.int64], rows: Rows, most: int) -> Iterator[Rows]:
    """Cut documents into runs of at most so many passages; a larger document is a run of its own.

    Args:
        passages: of every document of the corpus.
    """
    totals = np.cumsum(passages[rows.first : rows.end])
    start, done = 0, 0
    while start < len(totals):
        stop = max(start + 1, int(np.searchsorted(totals, done + most, side="right")))
        count = int(totals[stop - 1]) - done
        yield Rows(first=rows.first + start, end=rows.first + stop, passages=count)
        start, done = stop, int(totals[stop - 1])


def write_piece(
    corpus: CorpusRows,
    rows: Rows,
    embedder: Embedder,
    folder: Path,
    *,
    limit: int,
    average_terms: float,
) -> dict[str, Any]:
    """Cut, embed and count the passages of some documents."""
    spans, texts = [], []
    for row, text in corpus.texts(rows.first, rows.end):
        for start, length in cut_passages(text, limit):
            spans.append((row - rows.first, start, length))
            texts.append(text[start : start + length])
    normalized = [normalize(text) for text in texts]
    with writing_aside(folder) as made:
        made.mkdir()
        np.save(made / PASSAGES, np.array(spans, np.int32).reshape(-1, 3))
        if isinstance(embedder, NgramEmbedder):
            vectors, signatures = [], []
            bits = signature_bits(embedder.average_ngrams)
            for start in range(0, max(1, len(normalized)), TEXTS_AT_ONCE):  # also of no texts
                weighted, lengths = embedder.weigh(normalized[start : start + TEXTS_AT_ONCE])
                vectors.append(embedder.project(weighted))
                signatures.append(make_signatures(weighted, lengths, bits))
            np.save(made / PIECE_VECTORS, np.concatenate(vectors))
            np.save(made / NGRAM_BITS, np.concatenate([some.bits for some in signatures]))
            np.save(made / NGRAM_NORMS, np.concatenate([some.norms for some in signatures]))
        else:
            np.save(made / PIECE_VECTORS, embedder.embed(texts))
        make_postings(normalized, average_terms=average_terms).save(made)
    return {"passages": len(spans), "cut_passages": embedder.cut_texts}
