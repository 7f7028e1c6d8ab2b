"""Queries against one built index: how fast, and what of an exact search they find.

An exact search is the same pipeline with every vector compared. The vectors are those that the
build left in its working folder.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from frequency_text import questions
from numpy.typing import NDArray

from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex, Hit
from ccx_ray.frequency.retrieval.index_building import PIECE_VECTORS
from ccx_ray.orchestration.step_folders import WORK
from ccx_ray.study.frequency_spec import RetrieverName

RETRIEVERS: tuple[RetrieverName, ...] = ("vectors", "bm25", "hybrid")
TOP = 50


@dataclass(frozen=True, kw_only=True)
class Queries:
    """What is asked of which index."""

    folder: str
    single: int = 100
    batch: int = 256
    exact: int = 100


class ExactVectors:
    """Every vector of a shard compared with every query."""

    def __init__(self, folder: Path) -> None:
        self._blocks = [
            np.load(path, mmap_mode="r") for path in sorted(folder.glob(f"*/{PIECE_VECTORS}"))
        ]

    def search(
        self, queries: NDArray[np.float32], wanted: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The best passages of every query, unordered."""
        scores = np.concatenate([queries @ block.T for block in self._blocks], axis=1)
        best = np.argpartition(-scores, min(wanted, scores.shape[1]) - 1, axis=1)[:, :wanted]
        return np.take_along_axis(scores, best, axis=1), best


def exact_search(folder: Path, asked: Sequence[str], retriever: RetrieverName) -> list[list[Hit]]:
    """The hits of the same pipeline over exact vectors."""
    index = CorpusIndex(folder)
    for shard in index._shards:
        exact = ExactVectors(folder / WORK / shard._folder.name)
        shard.__dict__["_vectors"] = exact  # where the cached property would keep its own
    return [index.search([query], TOP, retriever)[0] for query in asked]


def recall(found: Sequence[Sequence[Hit]], exact: Sequence[Sequence[Hit]]) -> float:
    """The share of the exact search's documents that were found."""
    shared = total = 0
    for some, all_of_them in zip(found, exact, strict=True):
        rows = {hit.document for hit in all_of_them}
        shared += len(rows & {hit.document for hit in some})
        total += len(rows)
    return shared / max(1, total)


def measure(queries: Queries) -> dict[str, Any]:
    """Seconds and recall of every retriever."""
    folder = Path(queries.folder)
    asked = questions(queries.single + queries.batch)
    warm, single = asked[queries.single :], asked[: queries.single]
    result: dict[str, Any] = {}
    began = time.perf_counter()
    index = CorpusIndex(folder)
    index.search(single[:1], TOP, "hybrid")
    result["open_and_first_seconds"] = time.perf_counter() - began
    for retriever in RETRIEVERS:
        index.search(warm[:64], TOP, retriever)  # what is mapped is read
        seconds, hits = zip(*(_timed(index, query, retriever) for query in single), strict=True)
        began = time.perf_counter()
        index.search(warm, TOP, retriever)
        batch = time.perf_counter() - began
        figures = {
            "milliseconds": 1000 * median(seconds),
            "milliseconds_95": 1000 * float(np.quantile(seconds, 0.95)),
            "batch_per_second": len(warm) / batch,
        }
        if retriever != "bm25":
            exact = exact_search(folder, single[: queries.exact], retriever)
            figures["recall"] = recall(hits[: queries.exact], exact)
        result[retriever] = figures
    return result


def _timed(index: CorpusIndex, query: str, retriever: RetrieverName) -> tuple[float, list[Hit]]:
    began = time.perf_counter()
    (hits,) = index.search([query], TOP, retriever)
    return time.perf_counter() - began, hits


def main() -> None:
    """Measure as the JSON file says and write the figures."""
    queries = Queries(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    result = {**measure(queries), "load": os.getloadavg()[0]}
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")


if __name__ == "__main__":
    main()
