"""The frequency stage on a real Ray cluster, with real text and the real probe files."""

import gzip
import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.evaluation.probes import load_probe
from ccx_ray.frequency.counting.lexicon import build_lexicon
from ccx_ray.frequency.estimation import (
    AskedCorpus,
    ScannedPart,
    estimate_frequency,
)
from ccx_ray.frequency.judges.factory import open_judge
from ccx_ray.frequency.retrieval.index_building import build_index
from ccx_ray.frequency.text.documents import read_documents
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.orchestration.ray_tasks import run_tasks
from ccx_ray.orchestration.tasks import RunTasks, run_here
from ccx_ray.study.frequency_spec import (
    FrequencySpec,
    JudgeRuntime,
    LexicalJudgeSpec,
    NgramEmbedderSpec,
)

pytestmark = pytest.mark.usefixtures("ray_cluster")

SPEC = FrequencySpec(top_documents=20)
PLANTED = {0: 5, 1: 0, 2: 2}
"""Mongolian question -> number of documents that its sentence is put into."""
ON_RAY: RunTasks = partial(run_tasks, cpus_per_task=0.5)
TABLES = ("questions", "retrieved", "exhaustive")


def text_folder(folder: Path, texts: list[str]) -> Path:
    """Documents over three files, and pairs whose Mongolian half holds question 2 once."""
    for kind in ("documents", "pairs"):
        (folder / kind).mkdir(parents=True)
    rows = [{"id": f"d{i}", "text": text, "source": "test"} for i, text in enumerate(texts)]
    schema = pa.schema({"id": pa.string(), "text": pa.string(), "source": pa.string()})
    step = len(rows) // 3 + 1
    for file in range(3):
        table = pa.Table.from_pylist(rows[file * step : (file + 1) * step], schema)
        pq.write_table(table, folder / "documents" / f"part-{file:05d}.parquet")
    pairs = {"id": ["p0", "p1"], "english": ["one", "two"], "target": ["ᠨᠢᠭᠡ", texts[2]]}
    pq.write_table(pa.table(pairs), folder / "pairs" / "part-00000.parquet")
    return folder


def estimate(
    corpora: list[AskedCorpus], folder: Path, run: RunTasks
) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    judge = partial(
        open_judge,
        LexicalJudgeSpec(),
        JudgeRuntime(),
        root=folder,
        cache_folder=folder / "verdicts",
        fingerprint="lexical",
        run="test",
    )
    counts = estimate_frequency(
        SPEC, corpora, folder, open_judge=judge, run_tasks=run, run_judge=run
    )
    return counts, {name: pq.read_table(folder / f"{name}.parquet") for name in TABLES}


@pytest.fixture(scope="module")
def corpora(
    tmp_path_factory: pytest.TempPathFactory, project: Path, ray_cluster: None
) -> list[AskedCorpus]:
    """Mongolian text with planted sentences; an English corpus without a document."""
    root = tmp_path_factory.mktemp("frequency")
    with gzip.open(project / "data/mono/mn.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    questions = {
        code: load_probe(project / f"data/probes/mn-culture-cloze_{code}.json", f"mn-{code}").items
        for code in ("en", "mn")
    }
    for question, count in PLANTED.items():
        item = questions["mn"][question]
        for row in range(count):
            texts[10 * row + question] += f"\n{item.fill(item.answer)}"
    texts_of = {"en": text_folder(root / "text-en", ["", "", ""]), "mn": root / "text-mn"}
    for path in (texts_of["en"] / "documents").glob("*"):
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    text_folder(texts_of["mn"], texts)
    asked = []
    for code, half in (("en", "english"), ("mn", "target")):
        build_lexicon(texts_of[code], root / f"lexicon-{code}", run_tasks=ON_RAY)
        build_index(
            SPEC,
            NgramEmbedderSpec(),
            text_folder=texts_of[code],
            folder=root / f"index-{code}",
            model_folder=None,
            run_tasks=ON_RAY,
        )
        asked.append(
            AskedCorpus(
                culture="mn",
                corpus=code,
                clozes=tuple(Cloze(question=i.question, answer=i.answer) for i in questions[code]),
                index=root / f"index-{code}",
                model_folder=None,
                scanned=tuple(
                    ScannedPart(
                        part=part, text=texts_of[origin], lexicon=root / f"lexicon-{origin}"
                    )
                    for part, origin in (("documents", code), (half, "mn"))
                ),
            )
        )
    return asked


