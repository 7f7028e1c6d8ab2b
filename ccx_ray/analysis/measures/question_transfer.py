"""Transfer of every single question, beside what a corpus or a training holds of it.

Transferred is a question whose mean correctness over the seeds is higher under bridge than under
no-bridge, ties counted as published. The paper's summary gives no definition; this one needs no
threshold.

Invariant: what is set against transfer is joined by the question's number, and is of the text that
the direction starts from: knowledge that moves from English is looked for in English. A way of
counting that a step before did not write is absent (NaN), never 0. A question's exposure is the
mean over the trials whose answers make its transfer, of both conditions: the two hold the same
sentences, and neither's order of them is preferred.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.analysis.measures.answers import DIRECTIONS, Answers, by_run
from ccx_ray.analysis.measures.transfer import paired_answers, paired_cells
from ccx_ray.analysis.statistics.intervals import (
    Floats,
    mean,
    resampling,
    seeded_generator,
    stratified_bootstrap_interval,
    subset_mean_test,
    unless_constant,
)
from ccx_ray.frequency.counting.density import QUESTIONS
from ccx_ray.frequency.counting.exposure import SCHEMA as EXPOSURE
from ccx_ray.study.spec import AnalysisSpec, Condition, StudySpec

POOLED = "all"
Measure = Literal["occurrences", "lexical_documents", "together_documents", "answer_documents"]
"""A column of ``questions.parquet``: the retrieved documents that the judge accepted; what the
lexical judge accepts of all documents; documents with both the answer and the question's entity;
documents with the answer."""
MEASURES: tuple[Measure, ...] = get_args(Measure)
ESTIMATE: Measure = "occurrences"
EXACT_MEASURES: tuple[Measure, ...] = MEASURES[1:]
ExposureMeasure = Literal["exposure", "judged"]
"""A column of ``exposure.parquet``: the times that all documents which support the answer by the
lexical judge were read; or the retrieved documents that the study's judge accepts."""
EXPOSURE_MEASURES: tuple[ExposureMeasure, ...] = get_args(ExposureMeasure)
EXPOSURE_PARTS = ("base", "monolingual", "parallel", "replay")
EXPOSURES = (*EXPOSURE_PARTS, *EXPOSURE_MEASURES)
CONDITIONS: tuple[Condition, ...] = ("bridge", "nobridge")
KEYS = ("direction", "culture", "source", "probe", "step", "question", "difference")
COLUMNS = (
    *(*KEYS, *MEASURES, *EXPOSURES),
    *(f"{column}_{condition}" for column in EXPOSURES for condition in CONDITIONS),
    *("sentence_tokens", "answer_tokens"),
)
"""Of ``question_transfers``, but ``last``."""


def read_occurrences(frequencies: Mapping[str, Path]) -> pd.DataFrame:
    """Documents that hold each question's knowledge, by every measure: one row for every
    ``culture``, ``corpus`` and ``question``, with the ``documents`` of the corpus."""
    return _read_all(QUESTIONS, [path / "questions.parquet" for path in frequencies.values()])


def read_exposures(exposures: Mapping[str, Path]) -> pd.DataFrame:
    """Times that every trial read each question's evidence up to a step, in text of one
    ``language``."""
    return _read_all(EXPOSURE, [path / "exposure.parquet" for path in exposures.values()])


