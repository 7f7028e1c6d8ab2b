"""Does knowledge that a corpus holds more often transfer more?

Invariant: occurrences and transfer are joined question by question at the last checkpoint, in the
corpus that the direction starts from: knowledge that moves from English is counted in the English
corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ccx_ray.analysis.measures.occurrences import ESTIMATE, Counted, Measure
from ccx_ray.analysis.measures.question_transfer import (
    Joined,
    QuestionTransfer,
    TransferredMeans,
    mean,
    source_of,
    transferred_means,
    with_pooled,
)
from ccx_ray.analysis.measures.transfer import DIRECTIONS, Direction
from ccx_ray.analysis.statistics.intervals import Floats, bootstrap_interval, seeded_generator
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


@dataclass(frozen=True, kw_only=True)
class OccurrenceRow(TransferredMeans):
    """Occurrences of transferred questions against all, for a culture or all of them."""

    culture: str
    direction: Direction
    corpus: str
    """The code of the corpus's language; ``target`` where several are pooled."""
    measure: Measure


@dataclass(frozen=True, kw_only=True)
class BinRow:
    """Transfer of the questions of which a corpus or a training holds about equally much."""

    culture: str
    direction: Direction
    bin: str
    questions: int
    transfer: float
    low: float
    high: float


def occurrence_rows(
    spec: AnalysisSpec,
    transfers: Sequence[QuestionTransfer],
    counted: Counted,
    measures: Sequence[Measure] = (ESTIMATE,),
) -> list[OccurrenceRow]:
    """Occurrences of transferred questions by every measure; empty without either.

    Args:
        transfers: of one checkpoint for every culture and direction.
    """
    rows = []
    for measure in measures:
        for direction in DIRECTIONS:
            joined = join_occurrences(transfers, counted, direction, measure)
            of_direction = [one for one in transfers if one.direction == direction]
            for culture, parts in with_pooled(joined):
                found = transferred_means(spec, parts, culture, direction, measure)
                rows.append(
                    OccurrenceRow(
                        culture=culture,
                        direction=direction,
                        corpus=source_of(of_direction, culture),
                        measure=measure,
                        **vars(found),
                    )
                )
    return rows


def join_occurrences(
    transfers: Sequence[QuestionTransfer], counted: Counted, direction: Direction, measure: Measure
) -> list[Joined]:
    """Occurrences beside transfer, of every culture that has both."""
    joined = []
    for transfer in transfers:
        occurrences = counted.get((transfer.culture, transfer.source))
        if transfer.direction == direction and occurrences and measure in occurrences.counts:
            values = transfer.select(occurrences.question, occurrences.counts[measure])
            joined.append(
                Joined(culture=transfer.culture, values=values, differences=transfer.differences)
            )
    return joined


def occurrence_bins(
    spec: AnalysisSpec, transfers: Sequence[QuestionTransfer], counted: Counted
) -> list[BinRow]:
    """Transfer by the number of occurrences that retrieval and judge found."""
    return [
        row
        for direction in DIRECTIONS
        for culture, parts in with_pooled(join_occurrences(transfers, counted, direction, ESTIMATE))
        for row in bin_rows(spec, BINS, culture, direction, parts, name="bin")
    ]


def bin_rows(
    spec: AnalysisSpec,
    bins: Sequence[Bin],
    culture: str,
    direction: Direction,
    parts: Sequence[Joined],
    *,
    name: str,
) -> list[BinRow]:
    """Transfer in every range of a value; a range without questions has none.

    Args:
        name: of these bins, for generators of their own.
    """
    values = np.concatenate([part.values for part in parts])
    differences = np.concatenate([part.differences for part in parts])
    rows = []
    for one in bins:
        inside: Floats = differences[(values > one.below) & (values <= one.most)]
        interval = bootstrap_interval(
            inside,
            samples=spec.bootstrap_samples,
            confidence=spec.confidence,
            generator=seeded_generator(spec.seed, name, culture, direction, one.label),
        )
        rows.append(
            BinRow(
                culture=culture,
                direction=direction,
                bin=one.label,
                questions=len(inside),
                transfer=mean(inside),
                low=interval.low,
                high=interval.high,
            )
        )
    return rows
