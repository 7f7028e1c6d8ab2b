"""Building the index of a corpus, out of core: count, embed pieces, assemble shards.

Every stage is tasks of ``run_tasks``, so that it runs on Ray in a study and in this process in a
test. Inverse frequencies must be known before the first vector; counting them over everything would
read and hash a large corpus twice, so they are those of a sample, which is all of a corpus of up to
``SAMPLE_BYTES``. A piece is so many passages as one task embeds: small enough that its texts,
vectors and postings are held in memory, and that little is lost with a task that is killed; no task
holds all texts or all vectors.

Invariants: what is written depends on the text, the spec and the embedder, not on who ran which
task, how often it was killed, or what ran beside it; whether a passage is in the sample depends on
its document's row and its place there. Passages stand in the order of the documents, and a
document's in one shard.

::

    index.json              what was built, of what, by which embedder; see ``build_index``
    ngram-frequencies.npy   the n-gram embedder's state; ngram-projection.npy if it was fitted
    shard-00000/            passages of consecutive documents
        passages.npy        int32 [passages, 3]: document (after the shard's first), start, length
        vectors.faiss       row i is passage i
        ngram-bits.npy      uint8 [passages, bits / 8], and
        ngram-norms.npy     float32 [passages, 2]: see ``Signatures``; n-gram embedder only
        bm25-*.npy          see ``bm25.Postings``
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.retrieval.bm25 import (
    Postings,
    count_terms,
    make_postings,
    merge_postings,
)
from ccx_ray.frequency.retrieval.embedders import Embedder, open_embedder
from ccx_ray.frequency.retrieval.index_types import choose_index, write_vectors
from ccx_ray.frequency.retrieval.ngram_embedder import (
    FEATURES,
    NgramEmbedder,
    count_ngrams,
    make_signatures,
    signature_bits,
)
from ccx_ray.frequency.text.documents import CorpusRows, cut_passages
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_json, writing_aside
from ccx_ray.study.frequency_spec import EmbedderSpec, FrequencySpec, NgramEmbedderSpec

DESCRIPTION = "index.json"
PASSAGES, VECTORS = "passages.npy", "vectors.faiss"
NGRAM_BITS, NGRAM_NORMS = "ngram-bits.npy", "ngram-norms.npy"
SAMPLE_BYTES = 32 * 2**20
"""Of text whose n-grams and terms are counted."""
FIT_PASSAGES = 20_000
"""To which a projection is fitted."""
PASSAGES_AT_ONCE = 1024
PIECE_PASSAGES = 16_384
TEXTS_AT_ONCE = 256
PIECE_VECTORS = "vectors.npy"
_PASSAGES_OF_A_DOCUMENT, _FREQUENCIES, _FIT_TEXTS = "passages.npy", "frequencies.npy", "fit.json"


class Rows(NamedTuple):
    """Consecutive documents and how many passages they have."""

    first: int
    end: int
    passages: int


class _Shard(NamedTuple):
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
    files = [list(groups) for _, groups in groupby(corpus.groups, lambda group: group.file)]
    counted = [log.scratch / "counts" / f"{number:06d}" for number in range(len(files))]

    def count(number: int) -> dict[str, Any]:
        first, end = files[number][0].first, files[number][-1].end
        return _count_passages(
            corpus, first, end, counted[number], limit=limit, ngrams=ngrams, fit=fitted
        )

    results = run_tasks(log, len(files), count)
    totals = {
        name: sum(result[name] for result in results)
        for name in ("documents", "passages", "sampled", "terms")
    }
    average_terms = totals["terms"] / max(1, totals["sampled"])

    def fit(_: int) -> dict[str, Any]:
        if isinstance(embedder, NgramEmbedderSpec):
            _ngram_embedder(embedder, counted, totals["sampled"]).save(folder)
        opened = open_embedder(embedder, state_folder=folder, model_folder=model_folder)
        return {"fingerprint": opened.fingerprint, "dimensions": opened.dimensions}

    (state,) = run_tasks(WorkLog(folder, "embedder"), 1, fit)
    shards = _plan(counted, spec.shard_passages, log.scratch)
    pieces = [piece for shard in shards for piece in shard.pieces]

    def embed(number: int) -> dict[str, Any]:
        rows, place = pieces[number]
        opened = open_embedder(embedder, state_folder=folder, model_folder=model_folder)
        return write_piece(corpus, rows, opened, place, limit=limit, average_terms=average_terms)

    embedded = run_tasks(WorkLog(folder, "pieces"), len(pieces), embed)
    cut = sum(piece["cut_passages"] for piece in embedded)

    def assemble(number: int) -> dict[str, Any]:
        return _assemble(shards[number], spec, state["dimensions"], folder)

    described = run_tasks(WorkLog(folder, "shards"), len(shards), assemble)
    description = {
        "embedder": embedder.model_dump(),  # its settings in the study file
        "fingerprint": state["fingerprint"],  # of the embedder
        "dimensions": state["dimensions"],
        "documents": totals["documents"],
        "passages": totals["passages"],
        "passage_characters": limit,
        # Of which the inverse frequencies of n-grams and the average length were taken.
        "sampled_passages": totals["sampled"],
        # Longer than the embedder's context, so embedded in windows.
        "cut_passages": cut,
        "average_terms": average_terms,  # of a sampled passage; BM25 norms lengths by it
        "shards": described,
    }
    publish_json(folder / DESCRIPTION, description)
    return {
        "documents": totals["documents"],
        "passages": totals["passages"],
        "cut_passages": cut,
        "shards": len(shards),
        "bytes": sum(
            file.stat().st_size for shard in shards for file in (folder / shard.name).iterdir()
        ),
    }


def _count_passages(
    corpus: CorpusRows, first: int, end: int, folder: Path, *, limit: int, ngrams: bool, fit: bool
) -> dict[str, Any]:
    """Passages of every document of one file, and statistics of a sample of them.

    ``fit``: keep texts to fit a projection to.
    """
    share = SAMPLE_BYTES / max(SAMPLE_BYTES, sum(group.bytes for group in corpus.groups))
    passages = np.zeros(end - first, np.int64)
    sample: list[tuple[float, str]] = []
    for row, text in corpus.texts(first, end):
        spans = cut_passages(text, limit)
        passages[row - first] = len(spans)
        sample.extend(
            (lot, normalize(text[start : start + length]))
            for (start, length), lot in zip(spans, draw_lots(row, len(spans)), strict=True)
            if lot < share
        )
    texts = [text for _, text in sample]
    frequencies = np.zeros(FEATURES, np.int64)
    for start in range(0, len(texts) if ngrams else 0, PASSAGES_AT_ONCE):
        held = count_ngrams(texts[start : start + PASSAGES_AT_ONCE]).indices
        frequencies += np.bincount(held, minlength=FEATURES)
    with writing_aside(folder) as made:
        made.mkdir()
        np.save(made / _PASSAGES_OF_A_DOCUMENT, passages)
        np.save(made / _FREQUENCIES, frequencies)
        publish_json(made / _FIT_TEXTS, sorted(sample)[:FIT_PASSAGES] if fit else [])
    return {
        "documents": end - first,
        "passages": int(passages.sum()),
        "sampled": len(texts),
        "terms": count_terms(texts),
    }


def draw_lots(row: int, passages: int) -> list[float]:
    """A number in [0, 1) for every passage of a document (the finaliser of SplitMix64)."""
    step = np.uint64(0x9E3779B97F4A7C15)
    mixed = (np.uint64(row << 24) + np.arange(passages, dtype=np.uint64) + step) * step
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    lots: list[float] = ((mixed ^ mixed >> np.uint64(31)) / 2.0**64).tolist()
    return lots


def _ngram_embedder(
    spec: NgramEmbedderSpec, counted: Sequence[Path], sampled: int
) -> NgramEmbedder:
    """The embedder that the sample gives."""
    none = np.zeros(FEATURES, np.int64)
    frequencies = sum((np.load(folder / _FREQUENCIES) for folder in counted), start=none)
    embedder = NgramEmbedder(spec, frequencies=frequencies, passages=sampled)
    if spec.projection != "fitted":
        return embedder
    files = (json.loads((folder / _FIT_TEXTS).read_text("utf-8")) for folder in counted)
    sample = sorted(drawn for file in files for drawn in file)[:FIT_PASSAGES]
    return embedder.fit(embedder.weigh([text for _, text in sample])[0])


def _plan(counted: Sequence[Path], most: int, scratch: Path) -> list[_Shard]:
    """Shards of at most so many passages, each in pieces; a shard without passages is none."""
    counts = [np.load(folder / _PASSAGES_OF_A_DOCUMENT) for folder in counted]
    passages = np.concatenate([np.empty(0, np.int64), *counts])
    shards: list[_Shard] = []
    for rows in _cut_rows(passages, Rows(0, len(passages), int(passages.sum())), most):
        if not rows.passages:
            continue
        name = f"shard-{len(shards):05d}"
        pieces = enumerate(_cut_rows(passages, rows, PIECE_PASSAGES))
        places = [(piece, scratch / name / f"{number:05d}") for number, piece in pieces]
        shards.append(_Shard(name, rows, places))
    return shards


def _cut_rows(passages: NDArray[np.int64], rows: Rows, most: int) -> Iterator[Rows]:
    """Cut documents into runs of at most so many passages; a larger one is a run of its own."""
    totals = np.cumsum(passages[rows.first : rows.end])
    start, done = 0, 0
    while start < len(totals):
        stop = max(start + 1, int(np.searchsorted(totals, done + most, side="right")))
        count = int(totals[stop - 1]) - done
        yield Rows(rows.first + start, rows.first + stop, count)
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
    return {"cut_passages": embedder.cut_texts}


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
    np.concatenate(arrays, out=joined)
    joined.flush()
