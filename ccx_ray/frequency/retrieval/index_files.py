"""Files of an index folder.

::

    index.json              what was built, of what, by which embedder; see ``IndexDescription``
    ngram-frequencies.npy   the n-gram embedder's state; ngram-projection.npy if it was fitted
    shard-00000/            passages of consecutive documents
        passages.npy        int32 [passages, 3]: document (after the shard's first), start, length
        vectors.faiss       row i is passage i
        ngram-bits.npy      uint8 [passages, bits / 8], and
        ngram-norms.npy     float32 [passages, 2]: see ``signatures``; n-gram embedder only
        bm25-*.npy          see ``bm25.Postings``

Invariant: passages stand in the order of the documents, and a document's in one shard.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.frequency_spec import IndexType

DESCRIPTION = "index.json"
PASSAGES, VECTORS = "passages.npy", "vectors.faiss"
NGRAM_BITS, NGRAM_NORMS = "ngram-bits.npy", "ngram-norms.npy"


@dataclass(frozen=True, kw_only=True)
class ShardDescription:
    """One shard: its passages and its FAISS index."""

    name: str
    first_document: int
    documents: int
    passages: int
    index: IndexType
    reason: str
    """Why this type of index."""
    parameters: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class IndexDescription:
    """The content of ``index.json``."""

    embedder: dict[str, Any]
    """Its settings in the study file."""
    fingerprint: str
    """Of the embedder."""
    dimensions: int
    documents: int
    passages: int
    passage_characters: int
    sampled_passages: int
    """Of which the inverse frequencies of n-grams and the average length were taken."""
    cut_passages: int
    """Longer than the embedder's context, so embedded in windows."""
    average_terms: float
    """Of a sampled passage; BM25 norms lengths by it."""
    shards: list[ShardDescription]

    def publish(self, folder: Path) -> None:
        publish_json(folder / DESCRIPTION, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "IndexDescription":
        content = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        shards = [ShardDescription(**shard) for shard in content.pop("shards")]
        return cls(**content, shards=shards)


def mapped(path: Path) -> Any:
    """An array in a file, read where it is looked at; a plain one, because numpy's own type for it
    takes five times as long to slice."""
    return np.asarray(np.load(path, mmap_mode="r"))
