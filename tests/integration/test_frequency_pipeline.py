"""The frequency stage on a real Ray cluster, with real text and the real probe files."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.pipeline import build_index, estimate_frequency
from ccx_ray.frequency.retrieval import CorpusIndex
from ccx_ray.study.spec import FrequencySpec

pytestmark = pytest.mark.usefixtures("ray_cluster")

SPEC = FrequencySpec(top_documents=20)
PLANTED = {0: 5, 1: 0, 2: 2}
"""Mongolian question -> number of documents that its sentence is put into."""


def text_folder(folder: Path, texts: list[str], *, files: int = 1) -> Path:
    (folder / "documents").mkdir(parents=True)
    rows = [{"id": f"d{i}", "text": text, "source": "test"} for i, text in enumerate(texts)]
    schema = pa.schema({"id": pa.string(), "text": pa.string(), "source": pa.string()})
    for file in range(files):
        table = pa.Table.from_pylist(rows[file::files], schema)
        pq.write_table(table, folder / "documents" / f"{file}.parquet")
    return folder


def index(folder: Path, text: Path) -> dict[str, Any]:
    folder.mkdir()
    return build_index(SPEC, text_folder=text, folder=folder, cpus_per_task=0.5)


@pytest.fixture(scope="module")
def estimate(
    tmp_path_factory: pytest.TempPathFactory, project: Path, ray_cluster: None
) -> tuple[Path, dict[str, Any]]:
    """Mongolian text with planted sentences; an English corpus without a document."""
    root = tmp_path_factory.mktemp("frequency")
    with gzip.open(project / "data/mono/mn.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    probe = project / "data/probes/mn-culture-cloze_mn.json"
    items = json.loads(probe.read_text("utf-8"))
    for question, count in PLANTED.items():
        item = items[question]
        statement = item["question"].replace("______", item["answer"])
        for row in range(count):
            texts[10 * row + question] += f"\n{statement}"
    index(root / "index-mn", text_folder(root / "text-mn", texts, files=3))
    index(root / "index-en", text_folder(root / "text-en", []))
    folder = root / "frequency"
    folder.mkdir()
    counts = estimate_frequency(
        SPEC,
        culture="mn",
        english_probe=project / "data/probes/mn-culture-cloze_en.json",
        target_probe=probe,
        english_index=root / "index-en",
        target_index=root / "index-mn",
        folder=folder,
        cpus_per_task=0.5,
    )
    return root, counts


def test_planted_sentences_are_counted(estimate: tuple[Path, dict[str, Any]]) -> None:
    root, counts = estimate
    rows = pq.read_table(root / "frequency/questions.parquet").to_pylist()
    target = {row["question"]: row for row in rows if row["corpus"] == "mn"}
    assert len(target) == counts["mn"]["questions"] == 276
    for question, planted in PLANTED.items():
        assert target[question]["occurrences"] == planted
        assert target[question]["density"] == planted / counts["mn"]["documents"]
    assert counts["mn"]["questions_found"] == sum(r["occurrences"] > 0 for r in target.values())


def test_every_retrieved_document_is_kept_with_its_evidence(
    estimate: tuple[Path, dict[str, Any]],
) -> None:
    root, counts = estimate
    rows = pq.read_table(root / "frequency/retrieved.parquet").to_pylist()
    assert len(rows) == counts["mn"]["retrieved"] == 276 * SPEC.top_documents
    assert all(row["reason"] for row in rows)
    documents = CorpusIndex(root / "index-mn").read_documents(range(counts["mn"]["documents"]))
    texts = {document.id: document.text for document in documents.values()}
    held = [row for row in rows if row["verdict"] and row["question"] == 2]
    assert len(held) == PLANTED[2]
    for row in held:
        end = row["evidence_start"] + row["evidence_length"]
        evidence = texts[row["document"]][row["evidence_start"] : end]
        assert evidence == "ᠥᠨᠳᠥᠷᠯᠢᠭ"


def test_a_corpus_without_documents_has_no_density(estimate: tuple[Path, dict[str, Any]]) -> None:
    root, counts = estimate
    assert counts["en"]["documents"] == counts["en"]["retrieved"] == 0
    assert counts["en"]["mean_density"] is None
    rows = pq.read_table(root / "frequency/questions.parquet").to_pylist()
    english = [row for row in rows if row["corpus"] == "en"]
    assert {(row["occurrences"], row["density"]) for row in english} == {(0, None)}
    json.dumps(counts, allow_nan=False)


def test_passages_stand_in_the_documents_order_and_cover_them(
    estimate: tuple[Path, dict[str, Any]],
) -> None:
    index_folder = estimate[0] / "index-mn"
    corpus = CorpusIndex(index_folder)
    documents = corpus.read_documents(range(corpus.documents))
    pieces: dict[int, str] = {}
    for row in pq.read_table(index_folder / "passages.parquet").to_pylist():
        assert row["start"] == len(pieces.get(row["document"], ""))
        piece = documents[row["document"]].text[row["start"] : row["start"] + row["length"]]
        pieces[row["document"]] = pieces.get(row["document"], "") + piece
    assert list(pieces) == sorted(pieces)
    assert pieces == {row: document.text for row, document in documents.items()}


def test_an_empty_document_counts_as_a_document(tmp_path: Path) -> None:
    counts = index(tmp_path / "index", text_folder(tmp_path / "text", ["", "one"], files=2))
    assert (counts["documents"], counts["passages"]) == (2, 1)
    (hits,) = CorpusIndex(tmp_path / "index").search(["one"], 5)
    assert [hit.document for hit in hits] == [1]


def test_repeated_document_ids_are_refused(tmp_path: Path) -> None:
    text = text_folder(tmp_path / "text", ["one"])
    pq.write_table(pq.read_table(text / "documents/0.parquet"), text / "documents/1.parquet")
    with pytest.raises(ValueError, match="'d0' occurs more than once"):
        index(tmp_path / "index", text)


def test_a_bad_probe_file_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    with pytest.raises(UserError, match=r"bad\.json"):
        estimate_frequency(
            SPEC,
            culture="mn",
            english_probe=bad,
            target_probe=bad,
            english_index=tmp_path,
            target_index=tmp_path,
            folder=tmp_path,
            cpus_per_task=0.5,
        )
