"""Cultural density, and whether knowledge that a corpus holds, or a training has shown, transfers.

Transferred is a question whose mean correctness over the seeds is higher under bridge than under
no-bridge, ties counted as published. The paper's summary gives no definition; this one needs no
threshold.

Invariants: question i is the same question in both corpora, so the ratio of densities is
bootstrapped by drawing clusters of questions with both. What is set against transfer is joined by
the question's number within a culture and at the same checkpoint, and is of the text that the
direction starts from: knowledge that moves from English is looked for in English. A way of counting
that a step before did not write is absent (NaN), never 0. A question's exposure is the mean over
the trials whose answers make its transfer, of both conditions: the two hold the same sentences, and
neither's order of them is preferred.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.analysis.measures.transfer import (
    DIRECTIONS,
    Answers,
    by_run,
    cells,
    clusters_of,
    mean_differences,
    paired_answers,
    paired_cells,
    question_clusters,
)
from ccx_ray.analysis.statistics import (
    Floats,
    Interval,
    Names,
    bootstrap_interval,
    bootstrap_ratio_interval,
    mean,
    resampling,
    spearman,
    spearman_interval,
    subset_mean_test,
    unless_constant,
)
from ccx_ray.analysis.tables import Row
from ccx_ray.frequency.counting.density import QUESTIONS
from ccx_ray.study.spec import AnalysisSpec, Condition, StudySpec

POOLED = "all"
Measure = Literal["occurrences", "lexical_documents", "together_documents", "answer_documents"]
"""A column of ``questions.parquet``: the retrieved documents that the judge accepted; what the
lexical judge accepts of all documents; documents with both the answer and the question's entity;
documents with the answer."""
MEASURES: tuple[Measure, ...] = get_args(Measure)
ESTIMATE: Measure = "occurrences"
EXACT_MEASURES: tuple[Measure, ...] = MEASURES[1:]
EXPOSURE_MEASURES = ("exposure", "judged")
"""Columns of ``exposure.parquet``: the times that all documents which support the answer by the
lexical judge were read; or the retrieved documents that the study's judge accepts."""
EXPOSURES = ("base", "monolingual", "parallel", "replay", *EXPOSURE_MEASURES)
CONDITIONS: tuple[Condition, ...] = ("bridge", "nobridge")
KEYS = ("direction", "culture", "source", "probe", "step", "question", "cluster", "difference")
COLUMNS = (
    *(*KEYS, *MEASURES, *EXPOSURES),
    *(f"{column}_{condition}" for column in EXPOSURES for condition in CONDITIONS),
    *("sentence_tokens", "answer_tokens"),
)
"""Of ``question_transfers``, but ``last``."""
BINS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "occurrences": {"0": (-1, 0), "1": (0, 1), "2–3": (1, 3), "4–7": (3, 7), "8+": (7, inf)},
    "exposure": {
        "0": (-1, 0),
        "to 1": (0, 1),
        "to 4": (1, 4),
        "to 16": (4, 16),
        "more": (16, np.inf),
    },
}
"""Column -> name of a range -> ``below < value <= most``; exposure is in times read."""


def read_all(schema: pa.Schema, folders: Mapping[str, Path], name: str) -> pd.DataFrame:
    """A file of a schema, of which it may lack columns, of every folder: one row for every question
    of a ``culture`` in a ``corpus``, with its counts and the ``documents`` of the corpus; or for
    every question, trial and step, with the times that its evidence was read in text of one
    ``language``."""
    tables = [schema.empty_table(), *(pq.read_table(path / name) for path in folders.values())]
    return pa.concat_tables(tables, promote_options="default").to_pandas()


def read_counts(
    study: StudySpec, answers: Answers, frequencies: Mapping[str, Path]
) -> pd.DataFrame:
    """What the frequency stage counted of every question, with the question's ``cluster``."""
    counted = read_all(QUESTIONS, frequencies, "questions.parquet")
    counted = counted.merge(
        question_clusters(study, answers), on=["culture", "question"], how="left"
    )
    alone = "question " + counted["question"].astype(str)  # of a culture that was not evaluated
    return counted.assign(cluster=counted["cluster"].fillna(alone))


