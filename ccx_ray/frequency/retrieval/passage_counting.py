"""First pass over a corpus: number of passages, and statistics of a sample of them.

Inverse frequencies must be known before the first vector. Counting them over everything would read
and hash a large corpus twice, so they are those of a sample, which is all of a corpus of up to
``SAMPLE_BYTES``. Invariant: whether a passage is in the sample depends on its document's row and
its place there, never on how the work was split.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.retrieval.bm25 import count_terms
from ccx_ray.frequency.retrieval.embedding.ngram import NgramEmbedder
from ccx_ray.frequency.retrieval.embedding.ngrams import FEATURES, count_ngrams
from ccx_ray.frequency.text.documents import CorpusRows
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.passages import cut_passages
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_json, writing_aside
from ccx_ray.study.frequency_spec import NgramEmbedderSpec

SAMPLE_BYTES = 32 * 2**20
"""Of text whose n-grams and terms are counted."""
FIT_PASSAGES = 20_000
"""To which a projection is fitted."""
PASSAGES_AT_ONCE = 1024
_STEP, _MASK = 0x9E3779B97F4A7C15, 2**64 - 1
PASSAGES_OF_A_DOCUMENT, FREQUENCIES, FIT_TEXTS = "passages.npy", "frequencies.npy", "fit.json"


@dataclass(frozen=True, kw_only=True)
class CorpusCounts:
    """What the first pass found."""

    documents: int
    passages: int
    sampled: int
    """Passages."""
    average_terms: float
    """Of a sampled passage."""
    folders: list[Path]
    """Of the tasks, in the order of the documents."""

    def passages_of_documents(self) -> NDArray[np.int64]:
        """``[documents]``."""
        counts = [np.load(folder / PASSAGES_OF_A_DOCUMENT) for folder in self.folders]
        return np.concatenate([np.empty(0, np.int64), *counts])


def count_passages(
    rows: CorpusRows, log: WorkLog, *, limit: int, ngrams: bool, fit: bool, run_tasks: RunTasks
) -> CorpusCounts:
    """Run the first pass; a task is one file of the corpus.

    Args:
        limit: characters of a passage.
        ngrams: count them too.
        fit: keep texts to fit a projection to.
    """
    files = sorted({group.file for group in rows.groups})
    bounds = [
        (groups[0].first, groups[-1].end)
        for groups in ([g for g in rows.groups if g.file == file] for file in files)
    ]
    share = SAMPLE_BYTES / max(SAMPLE_BYTES, sum(group.bytes for group in rows.groups))
    folders = [log.scratch / "counts" / f"{number:06d}" for number in range(len(bounds))]

    def count(number: int) -> dict[str, Any]:
        return _count_range(
            rows, *bounds[number], folder=folders[number],
            limit=limit, share=share, ngrams=ngrams, fit=fit,
        )  # fmt: skip

    counts = run_tasks(log, len(bounds), count)
    sampled = sum(count["sampled"] for count in counts)
    return CorpusCounts(
        documents=sum(count["documents"] for count in counts),
        passages=sum(count["passages"] for count in counts),
        sampled=sampled,
        average_terms=sum(count["terms"] for count in counts) / max(1, sampled),
        folders=folders,
    )


def _count_range(
    rows: CorpusRows,
    first: int,
    end: int,
    *,
    folder: Path,
    limit: int,
    share: float,
    ngrams: bool,
    fit: bool,
) -> dict[str, Any]:
    passages = np.zeros(end - first, np.int64)
    frequencies = np.zeros(FEATURES, np.int64)
    sampled, terms = 0, 0
    kept: list[tuple[float, str]] = []

    def add(drawn: Sequence[tuple[float, str]]) -> None:
        nonlocal frequencies, sampled, terms, kept
        texts = [normalize(text) for _, text in drawn]
        sampled += len(texts)
        terms += count_terms(texts)
        if ngrams:
            frequencies += np.bincount(count_ngrams(texts).indices, minlength=FEATURES)
        if fit:
            kept.extend((lot, text) for (lot, _), text in zip(drawn, texts, strict=True))
            kept = sorted(kept)[:FIT_PASSAGES]

    waiting: list[tuple[float, str]] = []
    for row, text in rows.texts(first, end):
        spans = cut_passages(text, limit)
        passages[row - first] = len(spans)
        for (start, length), lot in zip(spans, draw_lots(row, len(spans)), strict=True):
            if lot < share:
                waiting.append((lot, text[start : start + length]))
        if len(waiting) >= PASSAGES_AT_ONCE:
            add(waiting)
            waiting = []
    add(waiting)
    with writing_aside(folder) as made:
        made.mkdir()
        np.save(made / PASSAGES_OF_A_DOCUMENT, passages)
        np.save(made / FREQUENCIES, frequencies)
        publish_json(made / FIT_TEXTS, kept)
    total = int(passages.sum())
    return {"documents": end - first, "passages": total, "sampled": sampled, "terms": terms}


def ngram_embedder(spec: NgramEmbedderSpec, counts: CorpusCounts) -> NgramEmbedder:
    """The embedder that the sample gives."""
    frequencies = np.zeros(FEATURES, np.int64)
    fit: list[tuple[float, str]] = []
    for folder in counts.folders:
        frequencies += np.load(folder / FREQUENCIES)
        if spec.projection == "fitted":
            fit.extend(map(tuple, json.loads((folder / FIT_TEXTS).read_text("utf-8"))))
            fit = sorted(fit)[:FIT_PASSAGES]
    embedder = NgramEmbedder(spec, frequencies=frequencies, passages=counts.sampled)
    if spec.projection == "fitted":
        return embedder.fit(embedder.weigh([text for _, text in fit])[0])
    return embedder


def draw_lots(row: int, passages: int) -> list[float]:
    """A number in [0, 1) for every passage of a document (the finaliser of SplitMix64)."""
    return [_mixed((row << 24) + passage) / 2**64 for passage in range(passages)]


def _mixed(number: int) -> int:
    number = (number + _STEP) * _STEP & _MASK
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31
