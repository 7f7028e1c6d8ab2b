"""Estimated against true frequencies of planted facts.

Every retriever's documents are given to every judge, as the study does it; exact counts stand
beside them. Invariant: nothing of a planted text is told to what estimates: lexicon and index are
built of it as of any other.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ccx_ray.frequency.counting.exact_counts import SHARD_COUNTS, corpus_counts, question_entities
from ccx_ray.frequency.counting.exhaustive import exhaustive_scan
from ccx_ray.frequency.counting.lexicon.building import build_lexicon
from ccx_ray.frequency.counting.lexicon.reading import Lexicon
from ccx_ray.frequency.estimation import OpenJudge, scanning_judge
from ccx_ray.frequency.judges.factory import judge_name
from ccx_ray.frequency.judges.verdict import Judge, Request
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex, Hit
from ccx_ray.frequency.retrieval.index_building import build_index
from ccx_ray.frequency.text.documents import read_documents
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.estimated import Search, retrievers_of
from ccx_ray.frequency.validation.planting import PlantedCorpus
from ccx_ray.orchestration.tasks import RunTasks
from ccx_ray.study.frequency_spec import EmbedderSpec, FrequencySpec

PLANTED = pa.schema(
    [
        *((name, pa.string()) for name in ("corpus", "retriever", "judge")),
        *((name, pa.int32()) for name in ("fact", "planted", "estimated")),
    ]
)
EVERY_DOCUMENT = "every document"
"""The retriever of what is counted without retrieval."""
ANSWER, TOGETHER = "answer", "answer and entity"


def estimate_planted(
    planted: PlantedCorpus,
    spec: FrequencySpec,
    embedders: Mapping[str, tuple[EmbedderSpec, Path | None]],
    folder: Path,
    *,
    judges: Mapping[str, OpenJudge],
    run_tasks: RunTasks,
) -> list[dict[str, Any]]:
    """Rows of ``PLANTED``: one a fact, retriever and judge.

    Args:
        embedders: by name, each with the folder of its model if that is not in its spec.
        folder: for the lexicon and the indexes; what is finished of them is not done again.
        judges: by name.
    """
    clozes = [fact.cloze for fact in planted.facts]
    build_lexicon(planted.text, folder / "lexicon", run_tasks=run_tasks)
    lexicon = Lexicon(folder / "lexicon")
    retrievers: dict[str, Search] = {}
    for name, (embedder, model_folder) in embedders.items():
        index = folder / f"index-{name}"
        build_index(
            spec,
            embedder,
            text_folder=planted.text,
            folder=index,
            model_folder=model_folder,
            run_tasks=run_tasks,
        )
        opened = CorpusIndex(index, embedder, model_folder=model_folder)
        retrievers |= retrievers_of(opened, name)
    queries = [cloze.query(spec.query) for cloze in clozes]
    hits = {name: search(queries, spec.top_documents) for name, search in retrievers.items()}
    estimates = {
        (retriever, judge): counts
        for judge, open_judge in judges.items()
        for retriever, counts in _judged(planted, clozes, hits, open_judge(clozes, lexicon)).items()
    }
    estimates |= {
        (EVERY_DOCUMENT, judge): counts
        for judge, counts in _counted(planted, clozes, lexicon, spec).items()
    }
    return [
        {
            "corpus": planted.corpus,
            "retriever": retriever,
            "judge": judge,
            "fact": number,
            "planted": fact.planted,
            "estimated": count,
        }
        for (retriever, judge), counts in estimates.items()
        for number, (fact, count) in enumerate(zip(planted.facts, counts, strict=True))
    ]


def planted_summary(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the rows say by corpus, retriever and judge, for ``validation.json``.

    ``spearman`` is None where nothing varies. ``exact`` counts facts that were estimated at their
    frequency, and ``means`` gives the mean estimate of every planted frequency.
    """
    groups: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for row in rows:
        key = (row["corpus"], row["retriever"], row["judge"])
        groups.setdefault(key, []).append((row["planted"], row["estimated"]))
    return [
        {
            "corpus": corpus,
            "retriever": retriever,
            "judge": judge,
            "facts": len(pairs),
            "spearman": rank_correlation(pairs),
            "exact": sum(known == found for known, found in pairs),
            "means": {
                str(level): float(np.mean([found for known, found in pairs if known == level]))
                for level in sorted({known for known, _ in pairs})
            },
        }
        for (corpus, retriever, judge), pairs in groups.items()
    ]


def rank_correlation(pairs: Sequence[tuple[int, int]]) -> float | None:
    """Spearman's, with ties at their mean rank; None where one side does not vary."""
    from scipy.stats import spearmanr

    if any(len(set(side)) < 2 for side in zip(*pairs, strict=True)):
        return None
    known, found = zip(*pairs, strict=True)
    return float(spearmanr(known, found).statistic)


def _judged(
    planted: PlantedCorpus,
    clozes: Sequence[Cloze],
    hits: Mapping[str, list[list[Hit]]],
    judge: Judge,
) -> dict[str, list[int]]:
    """Retriever -> of every fact, how many of its documents the judge accepts.

    A document that several retrievers bring up is judged once, by the passage of the first.
    """
    pairs: dict[tuple[int, int], Hit] = {}
    for of_retriever in hits.values():
        for fact, found in enumerate(of_retriever):
            for hit in found:
                pairs.setdefault((fact, hit.document), hit)
    documents = read_documents(planted.text, {row for _, row in pairs})
    verdicts = judge.judge(
        [
            Request(
                cloze=clozes[fact],
                document=documents[row],
                passage_start=hit.passage_start,
                passage_length=hit.passage_length,
            )
            for (fact, row), hit in pairs.items()
        ]
    )
    holds = {pair: verdict.holds for pair, verdict in zip(pairs, verdicts, strict=True)}
    return {
        name: [
            sum(holds[fact, hit.document] for hit in found)
            for fact, found in enumerate(of_retriever)
        ]
        for name, of_retriever in hits.items()
    }


def _counted(
    planted: PlantedCorpus, clozes: Sequence[Cloze], lexicon: Lexicon, spec: FrequencySpec
) -> dict[str, list[int]]:
    """Judge -> of every fact, what is counted over all documents."""
    exact = corpus_counts(lexicon, clozes, question_entities(lexicon, clozes))
    counted = dict(zip(SHARD_COUNTS, exact.T.tolist(), strict=True))
    found = [0] * len(clozes)
    judge = scanning_judge(spec, clozes, lexicon)
    for row in exhaustive_scan(lexicon, planted.text, judge, clozes):
        found[row["question"]] += 1
    return {
        judge_name(spec.scanning_judge): found,
        TOGETHER: counted["together_documents"],
        ANSWER: counted["answer_documents"],
    }
