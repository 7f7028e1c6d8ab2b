"""The estimate of a culture's frequencies: retrieve, scan and count, judge.

Invariant: a result does not depend on how the work was cut into tasks, on who ran them, or on who
was killed. A search and a judgement are a task a block of questions, a scan is a task a block and
shard of a corpus. Tasks leave Parquet parts beside their log; ``run_tasks`` puts them on Ray.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.frequency.counting.density import (
    EXHAUSTIVE,
    RETRIEVED,
    concatenated,
    question_rows,
    summary,
)
from ccx_ray.frequency.counting.exact_counts import (
    SHARD_COUNTS,
    Entity,
    question_entities,
    shard_counts,
)
from ccx_ray.frequency.counting.exhaustive import scan_shard
from ccx_ray.frequency.counting.lexicon.reading import Lexicon
from ccx_ray.frequency.judges.factory import open_judge
from ccx_ray.frequency.judges.lexical import LexicalJudge, question_terms
from ccx_ray.frequency.judges.verdict import Judge, Request
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.text.documents import read_documents
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_parquet
from ccx_ray.study.frequency_spec import FrequencySpec, JudgeRuntime, JudgeSpec

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

    @property
    def text(self) -> Path:
        return self.scanned[0].text

    def lexicon(self) -> Lexicon:
        """Of the monolingual documents."""
        return Lexicon(self.scanned[0].lexicon)


OpenJudge = Callable[[Sequence[Cloze], Lexicon], Judge]
"""For these questions in the corpus of this lexicon; called in the process that judges."""


@dataclass(frozen=True, kw_only=True)
class _Block:
    number: int
    asked: AskedCorpus
    start: int
    stop: int

    @property
    def clozes(self) -> Sequence[Cloze]:
        return self.asked.clozes[self.start : self.stop]

    def key(self, question: int) -> dict[str, Any]:
        """Of a question, counted from the beginning of the block."""
        asked = self.asked
        return {
            "culture": asked.culture,
            "question": self.start + question,
            "corpus": asked.corpus,
        }


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """A task: the questions of a block in one shard of a part."""

    block: _Block
    scanned: ScannedPart
    shard: int

    @property
    def of_documents(self) -> bool:
        return self.scanned is self.block.asked.scanned[0]


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
    logs = {stage: WorkLog(folder, stage) for stage in ("search", "entities", "scan", "judge")}
    scratch = logs["search"].scratch
    blocks = _blocks(corpora)
    scans = [
        _Scan(block=block, scanned=scanned, shard=shard)
        for block in blocks
        for scanned in block.asked.scanned
        for shard in range(Lexicon(scanned.lexicon).shard_count(scanned.part))
    ]

    def part(name: str, number: int) -> Path:
        return scratch / f"{name}-{number:05d}.parquet"

    def search(number: int) -> dict[str, Any]:
        return _timed(lambda: _search(spec, blocks[number], part("hits", number)))

    def choose_entities(number: int) -> dict[str, Any]:
        clock = time.monotonic()
        entities = question_entities(blocks[number].asked.lexicon(), blocks[number].clozes)
        return {"entities": entities, "seconds": time.monotonic() - clock}

    def scan(number: int) -> dict[str, Any]:
        own = chosen[scans[number].block.number]
        paths = part("supports", number), part("counts", number)
        return _timed(lambda: _scan(spec, scans[number], own, *paths))

    def judge(number: int) -> dict[str, Any]:
        paths = part("hits", number), part("judged", number)
        return _timed(lambda: _judge(blocks[number], open_judge, *paths))

    results = {"search": run_tasks(logs["search"], len(blocks), search)}
    results["entities"] = run_tasks(logs["entities"], len(blocks), choose_entities)
    chosen = [[Entity(*one) for one in found["entities"]] for found in results["entities"]]
    results["scan"] = run_tasks(logs["scan"], len(scans), scan)
    results["judge"] = run_judge(logs["judge"], len(blocks), judge)

    counts: dict[str, Any] = {}
    written: dict[str, list[pa.Table]] = {"questions": [], "retrieved": [], "exhaustive": []}
    for asked in corpora:
        own = [block for block in blocks if block.asked is asked]
        own_scans = [number for number, one in enumerate(scans) if one.block.asked is asked]
        retrieved = concatenated(
            [pq.read_table(part("judged", block.number)) for block in own], RETRIEVED
        )
        exhaustive = concatenated(
            [pq.read_table(part("supports", number)) for number in own_scans], EXHAUSTIVE
        )
        exact = np.zeros((len(asked.clozes), len(SHARD_COUNTS)), np.int64)
        for number in own_scans:
            if scans[number].of_documents:
                block = scans[number].block
                shard = pq.read_table(part("counts", number))
                exact[block.start : block.stop] += np.stack(shard.columns, axis=1)
        questions = question_rows(
            asked.culture,
            asked.corpus,
            entities=[entity for block in own for entity in chosen[block.number]],
            exact=exact,
            retrieved=retrieved,
            exhaustive=exhaustive,
            documents=asked.lexicon().documents,
        )
        for name, table in zip(written, (questions, retrieved, exhaustive), strict=True):
            written[name].append(table)
        supports = exhaustive["part"].to_pylist()
        seconds = {
            stage: sum(results[stage][block.number]["seconds"] for block in own)
            for stage in ("search", "entities", "judge")
        }
        scanning = sum(results["scan"][number]["seconds"] for number in own_scans)
        counts[asked.corpus] = {
            **summary(questions),
            "holders": {scanned.part: supports.count(scanned.part) for scanned in asked.scanned},
            "seconds": {
                "search": round(seconds["search"], 3),
                "scan": round(seconds["entities"] + scanning, 3),
                "judge": round(seconds["judge"], 3),
            },
        }
    for name, tables in written.items():
        publish_parquet(folder / f"{name}.parquet", pa.concat_tables(tables))
    return counts


def open_corpus_judge(
    spec: JudgeSpec,
    runtime: JudgeRuntime,
    clozes: Sequence[Cloze],
    lexicon: Lexicon,
    *,
    root: Path,
    cache_folder: Path,
    fingerprint: str,
    run: str,
) -> Judge:
    """A judge for questions asked of one corpus; see ``judges.factory.open_judge``."""
    return open_judge(
        spec,
        runtime,
        root=root,
        cache_folder=cache_folder,
        fingerprint=fingerprint,
        document_frequencies=_frequencies(clozes, lexicon),
        documents=lexicon.documents,
        run=run,
    )


def scanning_judge(spec: FrequencySpec, clozes: Sequence[Cloze], lexicon: Lexicon) -> LexicalJudge:
    """The lexical judge that scans a corpus, whatever judge reads what was retrieved."""
    return LexicalJudge(
        _frequencies(clozes, lexicon),
        documents=lexicon.documents,
        salient_share=spec.scanning_judge.salient_share,
    )


def _frequencies(clozes: Sequence[Cloze], lexicon: Lexicon) -> dict[str, int]:
    """Document frequencies of the terms that the questions are made of."""
    return lexicon.document_frequencies(
        {term for cloze in clozes for term in question_terms(cloze)}
    )


def _blocks(corpora: Sequence[AskedCorpus]) -> list[_Block]:
    spans = [
        (asked, start)
        for asked in corpora
        for start in range(0, len(asked.clozes), QUESTIONS_AT_ONCE)
    ]
    return [
        _Block(
            number=number,
            asked=asked,
            start=start,
            stop=min(start + QUESTIONS_AT_ONCE, len(asked.clozes)),
        )
        for number, (asked, start) in enumerate(spans)
    ]


def _timed(work: Callable[[], None]) -> dict[str, Any]:
    clock = time.monotonic()
    work()
    return {"seconds": time.monotonic() - clock}


def _search(spec: FrequencySpec, block: _Block, path: Path) -> None:
    index = CorpusIndex(block.asked.index, model_folder=block.asked.model_folder)
    queries = [cloze.query(spec.query) for cloze in block.clozes]
    hits = index.search(queries, spec.top_documents, spec.retriever)
    rows = [
        {"question": question, "rank": rank, **vars(hit)}
        for question, found in enumerate(hits)
        for rank, hit in enumerate(found)
    ]
    publish_parquet(path, pa.Table.from_pylist(rows, _HITS))


_HITS = pa.schema(
    [
        ("question", pa.int32()),
        ("rank", pa.int32()),
        ("document", pa.int64()),
        ("score", pa.float64()),
        ("passage_start", pa.int64()),
        ("passage_length", pa.int64()),
    ]
)


def _judge(block: _Block, open_judge: OpenJudge, hits: Path, path: Path) -> None:
    judge = open_judge(block.asked.clozes, block.asked.lexicon())
    found = pq.read_table(hits).to_pylist()
    rows: list[dict[str, Any]] = []
    for some in _by_questions(found):
        texts = read_documents(block.asked.text, {hit["document"] for hit in some})
        verdicts = judge.judge(
            [
                Request(
                    cloze=block.clozes[hit["question"]],
                    document=texts[hit["document"]],
                    passage_start=hit["passage_start"],
                    passage_length=hit["passage_length"],
                )
                for hit in some
            ]
        )
        rows.extend(
            {
                **hit,
                **block.key(hit["question"]),
                "document": texts[hit["document"]].id,
                "row": hit["document"],
                "verdict": verdict.holds,
                "evidence_start": verdict.evidence_start,
                "evidence_length": verdict.evidence_length,
                "reason": verdict.reason,
            }
            for hit, verdict in zip(some, verdicts, strict=True)
        )
    publish_parquet(path, pa.Table.from_pylist(rows, RETRIEVED))


def _by_questions(hits: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """The hits of a few questions at a time."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for hit in hits:
        groups.setdefault(hit["question"] // JUDGED_AT_ONCE, []).append(hit)
    return groups.values()


def _scan(
    spec: FrequencySpec, task: _Scan, entities: Sequence[Entity], supports: Path, counts: Path
) -> None:
    """Everything in a shard that the lexical judge accepts; in one of documents exact counts."""
    block, scanned = task.block, task.scanned
    judge = scanning_judge(spec, block.asked.clozes, block.asked.lexicon())
    shard = Lexicon(scanned.lexicon).shard(scanned.part, task.shard)
    if task.of_documents:
        counted = shard_counts(shard, block.clozes, entities)
        publish_parquet(counts, pa.table(dict(zip(SHARD_COUNTS, counted.T, strict=True))))
    found = scan_shard(shard, scanned.text, judge, block.clozes, part=scanned.part)
    rows = [{**row, **block.key(row["question"]), "part": scanned.part} for row in found]
    publish_parquet(supports, pa.Table.from_pylist(rows, EXHAUSTIVE))
