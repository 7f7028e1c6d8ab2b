"""The validation step: recall of retrievers, agreement of judges, planted facts, review sheets.

Recall is measured against the exhaustive scan, which is the lexical judge's: so it is recall of
what that judge accepts and of nothing else. A question with more supporting documents than are
asked for cannot have all of them found: recall is of what was reachable. A question without one
says nothing about a retriever and is not counted.

Judges are compared on the same documents. Few retrieved documents hold anything, so a plain sample
would compare refusals: half of the pairs are those that the study's judge accepted, as far as there
are so many; the numbers are therefore of this sample, not of all that was retrieved.

Invariants: a result does not depend on who ran which task, or who was killed; the pairs depend on
the seed and on what was retrieved alone, and every judge sees the same.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.frequency.counting.lexicon import Lexicon
from ccx_ray.frequency.judges.factory import OpenJudge
from ccx_ray.frequency.judges.verdict import Judge, Request
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.text.documents import read_documents
from ccx_ray.frequency.validation.estimated import (
    EVERY_CULTURE,
    EstimatedCorpus,
    Search,
    half_accepted,
    retrievers_of,
)
from ccx_ray.frequency.validation.planted import (
    PLANTED,
    estimate_planted,
    plant_facts,
    planted_summary,
)
from ccx_ray.frequency.validation.review_sheet import write_review_sheets
from ccx_ray.orchestration.tasks import RunTasks, WorkLog, run_here
from ccx_ray.storage.publishing import publish_json, publish_parquet
from ccx_ray.study.frequency_spec import EmbedderSpec, FrequencySpec, QueryForm

RECALL = pa.schema(
    [
        *((name, pa.string()) for name in ("corpus", "culture", "retriever")),
        ("top", pa.int32()),
        ("questions", pa.int32()),
        *((name, pa.int64()) for name in ("holders", "reachable", "found")),
        *((name, pa.float64()) for name in ("recall", "recall_low", "recall_high")),
    ]
)
AGREEMENT = pa.schema(
    [
        *((name, pa.string()) for name in ("corpus", "culture", "judge", "other")),
        *((name, pa.int64()) for name in ("pairs", "both", "only_judge", "only_other", "neither")),
        *((name, pa.float64()) for name in ("kappa", "low", "high")),
    ]
)
RESAMPLES = 2000
DOCUMENTS_AT_ONCE = 512
Booleans = NDArray[np.bool_]


def validate(
    spec: FrequencySpec,
    corpora: Sequence[EstimatedCorpus],
    folder: Path,
    *,
    title: str,
    lexicons: Mapping[str, Path],
    embedders: Mapping[str, tuple[EmbedderSpec, Path | None]],
    indexes: Mapping[str, Mapping[str, Path]],
    judges: Mapping[str, OpenJudge],
    run_tasks: RunTasks,
    run_judges: RunTasks,
) -> dict[str, Any]:
    """Write ``recall``, ``agreement`` and ``planted.parquet``, ``validation.json``, the sheets.

    Args:
        title: of the study.
        lexicons: by corpus.
        embedders: by name, each with the folder of its model; the study's own first.
        indexes: name of an embedder -> corpus -> index.
        judges: by name, the study's own first.
        run_judges: runs what asks a judge.

    Returns:
        ``validation.json``'s summary.
    """
    own, *others = judges
    plan = spec.validation

    def recall(number: int) -> dict[str, Any]:
        estimated = corpora[number]
        retrievers: dict[str, Search] = {}
        for name, (embedder, model_folder) in embedders.items():
            index = indexes[name][estimated.corpus]
            opened = CorpusIndex(index, embedder, model_folder=model_folder)
            retrievers |= retrievers_of(opened, name)
        rows = measure_recall(
            estimated, retrievers, query=spec.query, top=spec.top_documents, seed=plan.seed
        )
        return {"rows": rows}

    def agreement(number: int) -> dict[str, Any]:
        estimated = corpora[number]
        lexicon = Lexicon(lexicons[estimated.corpus])
        clozes = [cloze for of_culture in estimated.clozes.values() for cloze in of_culture]
        opened = {name: judges[name](clozes, lexicon) for name in others}
        rows = compare_judges(estimated, own, opened, pairs=plan.judged_pairs, seed=plan.seed)
        return {"rows": rows}

    def planted(number: int) -> dict[str, Any]:
        return _planted(spec, corpora[number], embedders, judges)

    stages = (
        ("recall", RECALL, run_tasks, recall, True),
        ("agreement", AGREEMENT, run_judges, agreement, others),
        ("planted", PLANTED, run_judges, planted, plan.planted_facts),
    )
    found: dict[str, list[dict[str, Any]]] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, schema, run, measure, wanted in stages:
        found[name] = run(WorkLog(folder, name), len(corpora) if wanted else 0, measure)
        rows[name] = [row for one in found[name] for row in one["rows"]]
        publish_parquet(folder / f"{name}.parquet", pa.Table.from_pylist(rows[name], schema))
    sheets = write_review_sheets(
        folder, corpora, title=title, size=plan.reviewed_documents, seed=plan.seed
    )
    summary = {
        "retriever": spec.retriever_name,
        "judge": own,
        "top_documents": spec.top_documents,
        "planted": planted_summary(rows["planted"]),
        "planted_corpora": {
            estimated.corpus: result["corpus"]
            for estimated, result in zip(corpora, found["planted"], strict=False)
        },
        "sheets": sheets,
    }
    publish_json(folder / "validation.json", summary)
    return summary


def measure_recall(
    estimated: EstimatedCorpus,
    retrievers: Mapping[str, Search],
    *,
    query: QueryForm,
    top: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of ``RECALL``: one a culture and retriever."""
    rows = []
    for culture, clozes in estimated.clozes.items():
        supports = estimated.supports(culture)
        queries = [clozes[question].query(query) for question in supports]
        for name, search in retrievers.items():
            hits = search(queries, top) if queries else []
            retrieved = [{hit.document for hit in found} for found in hits]
            key = {"corpus": estimated.corpus, "culture": culture, "retriever": name}
            rows.append({**key, **recall(list(supports.values()), retrieved, top=top, seed=seed)})
    return rows


