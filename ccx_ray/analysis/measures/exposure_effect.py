"""Does knowledge that a training has shown the model more often transfer more?

Invariant: exposure and transfer are joined question by question at the same checkpoint, in the
language of the text that the direction starts from. A question's exposure is the mean over the
trials whose answers make its transfer, of both conditions: the two hold the same sentences, and
neither's order of them is preferred. Means of each condition stand beside it, to show that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.analysis.measures.frequency_effect import Bin, BinRow, bin_rows
from ccx_ray.analysis.measures.question_transfer import (
    Joined,
    QuestionTransfer,
    TransferredMeans,
    source_of,
    transferred_means,
    with_pooled,
)
from ccx_ray.analysis.measures.transfer import DIRECTIONS, Direction
from ccx_ray.analysis.statistics.intervals import Floats, seeded_generator
from ccx_ray.analysis.statistics.rank_correlation import spearman, spearman_interval
from ccx_ray.study.spec import AnalysisSpec, Condition
from ccx_ray.study.trials import Trial

ExposureMeasure = Literal["exposure", "judged"]
"""Of all holders that the lexical judge accepts; or of the retrieved documents that the study's
judge accepts. Both in times that the evidence was read."""
EXPOSURE_MEASURES: tuple[ExposureMeasure, ...] = ("exposure", "judged")
PARTS = ("base", "monolingual", "parallel", "replay")
CONDITIONS: tuple[Condition, ...] = ("bridge", "nobridge")
EXPOSURE_BINS: tuple[Bin, ...] = (
    Bin(label="0", below=-1, most=0),
    Bin(label="to 1", below=0, most=1),
    Bin(label="to 4", below=1, most=4),
    Bin(label="to 16", below=4, most=16),
    Bin(label="more", below=16, most=np.inf),
)
"""Of times that the evidence was read."""


@dataclass(frozen=True, kw_only=True)
class ExposureRow(TransferredMeans):
    """Exposure of transferred questions against all at one checkpoint, in times."""

    culture: str
    direction: Direction
    text: str
    """The code of the text's language; ``target`` where several are pooled."""
    step: int
    measure: ExposureMeasure
    exposed: int
    """Questions with an exposure above 0."""
    mean_bridge: float
    mean_nobridge: float
    correlation: float
    """Spearman's, of exposure with transfer; of several cultures the mean, weighted by questions.
    NaN where one of the two is the same for all questions."""
    correlation_low: float
    correlation_high: float


@dataclass(frozen=True, kw_only=True)
class ExposurePartRow:
    """Where the exposure of a culture's questions comes from at one checkpoint: mean times."""

    culture: str
    direction: Direction
    text: str
    step: int
    questions: int
    base: float
    """In the base's training; the rest in the trial's."""
    monolingual: float
    parallel: float
    replay: float
    exposure: float
    judged: float


StepRow = TypeVar("StepRow", ExposureRow, ExposurePartRow)


class Exposures:
    """What the trainings showed of every question, by trial, step and language of the text."""

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        """
        Args:
            tables: language of the trials -> its ``exposure.parquet``.
        """
        self._tables = tables

    def of(self, transfer: QuestionTransfer, column: str) -> Mapping[Condition, Floats] | None:
        """Exposure [Q] of a transfer's questions under each condition, mean over its seeds.

        Returns:
            None where no exposure was computed for the culture.
        """
        if transfer.culture not in self._tables:
            return None
        table = self._tables[transfer.culture]
        here = pc.and_(
            pc.equal(table["step"], transfer.step), pc.equal(table["language"], transfer.source)
        )
        rows = table.filter(here)
        return {
            condition: np.mean(
                [
                    self._column(
                        rows,
                        Trial(language=transfer.culture, condition=condition, seed=seed).name,
                        transfer,
                        column,
                    )
                    for seed in transfer.seeds
                ],
                axis=0,
            )
            for condition in CONDITIONS
        }

    @staticmethod
    def _column(rows: pa.Table, trial: str, transfer: QuestionTransfer, column: str) -> Floats:
        mine = rows.filter(pc.equal(rows["trial"], trial)).sort_by("question")
        assert len(mine), f"exposure: no {transfer.source} text of {trial} at step {transfer.step}"
        return transfer.select(mine["question"].to_numpy(), mine[column].to_numpy())


