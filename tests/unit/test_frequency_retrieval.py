"""Knowledge planted in real text at known frequencies is found again, in every script."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.lexical import LexicalJudge
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex, Scored, fuse
from ccx_ray.frequency.retrieval.index_building import build_index
from ccx_ray.frequency.text.documents import read_documents
from ccx_ray.frequency.text.questions import BLANK, Cloze
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.frequency_spec import FrequencySpec, NgramEmbedderSpec, RetrieverName

FREQUENCIES = (0, 1, 2, 4, 8, 16)
PER_FREQUENCY = 4
CHARACTERS = 1_000_000
"""Of real text per language; the bundled Korean and Mongolian corpora are smaller."""
RETRIEVERS: tuple[RetrieverName, ...] = ("vectors", "bm25", "hybrid")


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


def write_texts(texts: Sequence[str], folder: Path, *, rows_of_a_group: int = 1000) -> Path:
    """A text folder of these documents."""
    (folder / "documents").mkdir(parents=True)
    table = pa.table({"id": [f"d{row}" for row in range(len(texts))], "text": list(texts)})
    pq.write_table(table, folder / "documents" / "0.parquet", row_group_size=rows_of_a_group)
    return folder


def index_of(text: Path, folder: Path, **settings: object) -> CorpusIndex:
    spec = FrequencySpec(**settings)
    folder.mkdir()
    build_index(
        spec, spec.embedder, text_folder=text, folder=folder, model_folder=None, run_tasks=run_here
    )
    return CorpusIndex(folder, spec.embedder)


@pytest.mark.parametrize(
    ("culture", "language"), [("ko", "en"), ("ko", "ko"), ("zh", "zh"), ("bo", "bo"), ("mn", "mn")]
)
def test_planted_frequencies_are_recovered(
    project: Path, tmp_path: Path, culture: str, language: str
) -> None:
    texts, clozes = real_documents(project, language), real_clozes(project, culture, language)
    planted = plant(texts, clozes)
    text = write_texts(texts, tmp_path / "text")
    index = index_of(text, tmp_path / "index")
    documents = read_documents(text, range(len(texts)))
    frequencies = Counter(term for document in documents.values() for term in document.terms)
    judge = LexicalJudge(frequencies, documents=len(texts), salient_share=0.5)
    held = [
        {row for row, document in documents.items() if judge.verdict(cloze, document).holds}
        for cloze in clozes
    ]
    queries = [cloze.statement for cloze in clozes]
    for retriever in RETRIEVERS:
        retrieved = [{h.document for h in hits} for hits in index.search(queries, 50, retriever)]
        found = [len(a & b) for a, b in zip(held, retrieved, strict=True)]
        assert spearmanr(planted, found).statistic >= 0.95
        recall = sum(found) / sum(map(len, held))
        print(f"\n{culture}-{language}, {retriever}: {recall:.1%} of {sum(map(len, held))} pairs")
        assert recall >= 0.9


@pytest.fixture(scope="module")
def mongolian(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    texts = real_documents(project, "mn")
    return texts, write_texts(texts, tmp_path_factory.mktemp("mongolian") / "text")


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_documents_come_once_best_first_and_never_too_many(
    mongolian: tuple[list[str], Path], tmp_path: Path, retriever: RetrieverName
) -> None:
    texts, text = mongolian
    index = index_of(text, tmp_path / "index", passage_characters=100)
    (hits,) = index.search([texts[3]], 10, retriever)
    assert hits[0].document == 3
    assert len(hits) == len({hit.document for hit in hits}) == 10
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    (everything,) = index.search([texts[3]], 10_000, retriever)
    rows = [hit.document for hit in everything]
    assert len(rows) == len(set(rows)) <= len(texts)
    assert retriever == "bm25" or len(rows) == len(texts)


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_a_hit_names_the_passage_that_was_found(tmp_path: Path, retriever: RetrieverName) -> None:
    filler = "Nothing to be seen in this long sentence. " * 20
    needle = "Yurts are built of felt and wood."
    text = write_texts(["About something else.", filler + needle], tmp_path / "text")
    index = index_of(text, tmp_path / "index", passage_characters=200)
    (hits,) = index.search(["felt yurts of wood"], 1, retriever)
    (document,) = read_documents(text, [hits[0].document]).values()
    start, end = hits[0].passage_start, hits[0].passage_start + hits[0].passage_length
    assert hits[0].document == 1
    assert needle in document.text[start:end]
    assert end - start <= 200


def test_an_index_of_another_embedder_is_refused(tmp_path: Path) -> None:
    text = write_texts(["some text", "another text"], tmp_path / "text")
    index_of(text, tmp_path / "index")
    for other in (
        NgramEmbedderSpec(dimensions=128),
        NgramEmbedderSpec(seed=1),
        NgramEmbedderSpec(projection="fitted"),
    ):
        with pytest.raises(UserError, match=r"index was built by another embedder .*; give the"):
            CorpusIndex(tmp_path / "index", other)
    assert CorpusIndex(tmp_path / "index").documents == 2


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_an_empty_corpus_has_no_hits_and_an_empty_document_none_of_its_own(
    tmp_path: Path, retriever: RetrieverName
) -> None:
    nothing = index_of(write_texts([], tmp_path / "nothing"), tmp_path / "index-of-nothing")
    assert (nothing.documents, nothing.passages) == (0, 0)
    assert nothing.search(["one", "two"], 5, retriever) == [[], []]
    text = write_texts(["", "one", ""], tmp_path / "text")
    index = index_of(text, tmp_path / "index")
    assert (index.documents, index.passages) == (3, 1)
    assert [hit.document for hit in index.search(["one"], 5, retriever)[0]] == [1]
    assert index.search([], 5, retriever) == []


def fused(*rankings: Sequence[int]) -> Scored:
    """Of documents that each are their own passage."""
    rows = [np.array(ranking) for ranking in rankings]
    return fuse([Scored(row, row, np.zeros(len(row), np.float32)) for row in rows], 9)


def test_fused_ranks_count_and_ties_go_to_the_earlier_row() -> None:
    assert fused([7, 2, 5], [2, 9]).documents.tolist() == [2, 7, 9, 5]
    assert fused([3], [1]).documents.tolist() == [1, 3]
    assert fused([4], [4]).scores.tolist() == [pytest.approx(2 / 61)]
