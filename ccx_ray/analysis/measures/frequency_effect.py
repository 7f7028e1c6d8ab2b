"""Does knowledge that a corpus holds, or a training has shown the model, more often transfer more?

Invariant: occurrences and exposures are compared with transfer question by question at the same
checkpoint, within a culture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ccx_ray.analysis.measures.question_transfer import (
    CONDITIONS,
    ESTIMATE,
    EXPOSURE_MEASURES,
    EXPOSURES,
    Measure,
    transferred_means,
    with_pooled,
)
from ccx_ray.analysis.measures.rows import Row, last_steps
from ccx_ray.analysis.statistics.intervals import (
    bootstrap_interval,
    mean,
    resampling,
    spearman,
    spearman_interval,
)
from ccx_ray.study.spec import AnalysisSpec


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A range of a value; ``below < value <= most``."""

    label: str
    below: float
    most: float


BINS: tuple[Bin, ...] = (
    Bin(label="0", below=-1, most=0),
    Bin(label="1", below=0, most=1),
    Bin(label="2–3", below=1, most=3),
    Bin(label="4–7", below=3, most=7),
    Bin(label="8+", below=7, most=np.inf),
)
"""Of numbers of occurrences."""
EXPOSURE_BINS: tuple[Bin, ...] = (
    Bin(label="0", below=-1, most=0),
    Bin(label="to 1", below=0, most=1),
    Bin(label="to 4", below=1, most=4),
    Bin(label="to 16", below=4, most=16),
    Bin(label="more", below=16, most=np.inf),
)
"""Of times that the evidence was read."""


def occurrence_rows(
    spec: AnalysisSpec, transfers: pd.DataFrame, measures: Sequence[Measure] = (ESTIMATE,)
) -> list[Row]:
    """Occurrences of transferred questions against all at the last checkpoint, in the corpus that
    the direction starts from, for each culture and all of them; empty without occurrences."""
    return [
        Row(
            **transferred_means(spec, parts, measure, culture, direction, measure),
            culture=culture,
            direction=direction,
            corpus=source,
            measure=measure,
        )
        for measure in measures
        for direction, here in _last(transfers, measure)
        for culture, source, parts in with_pooled(here)
    ]


def exposure_rows(spec: AnalysisSpec, transfers: pd.DataFrame) -> list[Row]:
    """Exposure of transferred questions against all, in times, at every checkpoint and by both ways
    to tell evidence; empty without exposures.

    ``exposed`` questions have one above 0; ``correlation`` is Spearman's of exposure with transfer,
    of several cultures the mean, weighted by questions.
    """
    rows = []
    for measure in EXPOSURE_MEASURES:
        known = transfers.dropna(subset=[measure])
        for (direction, step), here in known.groupby(["direction", "step"]):
            for culture, source, parts in with_pooled(here):
                names = (culture, direction, str(step), measure)
                pairs = [
                    (part[measure].to_numpy(), part["difference"].to_numpy()) for part in parts
                ]
                interval = spearman_interval(pairs, **resampling(spec, "exposure", *names))
                everything = pd.concat(parts)
                rows.append(
                    Row(
                        **transferred_means(spec, parts, measure, *names),
                        culture=culture,
                        direction=direction,
                        text=source,
                        step=int(step),
                        measure=measure,
                        exposed=int((everything[measure] > 0).sum()),
                        mean_bridge=mean(everything[f"{measure}_bridge"].to_numpy()),
                        mean_nobridge=mean(everything[f"{measure}_nobridge"].to_numpy()),
                        correlation=spearman(pairs),
                        correlation_low=interval.low,
                        correlation_high=interval.high,
                    )
                )
    return rows


def exposure_parts(transfers: pd.DataFrame) -> list[Row]:
    """Where the exposure of a culture's questions comes from at every checkpoint, in mean times:
    the base's training, or the trial's monolingual, parallel and replayed text."""
    rows = []
    place = ["culture", "direction", "source", "step"]
    known = transfers.dropna(subset=["exposure"])
    for (culture, direction, source, step), part in known.groupby(place, sort=False):
        means = {
            column: mean(np.concatenate([part[f"{column}_{one}"] for one in CONDITIONS]))
            for column in EXPOSURES
        }
        rows.append(
            Row(
                culture=culture,
                direction=direction,
                text=source,
                step=int(step),
                questions=len(part),
                **means,
            )
        )
    return rows


def occurrence_bins(spec: AnalysisSpec, transfers: pd.DataFrame) -> list[Row]:
    """Transfer at the last checkpoint by the number of occurrences that retrieval and judge
    found."""
    return _bin_rows(spec, BINS, transfers, ESTIMATE, name="bin")


def exposure_bins(spec: AnalysisSpec, transfers: pd.DataFrame) -> list[Row]:
    """Transfer at the last checkpoint by exposure."""
    return _bin_rows(spec, EXPOSURE_BINS, transfers, "exposure", name="exposure-bin")


def last_exposures(rows: Sequence[Row]) -> list[Row]:
    """The rows of the last checkpoint of every direction and culture."""
    return last_steps(rows, "culture", "direction")


def _bin_rows(
    spec: AnalysisSpec, bins: Sequence[Bin], transfers: pd.DataFrame, column: str, *, name: str
) -> list[Row]:
    """Transfer of the questions in every range of a value; a range without questions has none.

    Args:
        name: of these bins, for generators of their own.
    """
    rows = []
    for direction, here in _last(transfers, column):
        for culture, _, parts in with_pooled(here):
            part = pd.concat(parts)
            for one in bins:
                inside = part[(part[column] > one.below) & (part[column] <= one.most)]
                differences = inside["difference"].to_numpy()
                interval = bootstrap_interval(
                    differences, **resampling(spec, name, culture, direction, one.label)
                )
                rows.append(
                    Row(
                        culture=culture,
                        direction=direction,
                        bin=one.label,
                        questions=len(differences),
                        transfer=mean(differences),
                        low=interval.low,
                        high=interval.high,
                    )
                )
    return rows


def _last(transfers: pd.DataFrame, column: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The questions of which a column is known at the last checkpoint, by direction."""
    known = transfers[transfers["last"]].dropna(subset=[column])
    yield from known.groupby("direction")
