"""Building the index of a corpus, out of core: count, embed pieces, assemble shards.

Every stage is tasks of ``run_tasks``, so that it runs on Ray in a study and in this process in a
test. A piece is so many passages as one task embeds: small enough that its texts, vectors and
postings are held in memory, and that little is lost with a task that is killed; no task holds all
texts or all vectors. Invariant: what is written depends on the text, the spec and the embedder, not
on who ran which task, how often it was killed, or what ran beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.retrieval.bm25 import Postings, make_postings, merge_postings
from ccx_ray.frequency.retrieval.embedding.factory import open_embedder
from ccx_ray.frequency.retrieval.embedding.interface import Embedder
from ccx_ray.frequency.retrieval.embedding.ngram import NgramEmbedder
from ccx_ray.frequency.retrieval.embedding.signatures import make_signatures, signature_bits
from ccx_ray.frequency.retrieval.index_files import (
    NGRAM_BITS,
    NGRAM_NORMS,
    PASSAGES,
    VECTORS,
    IndexDescription,
    ShardDescription,
)
from ccx_ray.frequency.retrieval.index_types import choose_index, write_vectors
from ccx_ray.frequency.retrieval.passage_counting import (
    CorpusCounts,
    count_passages,
    ngram_embedder,
)
from ccx_ray.frequency.text.documents import CorpusRows
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.passages import cut_passages
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import writing_aside
from ccx_ray.study.frequency_spec import EmbedderSpec, FrequencySpec, NgramEmbedderSpec

PIECE_PASSAGES = 16_384
TEXTS_AT_ONCE = 256
PIECE_VECTORS = "vectors.npy"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Consecutive documents and how many passages they have."""

    first: int
    end: int
    passages: int


@dataclass(frozen=True, kw_only=True)
class _Shard:
    name: str
    rows: Rows
    pieces: list[tuple[Rows, Path]]


def build_index(
    spec: FrequencySpec,
    embedder: EmbedderSpec,
    *,
    text_folder: Path,
    folder: Path,
    model_folder: Path | None,
    run_tasks: RunTasks,
) -> dict[str, Any]:
    """Index the monolingual documents of a corpus for ``retrieval.CorpusIndex``.

    Args:
        spec: passage length, index type and shard size count here.
        text_folder: holds ``documents/*.parquet`` with a column ``text``.
        folder: of the step; what is finished in it is not done again.
        model_folder: where the embedder's model lies, if not where its settings say.
        run_tasks: on whatever runs them.

    Returns:
        Counts of documents, passages, shards, and bytes of the index.

    Raises:
        UserError: the embedder's folder is not what it should be, or the index type does not suit
            its dimensions.
    """
    corpus = CorpusRows(text_folder)
    limit = spec.passage_characters
    log = WorkLog(folder, "passages")
    ngrams = isinstance(embedder, NgramEmbedderSpec)
    fitted = isinstance(embedder, NgramEmbedderSpec) and embedder.projection == "fitted"
    counts = count_passages(
        corpus, log, limit=limit, ngrams=ngrams, fit=fitted, run_tasks=run_tasks
    )

    def fit(_: int) -> dict[str, Any]:
        if isinstance(embedder, NgramEmbedderSpec):
            ngram_embedder(embedder, counts).save(folder)
        opened = open_embedder(embedder, state_folder=folder, model_folder=model_folder)
        return {"fingerprint": opened.fingerprint, "dimensions": opened.dimensions}

    (state,) = run_tasks(WorkLog(folder, "embedder"), 1, fit)
    shards = _plan(counts, spec.shard_passages, log.scratch)
    pieces = [piece for shard in shards for piece in shard.pieces]

    def embed(number: int) -> dict[str, Any]:
        rows, place = pieces[number]
        opened = open_embedder(embedder, state_folder=folder, model_folder=model_folder)
        return write_piece(
            corpus, rows, opened, place, limit=limit, average_terms=counts.average_terms
        )

    embedded = run_tasks(WorkLog(folder, "pieces"), len(pieces), embed)
    cut = sum(piece["cut_passages"] for piece in embedded)

    def assemble(number: int) -> dict[str, Any]:
        return _assemble(shards[number], spec, state["dimensions"], folder)

    described = run_tasks(WorkLog(folder, "shards"), len(shards), assemble)
    IndexDescription(
        embedder=embedder.model_dump(),
        fingerprint=state["fingerprint"],
        dimensions=state["dimensions"],
        documents=counts.documents,
        passages=counts.passages,
        passage_characters=limit,
        sampled_passages=counts.sampled,
        cut_passages=cut,
        average_terms=counts.average_terms,
        shards=[ShardDescription(**shard) for shard in described],
    ).publish(folder)
    return {
        "documents": counts.documents,
        "passages": counts.passages,
        "cut_passages": cut,
        "shards": len(shards),
        "bytes": sum(
            file.stat().st_size for shard in shards for file in (folder / shard.name).iterdir()
        ),
    }


def _plan(counts: CorpusCounts, most: int, scratch: Path) -> list[_Shard]:
    """Shards of at most so many passages, each in pieces; a shard without passages is none."""
    passages = counts.passages_of_documents()
    everything = Rows(first=0, end=counts.documents, passages=counts.passages)
    shards: list[_Shard] = []
    for rows in cut_rows(passages, everything, most):
        if not rows.passages:
            continue
        name = f"shard-{len(shards):05d}"
        pieces = list(cut_rows(passages, rows, PIECE_PASSAGES))
        places = [scratch / name / f"{number:05d}" for number in range(len(pieces))]
        shards.append(_Shard(name=name, rows=rows, pieces=list(zip(pieces, places, strict=True))))
    return shards


def _assemble(shard: _Shard, spec: FrequencySpec, dimensions: int, folder: Path) -> dict[str, Any]:
    choice = choose_index(spec.index, passages=shard.rows.passages, dimensions=dimensions)
    with writing_aside(folder / shard.name) as made:
        made.mkdir()
        rows = [rows for rows, _ in shard.pieces]
        places = [place for _, place in shard.pieces]
        passages = [np.load(place / PASSAGES) for place in places]
        for one, own in zip(rows, passages, strict=True):
            own[:, 0] += one.first - shard.rows.first
        np.save(made / PASSAGES, np.concatenate(passages))
        for name in (NGRAM_BITS, NGRAM_NORMS):
            if (places[0] / name).exists():
                _join([place / name for place in places], made / name)
        vectors = [np.load(place / PIECE_VECTORS, mmap_mode="r") for place in places]
        write_vectors(choice, vectors, dimensions, made / VECTORS)
        firsts = np.cumsum([0, *(one.passages for one in rows)])
        postings = [Postings.open(place) for place in places]
        merge_postings(list(zip(postings, map(int, firsts), strict=False)), made)
    return {
        "name": shard.name,
        "first_document": shard.rows.first,
        "documents": shard.rows.end - shard.rows.first,
        "passages": shard.rows.passages,
        "index": choice.type,
        "reason": choice.reason,
        "parameters": choice.parameters,
    }


def _join(parts: Sequence[Path], path: Path) -> None:
    """Arrays one below the other, mapped."""
    arrays = [np.load(part, mmap_mode="r") for part in parts]
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    joined = np.lib.format.open_memmap(path, "w+", arrays[0].dtype, shape)
    start = 0
    for array in arrays:
        joined[start : start + len(array)] = array
        start += len(array)
    joined.flush()


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