def density_rows(
    study: StudySpec, occurrences: pd.DataFrame, measures: Sequence[Measure] = (ESTIMATE,)
) -> Iterator[Row]:
    """Mean density of the questions of each culture that was counted in both corpora."""
    counted = dict(iter(occurrences.sort_values("question").groupby(["culture", "corpus"])))
    for culture in (language.code for language in study.trial_languages):
        places = {"base": (culture, study.base_language.code), "target": (culture, culture)}
        if all(place in counted for place in places.values()):
            corpora = {side: counted[place] for side, place in places.items()}
            yield from (
                _density_row(study.analysis, culture, measure, corpora)
                for measure in measures
                if all(corpus[measure].notna().all() for corpus in corpora.values())
            )


def _density_row(
    spec: AnalysisSpec, culture: str, measure: Measure, corpora: Mapping[str, pd.DataFrame]
) -> Row:
    """Densities are occurrences over the documents of the corpus, and so are their intervals, NaN
    where all questions have the same count. ``ratio`` is target over base, NaN where the base
    corpus holds none; ``ratio_high`` infinite where so few are found in it that there is no
    bound."""
    names = ("density", culture, measure)
    questions = [corpus["question"] for corpus in corpora.values()]
    assert np.array_equal(*questions), f"{culture}: questions"
    clusters = corpora["base"]["cluster"].to_numpy()
    documents = {side: int(corpus["documents"].iloc[0]) for side, corpus in corpora.items()}
    densities, means, occurrences = {}, {}, {}
    for side, corpus in corpora.items():
        counts, size = corpus[measure].to_numpy(np.float64), documents[side] or float("nan")
        densities[side] = counts / size
        # The same draws whichever corpus, as the two are paired by question.
        found = bootstrap_interval([counts], resampling(spec, *names), [clusters])
        found = unless_constant(found, counts)
        for ending, value in (("", mean(counts)), ("_low", found.low), ("_high", found.high)):
            occurrences[f"{side}_occurrences{ending}"] = value
            means[f"{side}_density{ending}"] = value / size
    resample = resampling(spec, *names)
    ratio = unless_constant(
        bootstrap_ratio_interval(densities["target"], densities["base"], resample, clusters),
        densities["target"],
    )
    base, target = means["base_density"], means["target_density"]
    return Row(
        culture=culture,
        measure=measure,
        questions=len(questions[0]),
        **{f"{side}_documents": count for side, count in documents.items()},
        **means,
        ratio=target / base if base > 0 else float("nan"),
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        **{f"{side}_found": int((here > 0).sum()) for side, here in densities.items()},  # questions
        **occurrences,
    )