def recall(
    supports: Sequence[set[int]], retrieved: Sequence[set[int]], *, top: int, seed: int
) -> dict[str, Any]:
    """The numbers of one row.

    Args:
        supports: of every question with a supporting document, their rows.
        retrieved: of the same questions, the rows of at most ``top`` documents.

    Returns:
        ``recall`` is None where nothing was reachable; its 95 % interval is a bootstrap over
        questions, None for a single one, between which nothing can vary, and without width where
        all of them have the same recall.
    """
    found = np.array([len(a & b) for a, b in zip(supports, retrieved, strict=True)], float)
    reachable = np.array([min(top, len(rows)) for rows in supports], float)
    low = high = None
    if len(found) > 1:
        generator = np.random.default_rng(seed)
        drawn = generator.integers(len(found), size=(RESAMPLES, len(found)))
        ratios = found[drawn].sum(axis=1) / reachable[drawn].sum(axis=1)
        low, high = np.quantile(ratios, [0.025, 0.975]).tolist()
    return {
        "top": top,
        "questions": len(supports),
        "holders": sum(map(len, supports)),
        "reachable": int(reachable.sum()),
        "found": int(found.sum()),
        "recall": float(found.sum() / reachable.sum()) if len(found) else None,
        "recall_low": low,
        "recall_high": high,
    }


