"""The frequency stage on Ray: an index of every corpus, then every culture's questions against two.

The only module of this folder that touches Ray. Ray Data cuts and embeds the passages, in two
passes because inverse frequencies must be known before the first vector; one task a corpus then
retrieves and judges. Results do not depend on how Ray splits the work: passages are put in the
documents' order before they are written.
"""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from ccx_ray.frequency.density import CorpusFrequencies, judge_retrieved, write_frequencies
from ccx_ray.frequency.embedding import FEATURES, NgramEmbedder, count_ngrams
from ccx_ray.frequency.judges import Cloze, Document, LexicalJudge
from ccx_ray.frequency.passages import cut_passages
from ccx_ray.frequency.retrieval import DOCUMENTS, CorpusIndex, document_files, write_index
from ccx_ray.study.spec import FrequencySpec


def build_index(
    spec: FrequencySpec, *, text_folder: Path, folder: Path, cpus_per_task: float
) -> dict[str, Any]:
    """Index the monolingual documents of a corpus; parallel sentences are not part of density.

    Args:
        text_folder: holds ``documents/*.parquet`` (id, text, source).
        folder: is made a self-contained index, see ``retrieval``.

    Returns:
        Counts of documents, passages, distinct terms, and seconds; zeros for an empty corpus.

    Raises:
        ValueError: two documents have the same id.
    """
    clock = time.monotonic()
    shutil.copytree(text_folder / DOCUMENTS, folder / DOCUMENTS)
    files = [str(path) for path in document_files(folder)]
    names = [
        name for file in files for name in pq.read_table(file, columns=["id"])["id"].to_pylist()
    ]
    rows = {name: row for row, name in enumerate(names)}
    if len(rows) < len(names):
        repeated = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"{text_folder}: the document id {repeated!r} occurs more than once")
    corpus = _row_groups(files) if names else None
    frequencies, terms, passages = _statistics(corpus, spec, cpus_per_task)
    counted = time.monotonic()
    embedder = NgramEmbedder(
        passage_frequencies=frequencies,
        passages=passages,
        dimensions=spec.dimensions,
        seed=spec.seed,
    )
    table, vectors = _embedded_passages(corpus, embedder, rows, spec, cpus_per_task)
    write_index(
        folder,
        embedder=embedder,
        passages=table,
        vectors=vectors,
        terms=pa.table(
            {
                "term": pa.array(sorted(terms), pa.string()),
                "documents": pa.array([terms[term] for term in sorted(terms)], pa.int64()),
            }
        ),
        documents=len(names),
    )
    return {
        "documents": len(names),
        "passages": passages,
        "terms": len(terms),
        "seconds": {
            "count": round(counted - clock, 3),
            "embed": round(time.monotonic() - counted, 3),
        },
    }


def estimate_frequency(
    spec: FrequencySpec,
    *,
    culture: str,
    english_probe: Path,
    target_probe: Path,
    english_index: Path,
    target_index: Path,
    folder: Path,
    cpus_per_task: float,
) -> dict[str, Any]:
    """Count each question's occurrences: English ones in English, target ones in the target corpus.

    Only the monolingual documents of a corpus count, in occurrences and in the denominator.
    Writes ``questions.parquet`` and ``retrieved.parquet`` (see ``density``) into ``folder``.

    Returns:
        Per corpus (``en`` and the culture's code) the counts of ``CorpusFrequencies.summary``, the
        passages searched and the seconds of each part.

    Raises:
        UserError: a probe file is not what it should be.
    """
    # Validation of the probes belongs to the driver: its message must not come from a worker.
    questions = {"en": _read_clozes(english_probe, f"{culture}-en")}
    questions[culture] = _read_clozes(target_probe, f"{culture}-{culture}")
    indexes = {"en": english_index, culture: target_index}
    task = ray.remote(num_cpus=cpus_per_task)(_find_in_corpus)
    found = ray.get(
        [
            task.remote(spec, culture, corpus, questions[corpus], index)
            for corpus, index in indexes.items()
        ]
    )
    parts: list[CorpusFrequencies] = [part for part, _ in found]
    write_frequencies(parts, folder)
    return {part.corpus: {**part.summary(), **counts} for part, counts in found}


def _read_clozes(path: Path, name: str) -> list[Cloze]:
    from ccx_ray.evaluation.probes import load_probe

    probe = load_probe(path, name)
    return [Cloze(question=item.question, answer=item.answer) for item in probe.items]


def _find_in_corpus(
    spec: FrequencySpec, culture: str, corpus: str, clozes: Sequence[Cloze], folder: Path
) -> tuple[CorpusFrequencies, dict[str, Any]]:
    clock = time.monotonic()
    index = CorpusIndex(folder)
    hits = index.search([cloze.statement for cloze in clozes], spec.top_documents)
    retrieved = time.monotonic()
    judge = LexicalJudge(
        index.document_frequencies(), documents=index.documents, salient_share=spec.salient_share
    )
    part = CorpusFrequencies(
        culture=culture,
        corpus=corpus,
        documents=index.documents,
        questions=len(clozes),
        judgements=judge_retrieved(index, judge, clozes, hits),
    )
    seconds = {
        "retrieve": round(retrieved - clock, 3),
        "judge": round(time.monotonic() - retrieved, 3),
    }
    return part, {"passages": index.passages, "seconds": seconds}