def estimate_rows(spec: AnalysisSpec, occurrences: pd.DataFrame) -> Iterator[Row]:
    """The estimate by retrieval and judge beside every exact count (``measure``), by culture and
    corpus: means, the questions of which it found ``more`` or ``fewer``, and Spearman's
    ``correlation``, NaN where either count is the same for all questions."""
    for place, found in cells(occurrences, "culture", "corpus"):
        counts = found.sort_values("question")
        estimated = counts[ESTIMATE].to_numpy(np.float64)
        clusters = [counts["cluster"].to_numpy()]
        for measure in (one for one in EXACT_MEASURES if counts[one].notna().all()):
            exact = counts[measure].to_numpy(np.float64)
            pairs, names = [(estimated, exact)], ("estimate", *place.values(), measure)
            yield Row(
                **place,
                measure=measure,
                questions=len(estimated),
                estimated=mean(estimated),
                exact=mean(exact),
                more=int((estimated > exact).sum()),
                fewer=int((estimated < exact).sum()),
                correlation=spearman(pairs, clusters),
                **spearman_interval(pairs, resampling(spec, *names), clusters)._asdict(),
            )


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
        ``difference`` is bridge minus no-bridge, mean over the seeds; ``cluster`` the question's;
        ``source`` the language of
        the text that the direction starts from; ``last`` whether it is the last checkpoint. Beside
        it the columns of ``MEASURES`` in the corpus of the source, those of ``EXPOSURES`` under
        each condition (``exposure_bridge``) and over both, and the lengths of ``read_lengths``.
    """
    exposures = exposures.rename(columns={"trial": "run"})
    known = occurrences.rename(columns={"corpus": "source"})
    known = known[["culture", "source", "question", *MEASURES]]
    parts = []
    for place, cell in paired_cells(answers):
        culture, direction, probe, step = place.values()
        source = study.base_language.code if direction == "base-to-target" else culture
        differences = mean_differences(*paired_answers(cell, "published"))
        asked = (cell["question"].unique(), clusters_of(cell))
        values = (direction, culture, source, probe, step, *asked, differences)
        part = pd.DataFrame(dict(zip(KEYS, values, strict=True)))
        part = part.merge(known, on=["culture", "source", "question"], how="left")
        part = part.assign(**_exposures(cell, exposures[exposures["language"] == source]))
        absent = part.drop(columns=list(KEYS)).isna()
        assert (absent.all() | ~absent.any()).all(), f"{probe}: other questions"
        parts.append(part.merge(lengths, on=["probe", "question"], how="left"))
    parts.sort(key=lambda part: DIRECTIONS.index(part["direction"].iloc[0]))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    last = rows.groupby("probe")["step"].transform("max")
    return rows.assign(last=rows["step"] == last)


def _exposures(cell: pd.DataFrame, exposures: pd.DataFrame) -> dict[str, Floats]:
    """Exposure of a cell's questions [Q] under each condition, mean over its seeds."""
    here = exposures[exposures["step"] == cell["step"].iloc[0]].drop(columns="step")
    asked = cell[["run", "condition", "question"]]
    read = asked.merge(here, on=["run", "question"], how="left")
    found = {
        f"{column}_{condition}": by_run(read, column, condition).mean(axis=0)
        for column in EXPOSURES
        for condition in CONDITIONS
    }
    both = {
        column: (found[f"{column}_bridge"] + found[f"{column}_nobridge"]) / 2
        for column in EXPOSURES
    }
    return found | both


