"""How far the estimate of frequency can be trusted, from the validation step's Parquet.

Invariant: a test that was not made has no row; nothing is filled in for it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ccx_ray.analysis.measures.rows import Row
from ccx_ray.analysis.statistics.intervals import resampling, spearman, spearman_interval
from ccx_ray.study.frequency_spec import FrequencySpec
from ccx_ray.study.spec import AnalysisSpec

EVERY_DOCUMENT = "every document"
"""The retriever of planted facts that were counted without one."""
REVIEW_COLUMNS = [
    *("corpus", "culture", "reviewed", "agreed", "precision", "precision_low", "precision_high"),
    *("omission", "kappa", "kappa_low", "kappa_high", "density", "corrected_density"),
    *("corrected_low", "corrected_high", "unclear", "accepted_reviewed", "refused_reviewed"),
]
"""Of ``review.parquet``, those that the report shows."""


def own_planted(spec: FrequencySpec, rows: Sequence[Row], counts: Mapping[str, Any]) -> list[Row]:
    """The rows of the retriever and the judge of the study, out of all that were tested."""
    own = (spec.retriever_name, counts.get("judge"))
    return [row for row in rows if (row.retriever, own[1] and row.judge) == own]


def read_validation(spec: AnalysisSpec, folder: Path | None, review: Path | None) -> dict[str, Any]:
    """Read the folders of the validation and of the review, where there are any.

    Returns:
        Fields of ``Results``: ``recalls``, ``agreements``, ``planted`` and ``reviews`` are the rows
        of the Parquet of these names, ``planted_ranks`` how well the estimates rank facts of known
        frequency, ``validation`` is ``validation.json``.
    """
    planted = _read(folder, "planted.parquet")
    summary = folder / "validation.json" if folder else None
    return {
        "validated": folder is not None,
        "validation": json.loads(summary.read_text("utf-8"))
        if summary and summary.exists()
        else {},
        "recalls": _read(folder, "recall.parquet"),
        "agreements": _read(folder, "agreement.parquet"),
        "planted": planted,
        "planted_ranks": _planted_ranks(spec, planted),
        "reviews": _read(review, "review.parquet", REVIEW_COLUMNS),
    }


def _planted_ranks(spec: AnalysisSpec, planted: Sequence[Row]) -> list[Row]:
    rows = []
    facts = pd.DataFrame([vars(row) for row in planted])
    names = ["corpus", "retriever", "judge"]
    for place, here in facts.groupby(names, sort=False) if planted else ():
        true, estimated = here[["planted", "estimated"]].to_numpy(np.float64).T
        interval = spearman_interval([(true, estimated)], **resampling(spec, "planted", *place))
        rows.append(
            Row(
                **dict(zip(names, place, strict=True)),
                facts=len(here),
                exact=int((true == estimated).sum()),  # facts
                mean_planted=float(true.mean()),
                mean_estimated=float(estimated.mean()),
                correlation=spearman([(true, estimated)]),
                low=interval.low,
                high=interval.high,
            )
        )
    return rows


def _read(folder: Path | None, name: str, columns: list[str] | None = None) -> list[Row]:
    if folder is None or not (folder / name).exists():
        return []
    return [Row(**row) for row in pq.read_table(folder / name, columns=columns).to_pylist()]