def read_exposures(exposures: Mapping[str, Path]) -> Exposures:
    """Read the exposure steps' ``exposure.parquet``."""
    return Exposures(
        {language: pq.read_table(path / "exposure.parquet") for language, path in exposures.items()}
    )


def join_exposures(
    transfers: Sequence[QuestionTransfer], exposures: Exposures, measure: ExposureMeasure
) -> list[tuple[Joined, Mapping[Condition, Floats]]]:
    """Exposure beside transfer, of every culture that has both; and that under each condition."""
    joined = []
    for transfer in transfers:
        found = exposures.of(transfer, measure)
        if found is not None:
            values = (found["bridge"] + found["nobridge"]) / 2
            part = Joined(culture=transfer.culture, values=values, differences=transfer.differences)
            joined.append((part, found))
    return joined


def exposure_rows(
    spec: AnalysisSpec, transfers: Sequence[QuestionTransfer], exposures: Exposures
) -> list[ExposureRow]:
    """At every checkpoint, by both ways to tell evidence; empty without exposures.

    Args:
        transfers: of every checkpoint.
    """
    rows = []
    for measure in EXPOSURE_MEASURES:
        for direction, step, of_step in _by_step(transfers):
            joined = join_exposures(of_step, exposures, measure)
            conditions = {part.culture: found for part, found in joined}
            for culture, parts in with_pooled([part for part, _ in joined]):
                names = (culture, direction, str(step), measure)
                pairs = [(part.values, part.differences) for part in parts]
                interval = spearman_interval(
                    pairs,
                    samples=spec.bootstrap_samples,
                    confidence=spec.confidence,
                    generator=seeded_generator(spec.seed, "exposure", *names),
                )
                bridge, nobridge = (
                    np.concatenate([conditions[part.culture][key] for part in parts])
                    for key in CONDITIONS
                )
                rows.append(
                    ExposureRow(
                        culture=culture,
                        direction=direction,
                        text=source_of(of_step, culture),
                        step=step,
                        measure=measure,
                        exposed=sum(int((part.values > 0).sum()) for part in parts),
                        mean_bridge=float(bridge.mean()),
                        mean_nobridge=float(nobridge.mean()),
                        correlation=spearman(pairs),
                        correlation_low=interval.low,
                        correlation_high=interval.high,
                        **vars(transferred_means(spec, parts, *names)),
                    )
                )
    return rows


def exposure_parts(
    transfers: Sequence[QuestionTransfer], exposures: Exposures
) -> list[ExposurePartRow]:
    """Where exposure comes from, by culture and direction at every checkpoint."""
    rows = []
    for transfer in transfers:
        means: dict[str, float] = {}
        for column in (*PARTS, *EXPOSURE_MEASURES):
            found = exposures.of(transfer, column)
            if found is not None:
                means[column] = float(np.mean(list(found.values())))
        if means:
            rows.append(
                ExposurePartRow(
                    culture=transfer.culture,
                    direction=transfer.direction,
                    text=transfer.source,
                    step=transfer.step,
                    questions=len(transfer.question),
                    **means,
                )
            )
    return rows


def exposure_bins(
    spec: AnalysisSpec, transfers: Sequence[QuestionTransfer], exposures: Exposures
) -> list[BinRow]:
    """Transfer by exposure.

    Args:
        transfers: of the last checkpoint.
    """
    rows = []
    for direction in DIRECTIONS:
        of_direction = [one for one in transfers if one.direction == direction]
        joined = [part for part, _ in join_exposures(of_direction, exposures, "exposure")]
        for culture, parts in with_pooled(joined):
            rows += bin_rows(spec, EXPOSURE_BINS, culture, direction, parts, name="exposure-bin")
    return rows


def last_exposures(rows: Sequence[StepRow]) -> list[StepRow]:
    """The rows of the last checkpoint of every direction and culture."""
    last: dict[tuple[str, Direction], int] = {}
    for row in rows:
        key = (row.culture, row.direction)
        last[key] = max(row.step, last.get(key, 0))
    return [row for row in rows if row.step == last[row.culture, row.direction]]


def _by_step(
    transfers: Sequence[QuestionTransfer],
) -> list[tuple[Direction, int, list[QuestionTransfer]]]:
    return [
        (
            direction,
            step,
            [one for one in transfers if (one.direction, one.step) == (direction, step)],
        )
        for direction in DIRECTIONS
        for step in sorted({one.step for one in transfers if one.direction == direction})
    ]
