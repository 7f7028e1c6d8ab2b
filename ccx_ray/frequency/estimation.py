"""The estimate of a culture's frequencies: retrieve, scan and count, judge.

Invariant: a result does not depend on how the work was cut into tasks, on who ran them, or on who
was killed. A search and a judgement are a task a block of questions, a scan is a task a block and
shard of a corpus. Tasks leave Parquet parts beside their log; ``run_tasks`` puts them on Ray.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.frequency.counting.density import EXHAUSTIVE, RETRIEVED, question_rows, summary
from ccx_ray.frequency.counting.exact_counts import (
    SHARD_COUNTS,
    Entity,
    question_entities,
    scan_shard,
    shard_counts,
)
from ccx_ray.frequency.counting.lexicon import Lexicon
from ccx_ray.frequency.judges.factory import OpenJudge
from ccx_ray.frequency.judges.lexical import lexical_judge
from ccx_ray.frequency.judges.verdict import Request
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.text.documents import DOCUMENTS, read_documents
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_parquet
from ccx_ray.study.frequency_spec import FrequencySpec

QUESTIONS_AT_ONCE = 512
"""Of one task: its questions share the documents that it has read and normalised."""
JUDGED_AT_ONCE = 128
"""Questions whose retrieved documents are in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class ScannedPart:
    """Texts that are scanned for evidence: documents, or one half of all pairs."""

    part: str
    text: Path
    lexicon: Path


@dataclass(frozen=True, kw_only=True)
class AskedCorpus:
    """The questions of one culture in one language, and where their knowledge is looked for."""

    culture: str
    corpus: str
    clozes: tuple[Cloze, ...]
    index: Path
    model_folder: Path | None
    """Of the index's embedder."""
    scanned: tuple[ScannedPart, ...]
    """The monolingual documents first; they alone count for density."""

    def lexicon(self) -> Lexicon:
        """Of the monolingual documents."""
        return Lexicon(self.scanned[0].lexicon)


class _Block(NamedTuple):
    """Some questions of one culture in one language."""

    number: int
    asked: AskedCorpus
    start: int

    @property
    def clozes(self) -> Sequence[Cloze]:
        return self.asked.clozes[self.start : self.start + QUESTIONS_AT_ONCE]

    def key(self, question: int) -> dict[str, Any]:
        """Of a question, counted from the beginning of the block."""
        asked = self.asked
        number = self.start + question
        return {"culture": asked.culture, "question": number, "corpus": asked.corpus}


def estimate_frequency(
    spec: FrequencySpec,
    corpora: Sequence[AskedCorpus],
    folder: Path,
    *,
    open_judge: OpenJudge,
    run_tasks: RunTasks,
    run_judge: RunTasks,
) -> dict[str, Any]:
    """Write ``questions.parquet``, ``retrieved.parquet`` and ``exhaustive.parquet``.

    Args:
        folder: of the step; what is finished of it is not done again.
        run_judge: runs the judge's tasks, which may need a GPU or this very process.

    Returns:
        Per corpus the counts of ``density.summary``, supporting texts by part, and seconds of each
        stage.
    """
    starts = [(a, start) for a in corpora for start in range(0, len(a.clozes), QUESTIONS_AT_ONCE)]
    blocks = [_Block(number, asked, start) for number, (asked, start) in enumerate(starts)]
    scans = [
        (block, scanned, shard)
        for block in blocks
        for scanned in block.asked.scanned
        for shard in range(Lexicon(scanned.lexicon).shard_count(scanned.part))
    ]
    scratch = WorkLog(folder, "search").scratch

    def part(name: str, number: int) -> Path:
        return scratch / f"{name}-{number:05d}.parquet"

    def run(
        runner: RunTasks, stage: str, tasks: int, function: Callable[[int], dict[str, Any] | None]
    ) -> list[dict[str, Any]]:
        def timed(number: int) -> dict[str, Any]:
            clock = time.monotonic()
            result = function(number) or {}
            return {**result, "seconds": time.monotonic() - clock}

        return runner(WorkLog(folder, stage), tasks, timed)

    def search(number: int) -> None:
        _search(spec, blocks[number], part("hits", number))

    def choose_entities(number: int) -> dict[str, Any]:
        asked = blocks[number].asked
        return {"entities": question_entities(asked.lexicon(), blocks[number].clozes)}

    def scan(number: int) -> dict[str, Any]:
        return _scan(spec, *scans[number], entities=chosen, path=part("supports", number))

    def judge(number: int) -> None:
        _judge(blocks[number], open_judge, part("hits", number), part("judged", number))

    results = {"search": run(run_tasks, "search", len(blocks), search)}
    results["entities"] = run(run_tasks, "entities", len(blocks), choose_entities)
    chosen = [[Entity(*one) for one in found["entities"]] for found in results["entities"]]
    results["scan"] = run(run_tasks, "scan", len(scans), scan)
    results["judge"] = run(run_judge, "judge", len(blocks), judge)

    counts: dict[str, Any] = {}
    written: dict[str, list[pa.Table]] = {"questions": [], "retrieved": [], "exhaustive": []}
    for asked in corpora:
        own = [block.number for block in blocks if block.asked is asked]
        own_scans = [number for number, (block, *_) in enumerate(scans) if block.asked is asked]
        retrieved = _read((part("judged", number) for number in own), RETRIEVED)
        exhaustive = _read((part("supports", number) for number in own_scans), EXHAUSTIVE)
        exact = np.zeros((len(asked.clozes), len(SHARD_COUNTS)), np.int64)
        for number in own_scans:
            counted = results["scan"][number].get("exact", [])
            start = scans[number][0].start
            exact[start : start + len(counted)] += np.reshape(
                counted, (-1, len(SHARD_COUNTS))
            ).astype(np.int64)
        questions = question_rows(
            asked.culture,
            asked.corpus,
            entities=[entity for number in own for entity in chosen[number]],
            exact=exact,
            retrieved=retrieved,
            exhaustive=exhaustive,
            documents=asked.lexicon().documents,
        )
        for name, table in zip(written, (questions, retrieved, exhaustive), strict=True):
            written[name].append(table)
        supports = exhaustive["part"].to_pylist()
        unreadable = retrieved["verdict"].null_count
        seconds = {
            stage: sum(
                found[number]["seconds"] for number in (own_scans if stage == "scan" else own)
            )
            for stage, found in results.items()
        }
        seconds["scan"] += seconds.pop("entities")
        counts[asked.corpus] = {
            **summary(questions),
            **({"unreadable": unreadable} if unreadable else {}),
            "holders": {scanned.part: supports.count(scanned.part) for scanned in asked.scanned},
            "seconds": {stage: round(seconds[stage], 3) for stage in ("search", "scan", "judge")},
        }
    for name, tables in written.items():
        publish_parquet(folder / f"{name}.parquet", pa.concat_tables(tables))
    return counts


