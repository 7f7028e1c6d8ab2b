"""The validation step: recall, agreement and planted facts of every corpus, review sheets.

Invariant: a result does not depend on who ran which task, or who was killed.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.frequency.counting.lexicon.reading import Lexicon
from ccx_ray.frequency.estimation import OpenJudge
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.agreement import AGREEMENT, compare_judges
from ccx_ray.frequency.validation.estimated import EstimatedCorpus, Search, retrievers_of
from ccx_ray.frequency.validation.planted import (
    PLANTED,
    estimate_planted,
    planted_summary,
)
from ccx_ray.frequency.validation.planting import plant_facts
from ccx_ray.frequency.validation.recall import RECALL, measure_recall
from ccx_ray.frequency.validation.review_sheet import write_review_sheets
from ccx_ray.orchestration.tasks import RunTasks, WorkLog, run_here
from ccx_ray.storage.publishing import publish_json, publish_parquet
from ccx_ray.study.frequency_spec import EmbedderSpec, FrequencySpec


@dataclass(frozen=True, kw_only=True)
class ComparedIndex:
    """An index of the corpus by one embedder."""

    embedder: EmbedderSpec
    folder: Path
    model_folder: Path | None


@dataclass(frozen=True, kw_only=True)
class ValidatedCorpus:
    """One corpus, what was estimated of it, and all that could have been used for that."""

    estimated: EstimatedCorpus
    lexicon: Path
    indexes: tuple[ComparedIndex, ...]
    """The study's own first."""

    @property
    def clozes(self) -> list[Cloze]:
        return [cloze for of_culture in self.estimated.clozes.values() for cloze in of_culture]


def validate(
    spec: FrequencySpec,
    corpora: Sequence[ValidatedCorpus],
    folder: Path,
    *,
    title: str,
    judges: Mapping[str, OpenJudge],
    run_tasks: RunTasks,
    run_judges: RunTasks,
) -> dict[str, Any]:
    """Write ``recall``, ``agreement`` and ``planted.parquet``, ``validation.json``, the sheets.

    Args:
        title: of the study.
        judges: by name, the study's own first.
        run_judges: runs what asks a judge.

    Returns:
        ``validation.json``'s summary.
    """
    own, *others = judges
    plan = spec.validation

    def recall(number: int) -> dict[str, Any]:
        corpus = corpora[number]
        retrievers: dict[str, Search] = {}
        for compared in corpus.indexes:
            index = CorpusIndex(
                compared.folder, compared.embedder, model_folder=compared.model_folder
            )
            retrievers |= retrievers_of(index, compared.embedder.name)
        rows = measure_recall(
            corpus.estimated, retrievers, query=spec.query, top=spec.top_documents, seed=plan.seed
        )
        return {"rows": rows}

    def agreement(number: int) -> dict[str, Any]:
        corpus = corpora[number]
        lexicon = Lexicon(corpus.lexicon)
        opened = {name: judges[name](corpus.clozes, lexicon) for name in others}
        rows = compare_judges(
            corpus.estimated, own, opened, pairs=plan.judged_pairs, seed=plan.seed
        )
        return {"rows": rows}

    def planted(number: int) -> dict[str, Any]:
        return _planted(spec, corpora[number], judges)

    count = len(corpora)
    found = {
        "recall": run_tasks(WorkLog(folder, "recall"), count, recall),
        "agreement": run_judges(WorkLog(folder, "agreement"), count if others else 0, agreement),
        "planted": run_judges(
            WorkLog(folder, "planted"), count if plan.planted_facts else 0, planted
        ),
    }
    rows = {
        name: [row for one in results for row in one["rows"]] for name, results in found.items()
    }
    for name, schema in (("recall", RECALL), ("agreement", AGREEMENT), ("planted", PLANTED)):
        publish_parquet(folder / f"{name}.parquet", pa.Table.from_pylist(rows[name], schema))
    sheets = write_review_sheets(
        folder,
        [corpus.estimated for corpus in corpora],
        title=title,
        size=plan.reviewed_documents,
        seed=plan.seed,
    )
    summary = {
        "retriever": spec.retriever_name,
        "judge": own,
        "top_documents": spec.top_documents,
        "planted": planted_summary(rows["planted"]),
        "planted_corpora": {
            corpus.estimated.corpus: result["corpus"]
            for corpus, result in zip(corpora, found["planted"], strict=False)
        },
        "sheets": sheets,
    }
    publish_json(folder / "validation.json", summary)
    return summary


def _planted(
    spec: FrequencySpec, corpus: ValidatedCorpus, judges: Mapping[str, OpenJudge]
) -> dict[str, Any]:
    plan = spec.validation
    with tempfile.TemporaryDirectory(prefix="ccx-ray-planted-") as scratch:
        planted = plant_facts(
            corpus.estimated.corpus,
            corpus.estimated.text,
            corpus.estimated.clozes,
            Path(scratch) / "text",
            facts=plan.planted_facts,
            characters=plan.planted_characters,
            salient_share=spec.scanning_judge.salient_share,
            seed=plan.seed,
        )
        rows = estimate_planted(
            planted,
            spec,
            {
                compared.embedder.name: (compared.embedder, compared.model_folder)
                for compared in corpus.indexes
            },
            Path(scratch),
            judges=judges,
            run_tasks=run_here,
        )
    return {
        "rows": rows,
        "corpus": {
            "documents": planted.documents,
            "characters": planted.characters,
            "facts": len(planted.facts),
            "frequencies": planted.frequencies,
            "passed_over": planted.known,
        },
    }


def validation_metrics(folder: Path) -> dict[str, float]:
    """For MLflow what is known, as ``recall/en/ko/bm25``, ``planted/...`` and ``kappa/...``."""
    content = json.loads((folder / "validation.json").read_text("utf-8"))
    kinds = (
        ("recall", "recall", pq.read_table(folder / "recall.parquet").to_pylist(),
         ("corpus", "culture", "retriever")),
        ("planted", "spearman", content["planted"], ("corpus", "retriever", "judge")),
        ("kappa", "kappa", pq.read_table(folder / "agreement.parquet").to_pylist(),
         ("corpus", "culture", "judge", "other")),
    )  # fmt: skip
    return {
        _metric(kind, (row[key] for key in keys)): row[value]
        for kind, value, rows, keys in kinds
        for row in rows
        if row[value] is not None
    }


def _metric(kind: str, names: Iterable[str]) -> str:
    """MLflow takes letters, digits, blanks and ``_-./:`` in a name."""
    joined = "/".join(names).replace("+", " and ")
    return f"{kind}/{''.join(c if c.isalnum() or c in ' _-./:' else '_' for c in joined)}"
