"""Indexes of every type find what an exhaustive comparison finds, however the corpus is cut."""

import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise, product
from pathlib import Path
from threading import Event, Thread
from typing import Any

import bm25s
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.retrieval import bm25, index_building
from ccx_ray.frequency.retrieval.bm25 import (
    count_terms,
    make_postings,
    query_terms,
    score_passages,
    weigh_terms,
)
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.retrieval.index_building import (
    DESCRIPTION,
    Rows,
    build_index,
    draw_lots,
    write_piece,
)
from ccx_ray.frequency.retrieval.index_types import VectorIndex, choose_index, write_vectors
from ccx_ray.frequency.text.documents import CorpusRows
from ccx_ray.frequency.text.terms import terms_of
from ccx_ray.orchestration.tasks import WorkLog, run_here
from ccx_ray.study.frequency_spec import FrequencySpec, RetrieverName

RETRIEVERS: tuple[RetrieverName, ...] = ("vectors", "bm25", "hybrid")


def made_texts(documents: int) -> list[str]:
    """Documents of 0 to 60 of 500 words, the more frequent the lower their number."""
    generator = random.Random(0)
    words = [f"{'bdgklmnprstvz'[i % 13]}{'aeiou'[i % 5]}{i}" for i in range(500)]
    weights = [1 / (i + 3) for i in range(500)]
    lengths = [generator.randrange(61) for _ in range(documents)]
    return [" ".join(generator.choices(words, weights, k=length)) for length in lengths]


def write_texts(texts: Sequence[str], folder: Path, *, files: int, rows_of_a_group: int) -> Path:
    (folder / "documents").mkdir(parents=True)
    bounds = np.linspace(0, len(texts), files + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(bounds)):
        table = pa.table({"text": pa.array(texts[start:stop], pa.string())})
        path = folder / "documents" / f"part-{number:05d}.parquet"
        pq.write_table(table, path, row_group_size=rows_of_a_group)
    return folder


def build(text: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    spec = FrequencySpec(**settings)
    folder.mkdir(exist_ok=True)
    return build_index(
        spec, spec.embedder, text_folder=text, folder=folder, model_folder=None, run_tasks=run_here
    )


def described(folder: Path) -> dict[str, Any]:
    """The content of ``index.json``."""
    content: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    return content


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file that is part of the index."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): path for path in files}
    return {n: path.read_bytes() for n, path in names.items() if not n.startswith(".")}


QUERIES = ["ba0 de1 sa10 li17", "tu499 gi400", "words that nobody wrote", ""]


@pytest.fixture(scope="module")
def one_shard(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], CorpusIndex]:
    root, texts = tmp_path_factory.mktemp("one"), made_texts(300)
    text = write_texts(texts, root / "text", files=1, rows_of_a_group=1000)
    build(text, root / "index", passage_characters=100)
    return texts, CorpusIndex(root / "index")


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_shards_files_and_row_groups_change_nothing(
    one_shard: tuple[list[str], CorpusIndex],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    retriever: RetrieverName,
) -> None:
    texts, expected = one_shard
    monkeypatch.setattr(index_building, "PIECE_PASSAGES", 13)
    monkeypatch.setattr(index_building, "TEXTS_AT_ONCE", 5)
    text = write_texts(texts, tmp_path / "text", files=3, rows_of_a_group=7)
    counts = build(text, tmp_path / "index", passage_characters=100, shard_passages=50)
    index = CorpusIndex(tmp_path / "index")
    assert counts["shards"] > 10
    assert (index.documents, index.passages) == (expected.documents, expected.passages)
    found, wanted = (i.search(QUERIES, 20, retriever) for i in (index, expected))
    assert [[h.document for h in hits] for hits in found] == [
        [h.document for h in hits] for hits in wanted
    ]
    if retriever != "vectors":  # whose signatures are multiplied in blocks
        assert found == wanted


