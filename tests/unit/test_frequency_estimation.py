"""The estimate of a small corpus: its tasks, and what does not depend on them."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ccx_ray.frequency.counting.exact_counts import (
    SHARD_COUNTS,
    corpus_counts,
    question_entities,
)
from ccx_ray.frequency.estimation import AskedCorpus, ScannedPart, estimate_frequency
from ccx_ray.frequency.judges.factory import open_judge
from ccx_ray.frequency.retrieval.index_building import build_index
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.orchestration.tasks import WorkLog, run_here
from ccx_ray.study.frequency_spec import EndpointJudgeSpec, FrequencySpec, JudgeRuntime
from tests.judge_server import Exchange, LoopbackServer, completion_of
from tests.lexicon_corpus import (
    bundled_documents,
    bundled_pairs,
    bundled_questions,
    exhaustive_scan,
    judge_of,
    lexicon_of,
    write_text,
)

PARTS = ("documents", "target")


def test_a_scan_is_a_task_a_shard_and_finds_what_one_process_finds(
    project: Path, tmp_path: Path
) -> None:
    clozes = bundled_questions(project, "ko", "ko")[:12]
    texts = bundled_documents(project, "ko", 40)
    for row in (0, 20, 39):
        texts[row] += f"\n{clozes[3].statement}"
    pairs = [*bundled_pairs(project, "ko", 20), ("", clozes[5].statement)]
    text = write_text(tmp_path / "text", texts, pairs)
    lexicon, spec = lexicon_of(text, tmp_path / "lexicon"), FrequencySpec(top_documents=5)
    index, folder = tmp_path / "index", tmp_path / "frequency"
    index.mkdir()
    build_index(
        spec, spec.embedder, text_folder=text, folder=index, model_folder=None, run_tasks=run_here
    )
    asked = AskedCorpus(
        culture="ko",
        corpus="ko",
        clozes=tuple(clozes),
        index=index,
        model_folder=None,
        scanned=tuple(
            ScannedPart(part=part, text=text, lexicon=tmp_path / "lexicon") for part in PARTS
        ),
    )
    stages: dict[str, int] = {}

    def run(log: WorkLog, tasks: int, function: Any, /) -> list[dict[str, Any]]:
        stages[log._folder.name] = tasks
        return run_here(log, tasks, function)

    estimate_frequency(
        spec,
        [asked],
        folder,
        open_judge=lambda clozes, lexicon: judge_of(lexicon, clozes),
        run_tasks=run,
        run_judge=run,
    )
    shards = sum(lexicon.shard_count(part) for part in PARTS)
    assert shards > len(PARTS)
    assert stages == {"search": 1, "entities": 1, "scan": shards, "judge": 1}

    judge = judge_of(lexicon, clozes)
    expected = [
        {**row, "culture": "ko", "corpus": "ko", "part": part}
        for part in PARTS
        for row in exhaustive_scan(lexicon, text, judge, clozes, part=part)
    ]
    assert len(expected) >= 4
    assert pq.read_table(folder / "exhaustive.parquet").to_pylist() == expected
    questions = pq.read_table(folder / "questions.parquet")
    entities = question_entities(lexicon, clozes)
    counts = corpus_counts(lexicon, clozes, entities)
    for name, own in zip(SHARD_COUNTS, counts.T.tolist(), strict=True):
        assert questions[name].to_pylist() == own
    assert questions["entity"].to_pylist() == [entity.term for entity in entities]
    assert questions["lexical_documents"].to_pylist() == [
        sum((row["question"], row["part"]) == (question, "documents") for row in expected)
        for question in range(len(clozes))
    ]


def test_documents_without_a_readable_verdict_are_counted_apart(tmp_path: Path) -> None:
    """Real answers of an endpoint that says nothing about every document that names a river."""

    async def server(body: bytes) -> Exchange:
        prompt = json.loads(body)["messages"][0]["content"]
        held = json.dumps({"holds": True, "evidence": "Seoul", "reason": "said"})
        return completion_of("Well ..." if "river" in prompt else held)

    endpoint, folder = LoopbackServer(server), tmp_path / "frequency"
    cloze = Cloze(question="The capital of Korea is ___.", answer="Seoul")
    spec = FrequencySpec(top_documents=4)
    texts = [f"The capital of Korea is Seoul, {by}." for by in ("a city", "by a river", "old")]
    text = write_text(tmp_path / "text", texts, [])
    lexicon_of(text, tmp_path / "lexicon")
    build_index(
        spec, spec.embedder, text_folder=text, folder=tmp_path / "index", model_folder=None,
        run_tasks=run_here,
    )  # fmt: skip
    scanned = ScannedPart(part="documents", text=text, lexicon=tmp_path / "lexicon")
    asked = AskedCorpus(
        culture="ko", corpus="en", clozes=(cloze,), index=tmp_path / "index", model_folder=None,
        scanned=(scanned,),
    )  # fmt: skip
    judge = EndpointJudgeSpec(kind="endpoint", model="m")
    runtime = JudgeRuntime(url=endpoint.url, max_retries=1)
    opened = partial(
        open_judge, judge, runtime, root=tmp_path, cache_folder=tmp_path, fingerprint="abc",
        run="one",
    )  # fmt: skip
    counts = estimate_frequency(
        spec, [asked], folder, open_judge=opened, run_tasks=run_here, run_judge=run_here
    )["en"]
    endpoint.close()
    assert (counts["retrieved"], counts["unreadable"]) == (3, 1)
    rows = pq.read_table(folder / "retrieved.parquet").to_pylist()
    assert {row["row"]: row["verdict"] for row in rows} == {0: True, 1: None, 2: True}
    (without,) = (row["reason"] for row in rows if row["verdict"] is None)
    assert without.startswith("no readable answer: it has no JSON") and "'Well ...'" in without
    (question,) = pq.read_table(folder / "questions.parquet").to_pylist()
    assert (question["retrieved"], question["occurrences"]) == (3, 2)