def _row_groups(files: list[str]) -> ray.data.Dataset:
    """The corpus as row groups still to be read; each task reads its own.

    ``ray.data.read_parquet`` lists and reads in operators and processes of their own: on two busy
    cores that took 15 s and more for a 0.1 MB corpus, where this takes 0.3 s.
    """
    groups = [
        {"file": file, "row_group": group}
        for file in files
        for group in range(pq.read_metadata(file).num_row_groups)
    ]
    return ray.data.from_items(groups)


def _statistics(
    corpus: ray.data.Dataset | None, spec: FrequencySpec, cpus: float
) -> tuple[np.ndarray, Counter[str], int]:
    """Passage frequency of every n-gram feature, document frequency of every term, passages."""
    frequencies, terms, passages = np.zeros(FEATURES, np.int64), Counter[str](), 0
    if corpus is not None:
        counted = corpus.map_batches(
            _count_batch,
            batch_size=1,
            batch_format="pyarrow",
            fn_kwargs={"limit": spec.passage_characters},
            num_cpus=cpus,
        )
        for row in counted.iter_rows():
            frequencies += np.asarray(row["frequencies"])
            terms.update(dict(zip(row["terms"], map(int, row["documents"]), strict=True)))
            passages += int(row["passages"])
    return frequencies, terms, passages


def _count_batch(batch: pa.Table, *, limit: int) -> pa.Table:
    documents = _documents(batch)
    texts = [text for _, _, text in _cut(documents, limit)]
    terms = Counter(term for document in documents for term in document.terms)
    return pa.Table.from_pylist(
        [
            {
                "frequencies": np.bincount(count_ngrams(texts).indices, minlength=FEATURES),
                "terms": list(terms),
                "documents": list(terms.values()),
                "passages": len(texts),
            }
        ]
    )


def _embedded_passages(
    corpus: ray.data.Dataset | None,
    embedder: NgramEmbedder,
    rows: dict[str, int],
    spec: FrequencySpec,
    cpus: float,
) -> tuple[pa.Table, np.ndarray]:
    """Passages (document row, start, length) in the documents' order, and their vectors."""
    batches: list[pa.Table] = []
    if corpus is not None:
        embedded = corpus.map_batches(
            _embed_batch,
            batch_size=1,
            batch_format="pyarrow",
            fn_kwargs={"limit": spec.passage_characters, "embedder": ray.put(embedder)},
            num_cpus=cpus,
        )
        batches = list(embedded.iter_batches(batch_size=None, batch_format="pyarrow"))
    names = [name for batch in batches for name in batch["id"].to_pylist()]
    documents = np.array([rows[name] for name in names], dtype=np.int64)
    starts, lengths = (
        np.array([n for batch in batches for n in batch[column].to_pylist()], dtype=np.int64)
        for column in ("start", "length")
    )
    vectors = np.concatenate(
        [
            np.empty((0, embedder.dimensions), np.float32),
            *(
                np.frombuffer(vector, np.float32)[None]
                for batch in batches
                for vector in batch["vector"].to_pylist()
            ),
        ]
    )
    order = np.lexsort((starts, documents))
    columns = {"document": documents, "start": starts, "length": lengths}
    return pa.table({name: column[order] for name, column in columns.items()}), vectors[order]


def _embed_batch(batch: pa.Table, *, limit: int, embedder: "ray.ObjectRef") -> pa.Table:
    passages = _cut(_documents(batch), limit)
    vectors = ray.get(embedder).embed([text for _, _, text in passages])
    return pa.table(
        {
            "id": pa.array([document.id for document, _, _ in passages], pa.string()),
            "start": pa.array([start for _, start, _ in passages], pa.int64()),
            "length": pa.array([len(text) for _, _, text in passages], pa.int64()),
            "vector": pa.array([vector.tobytes() for vector in vectors], pa.binary()),
        }
    )


def _documents(batch: pa.Table) -> list[Document]:
    """Read the documents of the batch's row groups."""
    documents: list[Document] = []
    for group in batch.to_pylist():
        file = pq.ParquetFile(group["file"])
        table = file.read_row_group(group["row_group"], columns=["id", "text"])
        pairs = zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
        documents.extend(Document(id=name, text=text) for name, text in pairs)
    return documents


def _cut(documents: list[Document], limit: int) -> list[tuple[Document, int, str]]:
    """Every passage with its document and its start."""
    return [
        (document, start, document.text[start : start + length])
        for document in documents
        for start, length in cut_passages(document.text, limit)
    ]