def test_empty_documents_behind_one_larger_than_a_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_building, "PIECE_PASSAGES", 2)
    texts = ["many words " * 60, "", "", "few words", ""]
    text = write_texts(texts, tmp_path / "text", files=1, rows_of_a_group=2)
    for shard_passages in (3, 1000):
        folder = tmp_path / f"index-{shard_passages}"
        build(text, folder, passage_characters=100, shard_passages=shard_passages)
        for retriever in RETRIEVERS:
            (hits,) = CorpusIndex(folder).search(["few words"], 5, retriever)
            assert [hit.document for hit in hits] == [3, 0]


@pytest.mark.parametrize("index", ["flat", "hnsw", "ivfpq"])
def test_a_second_build_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    monkeypatch.setattr("ccx_ray.frequency.retrieval.index_types.TRAINABLE", 256)
    text = write_texts(made_texts(400), tmp_path / "text", files=2, rows_of_a_group=50)
    for name in ("first", "second"):
        build(
            text, tmp_path / name, index=index, passage_characters=60, embedder={"dimensions": 32}
        )
    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "second")
    (shard,) = described(tmp_path / "first")["shards"]
    assert (shard["index"], shard["reason"]) == (index, "requested")
    assert {"index.json", "ngram-frequencies.npy", "shard-00000/vectors.faiss"} < set(first)