def question_transfers(
    study: StudySpec,
    answers: Answers,
    occurrences: pd.DataFrame,
    exposures: pd.DataFrame,
    lengths: pd.DataFrame,
) -> pd.DataFrame:
    """Transfer of every question at every checkpoint, and what is known of the question.

    Returns:
        One row for every ``direction``, ``culture``, ``step`` and ``question``, in this order:
        ``difference`` is bridge minus no-bridge, mean over the seeds; ``source`` the language of
        the text that the direction starts from; ``last`` whether it is the last checkpoint. Beside
        it the columns of ``MEASURES`` in the corpus of the source, those of ``EXPOSURES`` under
        each condition (``exposure_bridge``) and over both, and the lengths of ``read_lengths``.
    """
    known = occurrences[["culture", "corpus", "question", *MEASURES]]
    exposures = exposures.rename(columns={"trial": "run"})
    parts = []
    by_direction = sorted(
        paired_cells(answers), key=lambda found: DIRECTIONS.index(found[0]["direction"])
    )
    for place, cell in by_direction:
        culture, direction, probe, step = place.values()
        source = study.base_language.code if direction == "base-to-target" else culture
        part = pd.DataFrame(
            {
                "direction": direction,
                "culture": culture,
                "source": source,
                "probe": probe,
                "step": step,
                "question": cell["question"].unique(),
                "difference": paired_answers(cell, "published").differences,
            }
        )
        of_source = known[(known["culture"] == culture) & (known["corpus"] == source)]
        part = part.merge(of_source[["question", *MEASURES]], on="question", how="left")
        part = part.assign(**_exposures(cell, exposures[exposures["language"] == source]))
        absent = part.drop(columns=list(KEYS)).isna()
        assert (absent.all() | ~absent.any()).all(), f"{probe}: other questions"
        parts.append(part.merge(lengths, on=["probe", "question"], how="left"))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    last = rows.groupby("probe")["step"].transform("max")
    return rows.assign(last=rows["step"] == last)


def with_pooled(rows: pd.DataFrame) -> list[tuple[str, str, list[pd.DataFrame]]]:
    """The questions of one direction by culture, then of all cultures together, with the language
    of the text: a code, or ``target`` for the languages of all; nothing where there is none."""
    parts = [part for _, part in rows.groupby("culture", sort=False)]
    if not parts:
        return []
    alone = [(part["culture"].iloc[0], part["source"].iloc[0], [part]) for part in parts]
    to_target = rows["direction"].iloc[0] == "base-to-target"
    return [*alone, (POOLED, rows["source"].iloc[0] if to_target else "target", parts)]


def transferred_means(
    spec: AnalysisSpec, parts: Sequence[pd.DataFrame], column: str, *names: str
) -> dict[str, Any]:
    """A column's mean over the transferred questions beside that over all; intervals over questions
    within each culture; ``expected``, the mean of as many questions of each culture drawn at
    random, and how often a draw is as far from it (``p_value``).

    Args:
        parts: the questions of each culture.
        names: of the cell, for generators of its own.
    """

    def interval_of(groups: list[Floats], kind: str) -> tuple[float, float]:
        found = stratified_bootstrap_interval(groups, **resampling(spec, "mean", kind, *names))
        found = unless_constant(found, np.concatenate(groups))
        return found.low, found.high

    everything = [part[column].to_numpy(np.float64) for part in parts]
    transferred = [part["difference"].to_numpy() > 0 for part in parts]
    groups = list(zip(everything, transferred, strict=True))
    chosen = [values[mask] for values, mask in groups]
    transferred_low, transferred_high = interval_of(chosen, "transferred")
    all_low, all_high = interval_of(everything, "all")
    test = subset_mean_test(
        groups,
        samples=spec.bootstrap_samples,
        generator=seeded_generator(spec.seed, "transferred", *names),
    )
    return {
        "questions": sum(map(len, everything)),
        "transferred": sum(map(len, chosen)),
        "mean_transferred": mean(np.concatenate(chosen)),
        "transferred_low": transferred_low,
        "transferred_high": transferred_high,
        "mean_all": mean(np.concatenate(everything)),
        "all_low": all_low,
        "all_high": all_high,
        "expected": test.expected,
        "p_value": test.p_value,
    }


def _exposures(cell: pd.DataFrame, exposures: pd.DataFrame) -> dict[str, Floats]:
    """Exposure of a cell's questions [Q] under each condition, mean over its seeds."""
    read = cell.merge(exposures, on=["run", "step", "question"], how="left")
    found = {
        f"{column}_{condition}": by_run(read[read["condition"] == condition], column).mean(axis=0)
        for column in EXPOSURES
        for condition in CONDITIONS
    }
    both = {
        column: (found[f"{column}_bridge"] + found[f"{column}_nobridge"]) / 2
        for column in EXPOSURES
    }
    return found | both


def _read_all(schema: pa.Schema, paths: Sequence[Path]) -> pd.DataFrame:
    """Files of a schema, some of which may lack columns."""
    tables = [schema.empty_table(), *map(pq.read_table, paths)]
    return pa.concat_tables(tables, promote_options="default").to_pandas()