def _last(transfers: pd.DataFrame, column: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The questions of which a column is known at the last checkpoint, by direction."""
    known = transfers[transfers["last"]].dropna(subset=[column])
    yield from known.groupby("direction")


def _with_pooled(rows: pd.DataFrame) -> list[tuple[str, str, list[pd.DataFrame]]]:
    """The questions of one direction by culture, then of all cultures together, with the language
    of the text: a code, or ``target`` for the languages of all."""
    parts = [part for _, part in rows.groupby("culture", sort=False)]
    alone = [(part["culture"].iloc[0], part["source"].iloc[0], [part]) for part in parts]
    to_target = rows["direction"].iloc[0] == "base-to-target"
    return [*alone, (POOLED, rows["source"].iloc[0] if to_target else "target", parts)]


def _transferred_means(
    spec: AnalysisSpec, parts: Sequence[pd.DataFrame], column: str, *names: str
) -> dict[str, Any]:
    """A column's mean over the transferred questions beside that over all; intervals over clusters
    within each culture; ``expected``, the mean of as many questions of each culture drawn at
    random, and how often a draw is as far from it (``p_value``).

    Args:
        parts: the questions of each culture.
        names: of the cell, for generators of its own.
    """

    def interval_of(groups: list[Floats], kind: str, drawn: list[Names]) -> Interval:
        found = bootstrap_interval(groups, resampling(spec, "mean", kind, *names), drawn)
        return unless_constant(found, np.concatenate(groups))

    everything = [part[column].to_numpy(np.float64) for part in parts]
    transferred = [part["difference"].to_numpy() > 0 for part in parts]
    groups = list(zip(everything, transferred, strict=True))
    chosen = [values[mask] for values, mask in groups]
    clusters = [part["cluster"].to_numpy() for part in parts]
    of_chosen = interval_of(
        chosen, "transferred", [one[mask] for one, mask in zip(clusters, transferred, strict=True)]
    )
    of_all = interval_of(everything, "all", clusters)
    resample = resampling(spec, "transferred", *names)
    expected, p_value = subset_mean_test(groups, resample, clusters)
    return {
        "questions": sum(map(len, everything)),
        "transferred": sum(map(len, chosen)),
        "mean_transferred": mean(np.concatenate(chosen)),
        "transferred_low": of_chosen.low,
        "transferred_high": of_chosen.high,
        "mean_all": mean(np.concatenate(everything)),
        "all_low": of_all.low,
        "all_high": of_all.high,
        "expected": expected,
        "p_value": p_value,
    }


def occurrence_rows(
    spec: AnalysisSpec, transfers: pd.DataFrame, measures: Sequence[Measure] = (ESTIMATE,)
) -> list[Row]:
    """Occurrences of transferred questions against all at the last checkpoint, in the corpus that
    the direction starts from, for each culture and all of them; empty without occurrences."""
    return [
        Row(
            **_transferred_means(spec, parts, measure, culture, direction, measure),
            culture=culture,
            direction=direction,
            corpus=source,
            measure=measure,
        )
        for measure in measures
        for direction, here in _last(transfers, measure)
        for culture, source, parts in _with_pooled(here)
    ]


def exposure_rows(spec: AnalysisSpec, transfers: pd.DataFrame) -> Iterator[Row]:
    """Exposure of transferred questions against all, in times, at every checkpoint and by both ways
    to tell evidence; empty without exposures.

    ``exposed`` questions have one above 0; ``correlation`` is Spearman's of exposure with transfer,
    of several cultures the mean, weighted by questions.
    """
    for measure in EXPOSURE_MEASURES:
        known = transfers.dropna(subset=[measure])
        for (direction, step), here in known.groupby(["direction", "step"]):
            for culture, source, parts in _with_pooled(here):
                names = (culture, direction, str(step), measure)
                pairs = [
                    (part[measure].to_numpy(), part["difference"].to_numpy()) for part in parts
                ]
                clusters = [part["cluster"].to_numpy() for part in parts]
                interval = spearman_interval(pairs, resampling(spec, "exposure", *names), clusters)
                everything = pd.concat(parts)
                yield Row(
                    **_transferred_means(spec, parts, measure, *names),
                    culture=culture,
                    direction=direction,
                    text=source,
                    step=int(step),
                    measure=measure,
                    exposed=int((everything[measure] > 0).sum()),
                    mean_bridge=mean(everything[f"{measure}_bridge"].to_numpy()),
                    mean_nobridge=mean(everything[f"{measure}_nobridge"].to_numpy()),
                    correlation=spearman(pairs, clusters),
                    correlation_low=interval.low,
                    correlation_high=interval.high,
                )


def exposure_parts(transfers: pd.DataFrame) -> Iterator[Row]:
    """Where the exposure of a culture's questions comes from at every checkpoint, in mean times:
    the base's training, or the trial's monolingual, parallel and replayed text."""
    known = transfers.dropna(subset=["exposure"]).rename(columns={"source": "text"})
    for place, part in cells(known, "culture", "direction", "text", "step"):
        means = {
            column: mean(np.concatenate([part[f"{column}_{one}"] for one in CONDITIONS]))
            for column in EXPOSURES
        }
        yield Row(**place, questions=len(part), **means)


def bin_rows(spec: AnalysisSpec, transfers: pd.DataFrame, column: str) -> Iterator[Row]:
    """Transfer at the last checkpoint of the questions in every range of a column of ``BINS``; a
    range without questions has none."""
    name = "bin" if column == ESTIMATE else f"{column}-bin"
    for direction, here in _last(transfers, column):
        for culture, _, parts in _with_pooled(here):
            part = pd.concat(parts)
            for label, (below, most) in BINS[column].items():
                inside = part[(part[column] > below) & (part[column] <= most)]
                differences = inside["difference"].to_numpy()
                clusters = (inside["culture"] + "/" + inside["cluster"]).to_numpy()
                resample = resampling(spec, name, culture, direction, label)
                yield Row(
                    culture=culture,
                    direction=direction,
                    bin=label,
                    questions=len(differences),
                    transfer=mean(differences),
                    **bootstrap_interval([differences], resample, [clusters])._asdict(),
                )
