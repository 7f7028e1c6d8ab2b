"""FAISS indexes over a shard's vectors: the choice of a type, building, searching.

Invariant: the same vectors make the same file. So training is seeded, and one thread builds; the
shards are what runs side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ccx_ray.errors import UserError
from ccx_ray.study.frequency_spec import IndexType

FLAT_UP_TO = 50_000
"""Passages of a shard that are compared one by one in a few milliseconds."""
TRAINABLE = 10_000
"""Vectors, from which FAISS finds centroids without a warning."""
LISTS, PROBED = 64, 48
"""Of IVF-PQ. Projections of n-grams have hardly any clusters, so probing few lists loses much: of
121,000 passages a half of the lists found 0.88 of what all lists found 0.92 of; an eighth, with
parts of 4 numbers in 8 bits, 0.54. With a number in 4 bits FAISS reads 100,000 in 1.3 ms."""
OVERSAMPLED = 1.5
"""Passages taken from quantised vectors for each that is wanted: some fall short by rounding."""
NEIGHBOURS, CONSTRUCTION = 32, 80
TRAINED = 16_384
SEED = 0


@dataclass(frozen=True, kw_only=True)
class IndexChoice:
    """An index type with its parameters, and why it was chosen."""

    type: IndexType
    reason: str
    parameters: dict[str, int]


def choose_index(
    requested: Literal["auto"] | IndexType, *, passages: int, dimensions: int
) -> IndexChoice:
    """The index of a shard.

    Raises:
        UserError: the vectors cannot be cut into parts as IVF-PQ needs.
    """
    parts = _parts(dimensions)
    if requested == "ivfpq" and not parts:
        raise UserError(
            f"frequency.index: ivfpq cannot split {dimensions} dimensions into equal parts; "
            "give hnsw, or an embedder with 256 dimensions"
        )
    chosen: IndexType = "ivfpq" if requested == "auto" else requested
    if chosen != "ivfpq":
        reason = "requested"
    elif requested == "auto" and passages <= FLAT_UP_TO:
        chosen = "flat"
        reason = f"{passages:,} passages, compared one by one up to {FLAT_UP_TO:,}"
    elif passages < TRAINABLE:
        chosen = "flat"
        reason = f"ivfpq was requested, but needs {TRAINABLE:,} passages, not {passages:,}"
    elif not parts:
        chosen = "hnsw"
        reason = f"{passages:,} passages of {dimensions} dimensions, which ivfpq cannot split"
    else:
        reason = "requested" if requested == "ivfpq" else f"{passages:,} passages"
    parameters: dict[IndexType, dict[str, int]] = {
        "flat": {},
        "hnsw": {"neighbours": NEIGHBOURS, "construction": CONSTRUCTION},
        "ivfpq": {"lists": LISTS, "probed": PROBED, "parts": parts, "bits": 4},
    }
    return IndexChoice(type=chosen, reason=reason, parameters=parameters[chosen])


def _parts(dimensions: int) -> int:
    """The most parts up to 512 that a vector is cut into; 0 if they would be of over 8 numbers."""
    parts = max(part for part in range(1, 513) if dimensions % part == 0)
    return parts if 8 * parts >= dimensions else 0


def _faiss() -> Any:
    """Its stubs lack half of it."""
    return import_module("faiss")


def write_vectors(
    choice: IndexChoice, blocks: Sequence[NDArray[np.float32]], dimensions: int, path: Path
) -> None:
    """Build the index over blocks of vectors, ``[passages, dimensions]`` each, and write it."""
    faiss = _faiss()
    faiss.omp_set_num_threads(1)
    chosen = choice.parameters
    if choice.type == "flat":
        index = faiss.IndexFlatIP(dimensions)
    elif choice.type == "hnsw":
        index = faiss.IndexHNSWFlat(dimensions, chosen["neighbours"], faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = chosen["construction"]
    else:
        quantizer = faiss.IndexFlatIP(dimensions)
        sizes = (dimensions, chosen["lists"], chosen["parts"], chosen["bits"])
        index = faiss.IndexIVFPQFastScan(quantizer, *sizes, faiss.METRIC_INNER_PRODUCT)
        index.own_fields = True
        quantizer.this.disown()
        index.cp.seed = index.pq.cp.seed = SEED
        index.train(_sample(blocks, TRAINED))
    for block in blocks:
        index.add(np.ascontiguousarray(block))
    faiss.write_index(index, str(path))


def _sample(blocks: Sequence[NDArray[np.float32]], wanted: int) -> NDArray[np.float32]:
    """Every n-th vector, so that the sample is spread over the shard."""
    step = max(1, sum(map(len, blocks)) // wanted)
    firsts = np.cumsum([0, *map(len, blocks)])
    parts = zip(firsts, blocks, strict=False)
    return np.concatenate([block[-first % step :: step] for first, block in parts])


class VectorIndex:
    """A written index, mapped for searching."""

    def __init__(self, path: Path, kind: IndexType, parameters: Mapping[str, int]) -> None:
        faiss = _faiss()
        flags = faiss.IO_FLAG_MMAP if kind == "ivfpq" else faiss.IO_FLAG_MMAP_IFC
        self._index = faiss.read_index(str(path), flags)
        self._kind, self._parameters = kind, parameters

    def search(
        self, queries: NDArray[np.float32], wanted: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and passages ``[queries, wanted]``; passage -1 where there are no more."""
        faiss = _faiss()
        parameters = None
        if self._kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=max(wanted, 64))
        elif self._kind == "ivfpq":
            parameters = faiss.SearchParametersIVF(nprobe=self._parameters["probed"])
        scores, passages = self._index.search(queries, wanted, params=parameters)
        return scores, passages