def compare_judges(
    estimated: EstimatedCorpus,
    judge: str,
    others: Mapping[str, Judge],
    *,
    pairs: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of ``AGREEMENT``: one a pair of judges, over all cultures and for each.

    Only pairs of question and document on which both gave a verdict count.

    Args:
        judge: name of the study's judge, whose verdicts are those of ``retrieved.parquet``.
        others: the judges that are compared with it and with each other, by name.
        pairs: of question and document, at most.
    """
    sample = half_accepted(estimated, size=pairs, seed=seed)
    verdicts = {judge: [pair["verdict"] for pair in sample]}
    verdicts |= {name: _verdicts(estimated, other, sample) for name, other in others.items()}
    given = {
        name: np.array([one is not None for one in own], bool) for name, own in verdicts.items()
    }
    held = {name: np.array([one is True for one in own], bool) for name, own in verdicts.items()}
    cultures = np.array([pair["culture"] for pair in sample], object)
    rows = []
    for one, other in combinations(verdicts, 2):
        for culture in (EVERY_CULTURE, *estimated.clozes):
            chosen = (cultures == culture) | (culture == EVERY_CULTURE)
            chosen = chosen & given[one] & given[other]
            key = {"corpus": estimated.corpus, "culture": culture, "judge": one, "other": other}
            rows.append({**key, **agreement(held[one][chosen], held[other][chosen])})
    return rows


def _verdicts(
    estimated: EstimatedCorpus, judge: Judge, pairs: Sequence[Mapping[str, Any]]
) -> list[bool | None]:
    holds: list[bool | None] = []
    for start in range(0, len(pairs), DOCUMENTS_AT_ONCE):
        some = pairs[start : start + DOCUMENTS_AT_ONCE]
        documents = read_documents(estimated.text, {pair["row"] for pair in some})
        requests = []
        for pair in some:
            passage = pair["passage_start"], pair["passage_length"]
            requests.append(Request(estimated.cloze(pair), documents[pair["row"]], *passage))
        holds += [verdict.holds for verdict in judge.judge(requests)]
    return holds


def agreement(one: Booleans, other: Booleans) -> dict[str, Any]:
    """The two-by-two counts and Cohen's kappa with its asymptotic 95 % interval.

    ``kappa`` is None where a judge says the same of every pair: it would be 0 whatever the other
    one says. The interval has no width where the judges never differ.
    """
    cells = (one & other, one & ~other, ~one & other, ~one & ~other)
    counts = [int(cell.sum()) for cell in cells]
    return dict(zip(AGREEMENT.names[4:], (len(one), *counts, *cohens_kappa(*counts)), strict=True))


def cohens_kappa(
    both: float, only_one: float, only_other: float, neither: float
) -> tuple[float | None, float | None, float | None]:
    """Kappa and the ends of its asymptotic 95 % interval; None where a rater never varies."""
    from statsmodels.stats.inter_rater import cohens_kappa as kappa_of

    table = np.array([[both, only_one], [only_other, neither]], float)
    if not table.sum(axis=0).all() or not table.sum(axis=1).all():
        return None, None, None
    result = kappa_of(table)
    ends = np.clip([result.kappa_low, result.kappa_upp], -1.0, 1.0)
    return float(result.kappa), float(ends[0]), float(ends[1])


def _planted(
    spec: FrequencySpec,
    estimated: EstimatedCorpus,
    embedders: Mapping[str, tuple[EmbedderSpec, Path | None]],
    judges: Mapping[str, OpenJudge],
) -> dict[str, Any]:
    plan = spec.validation
    with tempfile.TemporaryDirectory(prefix="ccx-ray-planted-") as scratch:
        planted = plant_facts(
            estimated.corpus,
            estimated.text,
            estimated.clozes,
            Path(scratch) / "text",
            facts=plan.planted_facts,
            characters=plan.planted_characters,
            salient_share=spec.scanning_judge.salient_share,
            seed=plan.seed,
        )
        rows = estimate_planted(
            planted, spec, embedders, Path(scratch), judges=judges, run_tasks=run_here
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
        _metric(f"{kind}/{'/'.join(row[key] for key in keys)}"): row[value]
        for kind, value, rows, keys in kinds
        for row in rows
        if row[value] is not None
    }


def _metric(name: str) -> str:
    """MLflow takes letters, digits, blanks and ``_-./:`` in a name."""
    name = name.replace("+", " and ")
    return "".join(c if c.isalnum() or c in " _-./:" else "_" for c in name)
