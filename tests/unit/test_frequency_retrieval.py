"""Knowledge planted in real text at known frequencies is found again, in every script."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from ccx_ray.frequency.density import CorpusFrequencies, judge_retrieved
from ccx_ray.frequency.embedding import FEATURES, NgramEmbedder, count_ngrams
from ccx_ray.frequency.judges import BLANK, Cloze, Document, LexicalJudge
from ccx_ray.frequency.passages import cut_passages
from ccx_ray.frequency.retrieval import CorpusIndex, write_index

FREQUENCIES = (0, 1, 2, 4, 8, 16)
PER_FREQUENCY = 4
CHARACTERS = 1_000_000
"""Of real text per language; the bundled Korean and Mongolian corpora are smaller."""


def real_documents(project: Path, language: str) -> list[str]:
    with gzip.open(project / f"data/mono/{language}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    random.Random(0).shuffle(texts)
    ends = np.cumsum([len(text) for text in texts])
    return texts[: int(np.searchsorted(ends, CHARACTERS)) + 1]


def real_clozes(project: Path, culture: str, language: str) -> list[Cloze]:
    path = project / f"data/probes/{culture}-culture-cloze_{language}.json"
    items = json.loads(path.read_text("utf-8"))
    items = [item for item in items if "_" in item["question"]]
    chosen = random.Random(1).sample(items, PER_FREQUENCY * len(FREQUENCIES))
    return [Cloze(question=item["question"], answer=item["answer"]) for item in chosen]


def plant(texts: list[str], clozes: list[Cloze]) -> list[int]:
    """Put the statement of cloze ``i`` into ``FREQUENCIES[i % 6]`` documents, at random blanks."""
    generator = random.Random(2)
    planted: dict[int, list[str]] = {}
    frequencies = [FREQUENCIES[i % len(FREQUENCIES)] for i in range(len(clozes))]
    for cloze, frequency in zip(clozes, frequencies, strict=True):
        # The Tibetan questions leave out the tsheg beside a blank; a written sentence has it.
        filler = f"\u0f0b{cloze.answer}\u0f0b" if "\u0f0b" in cloze.question else cloze.answer
        statement = BLANK.sub(lambda _, filler=filler: filler, cloze.question)
        for row in generator.sample(range(len(texts)), frequency):
            planted.setdefault(row, []).append(statement)
    for row, statements in planted.items():
        borders = [i for i, c in enumerate(texts[row]) if c.isspace()] or [len(texts[row])]
        at = generator.choice(borders)
        texts[row] = "\n".join((texts[row][:at], *statements, texts[row][at:]))
    return frequencies


def index_of(texts: list[str], folder: Path, dimensions: int = 256) -> CorpusIndex:
    (folder / "documents").mkdir()
    ids = [f"d{row}" for row in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "documents" / "0.parquet")
    spans = [(row, *span) for row, text in enumerate(texts) for span in cut_passages(text, 1000)]
    passages = [texts[row][start : start + length] for row, start, length in spans]
    embedder = NgramEmbedder(
        passage_frequencies=np.bincount(count_ngrams(passages).indices, minlength=FEATURES),
        passages=len(passages),
        dimensions=dimensions,
        seed=0,
    )
    terms = Counter(term for text in texts for term in Document(id="", text=text).terms)
    documents, starts, lengths = np.array(spans).T
    write_index(
        folder,
        embedder=embedder,
        passages=pa.table({"document": documents, "start": starts, "length": lengths}),
        vectors=embedder.embed(passages),
        terms=pa.table({"term": list(terms), "documents": list(terms.values())}),
        documents=len(texts),
    )
    return CorpusIndex(folder)


@pytest.mark.parametrize(
    ("culture", "language"), [("ko", "en"), ("ko", "ko"), ("zh", "zh"), ("bo", "bo"), ("mn", "mn")]
)
def test_planted_frequencies_are_recovered(
    project: Path, tmp_path: Path, culture: str, language: str
) -> None:
    texts, clozes = real_documents(project, language), real_clozes(project, culture, language)
    planted = plant(texts, clozes)
    index = index_of(texts, tmp_path)
    hits = index.search([cloze.statement for cloze in clozes], 50)
    judge = LexicalJudge(index.document_frequencies(), documents=index.documents, salient_share=0.5)
    found = CorpusFrequencies(
        culture=culture,
        corpus=language,
        documents=index.documents,
        questions=len(clozes),
        judgements=judge_retrieved(index, judge, clozes, hits),
    ).occurrences()
    assert spearmanr(planted, found).statistic >= 0.95

    every = list(index.read_documents(range(index.documents)).values())
    held = [
        {row for row, verdict in enumerate(judge.judge(cloze, every)) if verdict.holds}
        for cloze in clozes
    ]
    retrieved = [{hit.document for hit in of_one} for of_one in hits]
    pairs = sum(map(len, held))
    recall = sum(len(a & b) for a, b in zip(held, retrieved, strict=True)) / pairs
    print(f"\n{culture}-{language}: retrieval finds {recall:.1%} of {pairs} pairs of a full scan")
    assert recall >= 0.9


def test_documents_come_once_best_first_and_never_too_many(project: Path, tmp_path: Path) -> None:
    texts = real_documents(project, "mn")
    index = index_of(texts, tmp_path)
    (hits,) = index.search([texts[3]], 10)
    assert hits[0].document == 3
    assert len(hits) == len({hit.document for hit in hits}) == 10
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    (everything,) = index.search([texts[3]], 10_000)
    assert len(everything) == len(texts)


def test_an_index_of_another_embedder_is_refused(tmp_path: Path) -> None:
    index_of(["some text", "another text"], tmp_path)
    NgramEmbedder(
        passage_frequencies=np.zeros(FEATURES, np.int64), passages=2, dimensions=256, seed=1
    ).save(tmp_path)
    with pytest.raises(ValueError, match="another embedder"):
        CorpusIndex(tmp_path)


def test_vectors_have_length_one_and_depend_on_the_seed_alone() -> None:
    def embed(seed: int) -> np.ndarray:
        frequencies = np.ones(FEATURES, np.int64)
        embedder = NgramEmbedder(
            passage_frequencies=frequencies, passages=9, dimensions=64, seed=seed
        )
        return embedder.embed(["བོད་ཡིག་ནི།", "한국의 역사", "A sentence."])

    assert np.allclose(np.linalg.norm(embed(0), axis=1), 1, atol=1e-5)
    assert np.array_equal(embed(0), embed(0))
    assert not np.array_equal(embed(0), embed(1))


def test_texts_without_letters_and_no_texts_have_vectors_too() -> None:
    embedder = NgramEmbedder(
        passage_frequencies=np.zeros(FEATURES, np.int64), passages=0, dimensions=16, seed=0
    )
    assert embedder.embed([]).shape == (0, 16)
    assert np.array_equal(embedder.embed(["", "..."]), np.zeros((2, 16), np.float32))
