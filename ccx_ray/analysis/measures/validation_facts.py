"""How far the estimate of frequency can be trusted, from the validation step's Parquet.

Invariant: a test that was not made has no row; nothing is filled in for it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq

from ccx_ray.analysis.statistics.intervals import seeded_generator
from ccx_ray.analysis.statistics.rank_correlation import spearman, spearman_interval
from ccx_ray.study.frequency_spec import FrequencySpec
from ccx_ray.study.spec import AnalysisSpec

Row = TypeVar("Row")
EVERY_DOCUMENT = "every document"
"""The retriever of planted facts that were counted without one."""


@dataclass(frozen=True, kw_only=True)
class RecallRow:
    """Of the documents that hold a question's knowledge, those that are among the first."""

    corpus: str
    culture: str
    retriever: str
    top: int
    questions: int
    """That at least one document of the corpus holds."""
    holders: int
    reachable: int
    """At most ``top`` of each question's holders."""
    found: int
    recall: float | None
    """Found over reachable."""
    recall_low: float | None = None
    recall_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class AgreementRow:
    """Two judges on the same pairs of question and document."""

    corpus: str
    culture: str
    judge: str
    other: str
    pairs: int
    both: int
    only_judge: int
    only_other: int
    neither: int
    kappa: float | None
    """Cohen's."""
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class PlantedRow:
    """A fact that was written into a sample of a corpus, and what was then estimated."""

    corpus: str
    retriever: str
    judge: str
    fact: int
    planted: int
    estimated: int


@dataclass(frozen=True, kw_only=True)
class PlantedRankRow:
    """How the estimates rank facts of known frequency."""

    corpus: str
    retriever: str
    judge: str
    facts: int
    exact: int
    """Facts estimated at their true frequency."""
    mean_planted: float
    mean_estimated: float
    correlation: float
    """Spearman's."""
    low: float
    high: float


Planted = TypeVar("Planted", PlantedRow, PlantedRankRow)


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """What people said of retrieved documents."""

    corpus: str
    culture: str
    reviewed: int
    agreed: int
    """Documents on which the judge and the people agree."""
    precision: float | None
    """Of the documents that the judge accepts, the share that people accept."""
    precision_low: float | None
    precision_high: float | None
    omission: float | None
    """Of the documents that the judge refuses, the share that people accept."""
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    density: float | None
    corrected_density: float | None
    corrected_low: float | None
    corrected_high: float | None
    unclear: int = 0
    """Documents of which people could not tell; they are in no number."""
    accepted_reviewed: int = 0
    refused_reviewed: int = 0


@dataclass(frozen=True, kw_only=True)
class ValidationFacts:
    """Everything that the validation step found; empty where there was none."""

    made: bool = False
    recalls: list[RecallRow] = field(default_factory=list)
    agreements: list[AgreementRow] = field(default_factory=list)
    planted: list[PlantedRow] = field(default_factory=list)
    planted_ranks: list[PlantedRankRow] = field(default_factory=list)
    reviews: list[ReviewRow] = field(default_factory=list)
    counts: Mapping[str, Any] = field(default_factory=dict)
    """``validation.json``."""


def own_planted(
    spec: FrequencySpec, rows: Sequence[Planted], counts: Mapping[str, Any]
) -> list[Planted]:
    """The rows of the retriever and the judge of the study, out of all that were tested."""
    own = (spec.retriever_name, counts.get("judge"))
    return [row for row in rows if (row.retriever, own[1] and row.judge) == own]


def read_validation(
    spec: AnalysisSpec, folder: Path | None, review: Path | None
) -> ValidationFacts:
    """Read the folders of the validation and of the review."""
    reviews = _read(review / "review.parquet", ReviewRow) if review else []
    if folder is None:
        return ValidationFacts(reviews=reviews)
    planted = _read(folder / "planted.parquet", PlantedRow)
    summary = folder / "validation.json"
    return ValidationFacts(
        made=True,
        recalls=_read(folder / "recall.parquet", RecallRow),
        agreements=_read(folder / "agreement.parquet", AgreementRow),
        planted=planted,
        planted_ranks=_planted_ranks(spec, planted),
        reviews=reviews,
        counts=json.loads(summary.read_text("utf-8")) if summary.exists() else {},
    )


def _planted_ranks(spec: AnalysisSpec, planted: list[PlantedRow]) -> list[PlantedRankRow]:
    rows = []
    for corpus, retriever, judge in dict.fromkeys(
        (row.corpus, row.retriever, row.judge) for row in planted
    ):
        here = [
            (row.planted, row.estimated)
            for row in planted
            if (row.corpus, row.retriever, row.judge) == (corpus, retriever, judge)
        ]
        true, estimated = np.array(here, np.float64).T
        interval = spearman_interval(
            [(true, estimated)],
            samples=spec.bootstrap_samples,
            confidence=spec.confidence,
            generator=seeded_generator(spec.seed, "planted", corpus, retriever, judge),
        )
        rows.append(
            PlantedRankRow(
                corpus=corpus,
                retriever=retriever,
                judge=judge,
                facts=len(here),
                exact=int((true == estimated).sum()),
                mean_planted=float(true.mean()),
                mean_estimated=float(estimated.mean()),
                correlation=spearman([(true, estimated)]),
                low=interval.low,
                high=interval.high,
            )
        )
    return rows


def _read(path: Path, kind: type[Row]) -> list[Row]:
    if not path.exists():
        return []
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    table = pq.read_table(path)
    known = table.select([name for name in names if name in table.column_names])
    return [kind(**row) for row in known.to_pylist()]
