"""From a culture's questions to what was found of them: retrieve, judge, count, scan.

Invariant: a result does not depend on how the questions were cut into tasks, on who ran them, or on
who was killed. Tasks leave Parquet parts beside their log; ``run_tasks`` puts them on Ray.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.frequency.counting.density import (
    EXHAUSTIVE,
    QUESTIONS,
    RETRIEVED,
    concatenated,
    question_rows,
    summary,
)
from ccx_ray.frequency.counting.exact_counts import exact_counts
from ccx_ray.frequency.counting.exhaustive import exhaustive_holders
from ccx_ray.frequency.counting.lexicon.reading import Lexicon
from ccx_ray.frequency.judges.lexical import LexicalJudge, question_terms
from ccx_ray.frequency.judges.opening import open_judge
from ccx_ray.frequency.judges.verdict import Judge, Request
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.text.text_parts import read_documents
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_parquet
from ccx_ray.study.frequency_spec import FrequencySpec, JudgeRuntime, JudgeSpec, LexicalJudgeSpec

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
        Per corpus the counts of ``density.summary``, holders by part, and seconds of each stage.
    """
    blocks = [
        _Block(asked=asked, start=start, stop=min(start + QUESTIONS_AT_ONCE, len(asked.clozes)))
        for asked in corpora
        for start in range(0, len(asked.clozes), QUESTIONS_AT_ONCE)
    ]
    stages: dict[str, list[dict[str, Any]]] = {}
    logs = {stage: WorkLog(folder, stage) for stage in ("search", "scan", "judge")}
    scratch = logs["search"].scratch

    def part(stage: str, number: int) -> Path:
        return scratch / f"{stage}-{number:05d}.parquet"

    def search(number: int) -> dict[str, Any]:
        return _timed(lambda: _search(spec, blocks[number], part("hits", number)))

    def scan(number: int) -> dict[str, Any]:
        paths = part("counts", number), part("holders", number)
        return _timed(lambda: _scan(spec, blocks[number], *paths))

    def judge(number: int) -> dict[str, Any]:
        paths = part("hits", number), part("judged", number)
        return _timed(lambda: _judge(blocks[number], open_judge, *paths))

    stages["search"] = run_tasks(logs["search"], len(blocks), search)
    stages["scan"] = run_tasks(logs["scan"], len(blocks), scan)
    stages["judge"] = run_judge(logs["judge"], len(blocks), judge)

    counts: dict[str, Any] = {}
    written: dict[str, list[pa.Table]] = {"questions": [], "retrieved": [], "exhaustive": []}
    for asked in corpora:
        own = [number for number, block in enumerate(blocks) if block.asked is asked]
        read = {
            name: [pq.read_table(part(name, number)) for number in own]
            for name in ("counts", "judged", "holders")
        }
        retrieved = concatenated(read["judged"], RETRIEVED)
        exhaustive = concatenated(read["holders"], EXHAUSTIVE)
        questions = question_rows(
            pa.concat_tables(read["counts"]), retrieved, asked.lexicon().documents
        )
        written["questions"].append(questions)
        written["retrieved"].append(retrieved)
        written["exhaustive"].append(exhaustive)
        holders = exhaustive["part"].to_pylist()
        counts[asked.corpus] = {
            **summary(questions),
            "holders": {scanned.part: holders.count(scanned.part) for scanned in asked.scanned},
            "seconds": {
                stage: round(sum(results[number]["seconds"] for number in own), 3)
                for stage, results in stages.items()
            },
        }
    schemas = {"questions": QUESTIONS, "retrieved": RETRIEVED, "exhaustive": EXHAUSTIVE}
    for name, tables in written.items():
        publish_parquet(folder / f"{name}.parquet", concatenated(tables, schemas[name]))
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
    """A judge for questions asked of one corpus; see ``judges.opening.open_judge``."""
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


def _frequencies(clozes: Sequence[Cloze], lexicon: Lexicon) -> dict[str, int]:
    """Document frequencies of the terms that the questions are made of."""
    return lexicon.document_frequencies(
        {term for cloze in clozes for term in question_terms(cloze)}
    )


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
    publish_parquet(path, _table(rows, _HITS))


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
                **block.key(hit["question"]),
                "rank": hit["rank"],
                "document": texts[hit["document"]].id,
                "row": hit["document"],
                "score": hit["score"],
                "passage_start": hit["passage_start"],
                "passage_length": hit["passage_length"],
                "verdict": verdict.holds,
                "evidence_start": verdict.evidence_start,
                "evidence_length": verdict.evidence_length,
                "reason": verdict.reason,
            }
            for hit, verdict in zip(some, verdicts, strict=True)
        )
    publish_parquet(path, _table(rows, RETRIEVED))


def _by_questions(hits: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """The hits of a few questions at a time."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for hit in hits:
        groups.setdefault(hit["question"] // JUDGED_AT_ONCE, []).append(hit)
    return groups.values()


def _scan(spec: FrequencySpec, block: _Block, counts: Path, holders: Path) -> None:
    """Exact counts, and everything that the lexical judge accepts wherever it stands."""
    asked, lexicon = block.asked, block.asked.lexicon()
    # Another judge reads what was retrieved; nobody but the lexical one can read everything.
    lexical = spec.judge if isinstance(spec.judge, LexicalJudgeSpec) else LexicalJudgeSpec()
    judge = LexicalJudge(
        _frequencies(asked.clozes, lexicon),
        documents=lexicon.documents,
        salient_share=lexical.salient_share,
    )
    found: list[dict[str, Any]] = []
    accepted = [0] * len(block.clozes)
    for scanned in asked.scanned:
        for holder in exhaustive_holders(
            Lexicon(scanned.lexicon), scanned.text, judge, block.clozes, part=scanned.part
        ):
            found.append(
                {
                    **block.key(holder.question),
                    "part": scanned.part,
                    "row": holder.row,
                    "document": holder.document,
                    "evidence_start": holder.evidence_start,
                    "evidence_length": holder.evidence_length,
                }
            )
            accepted[holder.question] += scanned is asked.scanned[0]
    rows = [
        {
            **block.key(question),
            **vars(counted),
            "lexical_documents": accepted[question],
        }
        for question, counted in enumerate(exact_counts(lexicon, block.clozes))
    ]
    names = ("retrieved", "occurrences", "documents", "density")
    publish_parquet(counts, _table(rows, pa.schema([f for f in QUESTIONS if f.name not in names])))
    publish_parquet(holders, _table(found, EXHAUSTIVE))


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)
