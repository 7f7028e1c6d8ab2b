"""What retrieval finds of the documents whose n-grams are most like a query's, all compared.

The cosine of TF-IDF over every n-gram of every passage: what vectors and signatures stand for. It
counts a corpus again in a stream, so it is for few queries.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from frequency_queries import RETRIEVERS, TOP
from frequency_text import questions

from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.retrieval.embedding.ngram import NgramEmbedder
from ccx_ray.frequency.text.corpus_rows import CorpusRows
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.passages import cut_passages
from ccx_ray.study.frequency_spec import NgramEmbedderSpec

PASSAGES_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True)
class Exhaustive:
    """Which index of which text."""

    text: str
    folder: str
    queries: int = 20


def closest_documents(exhaustive: Exhaustive, asked: list[str]) -> list[set[int]]:
    """Of every query the documents with the most alike passages."""
    embedder = NgramEmbedder.load(NgramEmbedderSpec(), Path(exhaustive.folder))
    queries = embedder.weigh([normalize(query) for query in asked])[0]
    rows = CorpusRows(Path(exhaustive.text))
    best = np.full((rows.documents, len(asked)), -1, np.float32)
    owners: list[int] = []
    texts: list[str] = []

    def compare() -> None:
        if texts:
            scores = (embedder.weigh(texts)[0] @ queries.T).toarray()
            np.maximum.at(best, owners, scores)
            owners.clear()
            texts.clear()

    for row, text in rows.texts(0, rows.documents):
        for start, length in cut_passages(text, 1000):
            owners.append(row)
            texts.append(normalize(text[start : start + length]))
        if len(texts) >= PASSAGES_AT_ONCE:
            compare()
    compare()
    return [set(np.argsort(-scores, kind="stable")[:TOP].tolist()) for scores in best.T]


def main() -> None:
    """Compare as the JSON file says and write the shares."""
    exhaustive = Exhaustive(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    asked = questions(exhaustive.queries)
    closest = closest_documents(exhaustive, asked)
    index = CorpusIndex(Path(exhaustive.folder))
    shares = {}
    for retriever in RETRIEVERS:
        found = [{hit.document for hit in hits} for hits in index.search(asked, TOP, retriever)]
        shared = [len(a & b) for a, b in zip(found, closest, strict=True)]
        shares[retriever] = sum(shared) / (TOP * len(asked))
    Path(sys.argv[2]).write_text(json.dumps(shares), "utf-8")


if __name__ == "__main__":
    main()