def _read(paths: Iterable[Path], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *map(pq.read_table, paths)])


def _search(spec: FrequencySpec, block: _Block, path: Path) -> None:
    index = CorpusIndex(block.asked.index, model_folder=block.asked.model_folder)
    queries = [cloze.query(spec.query) for cloze in block.clozes]
    hits = index.search(queries, spec.top_documents, spec.retriever)
    rows = [
        {"question": question, "rank": rank, **hit._asdict()}
        for question, found in enumerate(hits)
        for rank, hit in enumerate(found)
    ]
    publish_parquet(path, pa.Table.from_pylist(rows))


def _judge(block: _Block, open_judge: OpenJudge, hits: Path, path: Path) -> None:
    judge = open_judge(block.asked.clozes, block.asked.lexicon())
    found = pq.read_table(hits).to_pylist()
    rows: list[dict[str, Any]] = []
    for _, group in groupby(found, key=lambda hit: hit["question"] // JUDGED_AT_ONCE):
        some = list(group)
        texts = read_documents(block.asked.scanned[0].text, {hit["document"] for hit in some})
        requests = []
        for hit in some:
            passage = hit["passage_start"], hit["passage_length"]
            requests.append(
                Request(block.clozes[hit["question"]], texts[hit["document"]], *passage)
            )
        rows.extend(
            {
                **hit,
                **block.key(hit["question"]),
                "document": request.document.id,
                "row": hit["document"],
                "verdict": verdict.holds,
                **vars(verdict),
            }
            for hit, request, verdict in zip(some, requests, judge.judge(requests), strict=True)
        )
    publish_parquet(path, pa.Table.from_pylist(rows, RETRIEVED))


def _scan(
    spec: FrequencySpec,
    block: _Block,
    scanned: ScannedPart,
    shard_number: int,
    *,
    entities: Sequence[Sequence[Entity]],
    path: Path,
) -> dict[str, Any]:
    """Write what the lexical judge accepts in a shard; in one of documents exact counts, too."""
    judge = lexical_judge(spec.scanning_judge, block.asked.clozes, block.asked.lexicon())
    shard = Lexicon(scanned.lexicon).shard(scanned.part, shard_number)
    found = scan_shard(shard, scanned.text, judge, block.clozes, part=scanned.part)
    rows = [{**row, **block.key(row["question"]), "part": scanned.part} for row in found]
    publish_parquet(path, pa.Table.from_pylist(rows, EXHAUSTIVE))
    if scanned.part != DOCUMENTS:
        return {}
    return {"exact": shard_counts(shard, block.clozes, entities[block.number]).tolist()}