@pytest.fixture(scope="module")
def estimated(
    corpora: list[AskedCorpus], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    return estimate(corpora, tmp_path_factory.mktemp("estimate"), ON_RAY)


def test_planted_sentences_are_counted_in_every_way(
    estimated: tuple[dict[str, Any], dict[str, pa.Table]],
) -> None:
    counts, tables = estimated
    rows = [row for row in tables["questions"].to_pylist() if row["corpus"] == "mn"]
    assert [row["question"] for row in rows] == list(range(276))
    for question, planted in PLANTED.items():
        row = rows[question]
        assert row["occurrences"] == row["lexical_documents"] == planted
        assert row["density"] == planted / counts["mn"]["documents"]
        assert row["answer_documents"] >= planted
        assert row["answer_strings"] >= row["answer_documents"] >= row["together_documents"]
    assert rows[0]["together_documents"] == PLANTED[0], "no other text holds both"
    assert counts["mn"]["questions_found"] == sum(row["occurrences"] > 0 for row in rows)


def test_every_retrieved_document_is_kept_with_its_evidence(
    estimated: tuple[dict[str, Any], dict[str, pa.Table]], corpora: list[AskedCorpus]
) -> None:
    counts, tables = estimated
    rows = tables["retrieved"].to_pylist()
    assert len(rows) == counts["mn"]["retrieved"] == 276 * SPEC.top_documents
    assert all(row["reason"] for row in rows)
    documents = read_documents(corpora[1].scanned[0].text, range(counts["mn"]["documents"]))
    assert all(documents[row["row"]].id == row["document"] for row in rows)
    held = [row for row in rows if row["verdict"] and row["question"] == 2]
    assert len(held) == PLANTED[2]
    for row in held:
        end = row["evidence_start"] + row["evidence_length"]
        assert documents[row["row"]].text[row["evidence_start"] : end] == "ᠥᠨᠳᠥᠷᠯᠢᠭ"


def test_a_holder_is_found_in_the_halves_of_pairs_too(
    estimated: tuple[dict[str, Any], dict[str, pa.Table]],
) -> None:
    counts, tables = estimated
    rows = [row for row in tables["exhaustive"].to_pylist() if row["question"] == 2]
    assert [(row["corpus"], row["document"]) for row in rows if row["part"] == "target"] == [
        ("mn", "p1")
    ]
    assert counts["mn"]["holders"]["documents"] >= sum(PLANTED.values())


def test_a_corpus_without_documents_has_no_density(
    estimated: tuple[dict[str, Any], dict[str, pa.Table]],
) -> None:
    counts, tables = estimated
    assert counts["en"]["documents"] == counts["en"]["retrieved"] == 0
    assert counts["en"]["mean_density"] is None
    assert counts["en"]["answers_never_seen"] == 276
    english = [row for row in tables["questions"].to_pylist() if row["corpus"] == "en"]
    assert {(row["occurrences"], row["density"]) for row in english} == {(0, None)}
    json.dumps(counts, allow_nan=False)


def test_where_it_runs_and_what_was_finished_before_change_nothing(
    estimated: tuple[dict[str, Any], dict[str, pa.Table]],
    corpora: list[AskedCorpus],
    tmp_path: Path,
) -> None:
    # The judge dies after the first of its two blocks; the same command goes on with the second.
    def dies(log: Any, tasks: int, function: Any) -> list[dict[str, Any]]:
        log.begin(tasks)
        log.publish(0, function(0))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_frequency(
            SPEC,
            corpora,
            tmp_path,
            open_judge=partial(
                open_judge, LexicalJudgeSpec(), JudgeRuntime(), root=tmp_path,
                cache_folder=tmp_path, fingerprint="lexical", run="test",
            ),
            run_tasks=run_here,
            run_judge=dies,
        )  # fmt: skip
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / ".work").glob("*.parquet")}
    _, again = estimate(corpora, tmp_path, run_here)
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / ".work").glob("*.parquet")}
    assert before.items() <= after.items(), "nothing that was finished is done again"
    for name in TABLES:
        assert again[name].equals(estimated[1][name])