def test_what_is_finished_is_not_done_again_and_what_is_not_makes_the_same_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_building, "PIECE_PASSAGES", 20)
    text = write_texts(made_texts(200), tmp_path / "text", files=2, rows_of_a_group=20)
    settings = {"passage_characters": 100, "shard_passages": 60}
    whole = build(text, tmp_path / "whole", **settings)

    done: list[str] = []

    class Killed(BaseException):
        pass

    def run_until(stage: str, number: int) -> Any:
        def run(log: WorkLog, tasks: int, function: Any, /) -> list[dict[str, Any]]:
            for task in log.begin(tasks):
                if (log._folder.name, task) == (stage, number):
                    function(task)  # its output stands, but it is not known to be finished
                    raise Killed
                log.publish(task, function(task))
                done.append(f"{log._folder.name}-{task}")
            return [log.result(task) for task in range(tasks)]

        return run

    (tmp_path / "killed").mkdir()
    spec = FrequencySpec(**settings)
    for stage, number in (("passages", 1), ("pieces", 3), ("shards", 1), ("none", 0), ("none", 0)):
        counts = {}
        try:
            counts = build_index(
                spec, spec.embedder, text_folder=text, folder=tmp_path / "killed",
                model_folder=None, run_tasks=run_until(stage, number),
            )  # fmt: skip
        except Killed:
            assert not (tmp_path / "killed" / "index.json").exists()
    assert counts == whole
    assert len(done) == len(set(done))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_bm25_scores_are_those_of_the_library_bm25s(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = made_texts(200)
    tokens = [list(terms_of(text)) for text in texts]
    library = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    library.index(tokens, show_progress=False)
    average = count_terms(texts) / len(texts)
    whole = [make_postings(texts, average_terms=average)]
    halves = [make_postings(half, average_terms=average) for half in (texts[:77], texts[77:])]
    for query in QUERIES[:3]:
        asked = [term for term in terms_of(query) if term in library.vocab_dict]
        expected = library.get_scores(asked) if asked else np.zeros(len(texts))
        for shards, lengths in ((whole, [200]), (halves, [77, 123])):
            monkeypatch.setattr(bm25, "COMMON_SHARE", 1.0)  # the library looks up every term
            weights = weigh_terms(query_terms(query), shards, len(texts))
            scores = [score_passages(weights, *s) for s in zip(shards, lengths, strict=True)]
            assert np.allclose(np.concatenate(scores), expected, atol=1e-4)


def test_a_common_term_is_looked_up_only_where_there_is_no_rarer_one() -> None:
    words = ["".join(pair) for pair in product("bcdfghj", "aeiou")]
    texts = [f"common {word}" for word in words]
    shards = [make_postings(texts, average_terms=2)]
    assert set(weigh_terms(query_terms("common de"), shards, 35)) == set(query_terms("de"))
    assert set(weigh_terms(query_terms("common"), shards, 35)) == set(query_terms("common"))


@pytest.mark.parametrize(("kind", "least"), [("flat", 1.0), ("hnsw", 0.9), ("ivfpq", 0.7)])
def test_every_type_finds_the_closest(kind: Any, least: float, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(50, 64))
    vectors = (centres[generator.integers(50, size=12_000)] * 2).astype(np.float32)
    vectors += generator.normal(size=vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    choice = choose_index(kind, passages=len(vectors), dimensions=64)
    assert choice.type == kind
    write_vectors(choice, [vectors[:5000], vectors[5000:]], 64, tmp_path / "index")
    queries = vectors[:20]
    _, found = VectorIndex(tmp_path / "index", choice.type, choice.parameters).search(queries, 100)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :100]
    shared = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    assert np.mean(shared) / 100 >= least


def test_the_type_is_chosen_by_size_and_said_why() -> None:
    small = choose_index("auto", passages=2_000, dimensions=256)
    large = choose_index("auto", passages=250_000, dimensions=256)
    assert (small.type, large.type) == ("flat", "ivfpq")
    assert "2,000 passages" in small.reason
    assert "250,000 passages" in large.reason
    assert choose_index("auto", passages=250_000, dimensions=521).type == "hnsw"
    few = choose_index("ivfpq", passages=100, dimensions=256)
    assert few.type == "flat"
    assert "not 100" in few.reason
    with pytest.raises(UserError, match=r"frequency\.index: ivfpq .* 521 dimensions"):
        choose_index("ivfpq", passages=250_000, dimensions=521)


def test_a_sample_is_drawn_alike_however_the_work_is_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lots = np.array([draw_lots(row, 3) for row in range(5_000)]).ravel()
    assert abs(lots.mean() - 0.5) < 0.01
    assert len(np.unique(lots)) == len(lots)
    monkeypatch.setattr(index_building, "SAMPLE_BYTES", 2_000)
    texts = made_texts(300)
    for files in (1, 4):
        text = write_texts(texts, tmp_path / f"text-{files}", files=files, rows_of_a_group=1000)
        build(text, tmp_path / f"index-{files}", passage_characters=100)
    one, four = (described(tmp_path / f"index-{files}") for files in (1, 4))
    assert 0 < one["sampled_passages"] < one["passages"] / 2
    difference = abs(one["sampled_passages"] - four["sampled_passages"])
    assert difference < 0.3 * one["sampled_passages"]


class InterruptedEmbedder:
    """Lets something else happen while it embeds."""

    name, fingerprint, dimensions, cut_texts = "interrupted", "", 4, 0

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile

    def embed(self, texts: Sequence[str]) -> Any:
        self._meanwhile()
        return np.ones((len(texts), self.dimensions), np.float32)


def test_an_orphan_that_ends_while_its_successor_writes_the_same_piece(tmp_path: Path) -> None:
    """The orphan of a killed driver does no harm, and neither does what a killed one left."""
    text = write_texts(made_texts(20), tmp_path / "text", files=1, rows_of_a_group=20)
    begun, go_on = Event(), Event()

    def write(folder: Path, meanwhile: Callable[[], object] = lambda: None) -> dict[str, Any]:
        return write_piece(
            CorpusRows(text),
            Rows(first=0, end=20, passages=0),
            InterruptedEmbedder(meanwhile),
            folder,
            limit=50,
            average_terms=3.0,
        )

    def orphan() -> None:
        with suppress(FileNotFoundError):  # its successor has deleted what it was writing
            write(tmp_path / "pieces/1", lambda: (begun.set(), go_on.wait(60)))

    thread = Thread(target=orphan)
    written = write(tmp_path / "alone")
    (tmp_path / f"pieces/.1.{'0' * 32}").mkdir(parents=True)
    thread.start()
    assert begun.wait(60)
    assert write(tmp_path / "pieces/1", lambda: (go_on.set(), thread.join(60))) == written
    assert contents(tmp_path / "pieces/1") == contents(tmp_path / "alone")
    assert [path.name for path in (tmp_path / "pieces").iterdir()] == ["1"]
