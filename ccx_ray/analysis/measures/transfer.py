"""All answers of a study as one table, and transfer = bridge - no-bridge on the same questions.

Invariants: which questions are left out is decided once, when the answers are read, by what is odd
about them and never by how they were answered; so every run, condition and score keeps the same
questions of a probe. Two conditions are compared question by question within a seed, and seeds
are pooled by the mean; an unpaired answer never enters a transfer. Where a probe has questions
whose fact is stated in the language alone that knowledge moves from, transfer is over these: the
others can be answered without it, or not at all.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ccx_ray.analysis.crossed import FEWEST_TRAININGS, Spreads, crossed, mean_influences
from ccx_ray.analysis.statistics import (
    Floats,
    Names,
    bootstrap_interval,
    cluster_sums,
    holm,
    resampling,
    sign_flip_p_value,
)
from ccx_ray.analysis.tables import BASE_RUN, ONE_CURVE, Row, last_steps
from ccx_ray.errors import UserError
from ccx_ray.evaluation.results import SCHEMA, SCORE_TYPES, outcomes, read_results
from ccx_ray.study.spec import Direction, QualityKind, ScoreType, StudySpec
from ccx_ray.study.trials import Trial, trial_grid

DIRECTIONS: tuple[Direction, ...] = ("base-to-target", "target-to-base")
Counting = Literal["published", "ties-wrong", "ties-shared"]
"""How a tie counts: by the order of the options, as in the published scorer; as wrong; or as the
chance of being right when one of the tied options is drawn."""
COUNTINGS: tuple[Counting, ...] = ("published", "ties-wrong", "ties-shared")

Contrast = tuple[str, str]
"""Two conditions; what is measured is the first minus the second."""
TRANSFER: Contrast = ("bridge", "nobridge")
SOURCE_ONLY: Mapping[Direction, str] = {
    "base-to-target": "base_only",
    "target-to-base": "target_only",
}
"""Direction -> group of the questions whose fact is stated in the language alone that the direction
starts from."""

STEP_FILE = re.compile(r"^step-\d+\.parquet$")
KEYS = ("trial", "step", "probe", "question", "gold", "group", "cluster")
COLUMNS = (*KEYS, "right", "quality", *SCORE_TYPES)
"""What is read: the log-probabilities of single tokens are many times as large, and not needed."""

Cell = tuple[dict[str, Any], pd.DataFrame]
"""What a cell's rows have in common, and its answers."""


def probe_of(direction: Direction, language: str, base: str) -> str:
    """The probe that shows a direction: what arrives in the target is asked in the target."""
    return f"{language}-{language}" if direction == "base-to-target" else f"{language}-{base}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """All answers of the base's last checkpoint and of the trials, under one score."""

    rows: pd.DataFrame
    """One row an answer, without the questions that the study leaves out, in the order of the
    report: by ``language``, ``direction``, ``condition``, ``step``, ``run`` (in the order of the
    grid) and ``question``. The base has the condition ``base``, the step 0 and the seed -1.
    ``gold`` is the position of the right option, counted from 0, -1 when it is not among the
    ``options`` (their number). ``group`` is empty where the probe gives none; ``cluster`` is of the
    question alone there. ``headline``: transfer is measured over it. Under the score that
    chooses: ``choice`` (position), ``tied`` (the lowest score is shared), and in every one of
    ``COUNTINGS`` how far the answer counts as right, 0 to 1."""
    scores: pa.Table
    """The options' scores of every kind, and which are right, row by row."""
    asked: pd.DataFrame
    """One row a question of every probe, those that are left out (not ``kept``) included:
    ``probe, question, gold, group, cluster, options, quality, kept``."""

    def under(self, scoring: ScoreType) -> "Answers":
        """The same questions with another score to choose by."""
        found = outcomes(self.scores, scoring)
        counted = {
            "published": found.correct.astype(np.float64),
            "ties-wrong": found.strict.astype(np.float64),
            "ties-shared": found.shared,
        }
        rows = self.rows.assign(choice=found.choice, tied=found.tied, **counted)
        return replace(self, rows=rows)


def by_score(answers: Answers, rows_of: Callable[[Answers], Sequence[Row]]) -> list[Row]:
    """The rows of every score, which is their last column. Each score chooses anew among the same
    options of the same questions, so rows differ by the score alone. They are seven looks at one
    experiment, and none is the headline but the study's own."""
    return [
        Row(**vars(row), score=kind) for kind in SCORE_TYPES for row in rows_of(answers.under(kind))
    ]


def by_run(rows: pd.DataFrame, column: str, condition: str | None = None) -> NDArray[Any]:
    """A column of rows that are sorted by run, all of which have the same questions, [R, Q]; of
    one condition or of all. Arrays, because frames of rows took most of the time of an analysis."""
    chosen = slice(None) if condition is None else (rows["condition"] == condition).to_numpy()
    values: NDArray[Any] = rows[column].to_numpy()[chosen]
    runs = rows["run"].to_numpy()[chosen]
    return values.reshape(-1, np.count_nonzero(runs == runs[0]))


def cells(rows: pd.DataFrame, *names: str) -> Iterator[Cell]:
    """The rows that are alike in these columns, in the order of their first rows."""
    for place, cell in rows.groupby(list(names), sort=False):
        found = dict(zip(names, place, strict=True))
        yield found | ({"step": int(found["step"])} if "step" in found else {}), cell


def clusters_of(cell: pd.DataFrame) -> Names:
    """The cluster of every question [Q] of rows that are sorted by run."""
    names: Names = by_run(cell, "cluster")[0]
    return names


def paired(rows: pd.DataFrame, *cell: str, contrast: Contrast = TRANSFER) -> pd.DataFrame:
    """The rows of the seeds that were measured under both conditions of a contrast in a cell."""
    trials = rows[rows["condition"].isin(contrast)]
    conditions = trials.groupby([*cell, "seed"])["condition"].transform("nunique")
    return trials[conditions == 2]


def read_answers(
    study: StudySpec, trials: Sequence[Trial], evaluations: Mapping[str, Path]
) -> Answers:
    """Read the Parquet of all evaluations.

    Raises:
        FileNotFoundError: a folder holds no ``step-*.parquet``.
        UserError: the study leaves out every question of a probe.
    """
    files = [path for run, folder in evaluations.items() for path in _step_files(run, folder)]
    none = pa.schema([SCHEMA.field(column) for column in COLUMNS]).empty_table()
    scores = pa.concat_tables([none, *(read_results(path, COLUMNS) for path in files)])
    rows = scores.select(KEYS).to_pandas().rename(columns={"trial": "run"})
    rows["options"] = pc.list_value_length(scores["right"]).to_numpy()
    alone = "question " + rows["question"].astype(str)
    rows["cluster"] = alone.where(rows["cluster"] == "", "cluster " + rows["cluster"])
    asked = _asked(rows, scores, study.evaluation.exclude)
    rows = rows.assign(row=np.arange(len(rows))).merge(asked[["probe", "question", "kept"]])
    rows = rows[rows["kept"]].merge(_report_order(study, trials), on=["run", "probe"])
    # Trials start from the base's last checkpoint.
    last = rows.groupby(["run", "probe"])["step"].transform("max")
    is_base = rows["run"] == BASE_RUN
    rows = rows.assign(step=rows["step"].mask(is_base, 0))[~is_base | (rows["step"] == last)]
    is_source_only = rows["group"] == rows["direction"].map(SOURCE_ONLY)
    has_source_only = is_source_only.groupby(rows["probe"]).transform("any")
    rows["headline"] = is_source_only | ~has_source_only
    rows = rows.sort_values(["cell", "step", "place", "question"], ignore_index=True)
    chosen = scores.take(rows.pop("row").to_numpy())
    return Answers(rows=rows, scores=chosen, asked=asked).under(study.evaluation.scoring)


def _report_order(study: StudySpec, trials: Sequence[Trial]) -> pd.DataFrame:
    """One row for every run and each probe that it is asked, in the order of the report:
    ``run, probe, language, direction, condition, seed``; ``place`` numbers the rows, ``cell`` those
    that differ by more than the seed."""
    ordered = sorted(trials, key=lambda trial: study.trials.conditions.index(trial.condition))
    runs = [(one.name, one.language, one.condition, one.seed) for one in ordered]
    rows = [
        (run, probe_of(direction, language, study.base_language.code), language, direction, *which)
        for language in dict.fromkeys(trial.language for trial in trials)
        for direction in DIRECTIONS
        for run, own, *which in [(BASE_RUN, language, BASE_RUN, -1), *runs]
        if own == language
    ]
    columns = ["run", "probe", "language", "direction", "condition", "seed"]
    found = pd.DataFrame(rows, columns=columns)
    cells = found.groupby(["probe", "condition"], sort=False).ngroup()
    return found.assign(cell=cells, place=np.arange(len(found)))


def _step_files(run: str, folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if STEP_FILE.match(path.name))
    if not files:
        raise FileNotFoundError(f"{folder}: no step-*.parquet of run {run}")
    return files


def _asked(rows: pd.DataFrame, scores: pa.Table, exclude: Sequence[QualityKind]) -> pd.DataFrame:
    asked = rows.drop_duplicates(["probe", "question"]).sort_values(["probe", "question"])
    quality = scores["quality"].take(asked.index.to_numpy()).to_pylist()
    asked = asked[["probe", "question", "gold", "group", "cluster", "options"]].assign(
        quality=quality, kept=[not set(kinds) & set(exclude) for kinds in quality]
    )
    questions = rows.groupby(["run", "step", "probe"])["question"].transform("nunique")
    other = rows[questions != rows["probe"].map(asked["probe"].value_counts())]
    assert other.empty, f"other questions: {other.iloc[0].to_dict()}"
    for probe, kept in asked.groupby("probe")["kept"]:
        if not kept.any():
            raise UserError(
                f"evaluation.exclude {', '.join(exclude)}: leaves none of the {len(kept)} "
                f"questions of {probe}; exclude fewer kinds"
            )
    return asked


def question_clusters(study: StudySpec, answers: Answers) -> pd.DataFrame:
    """The cluster of every question of a culture: ``culture, question, cluster``."""
    cultures = {
        probe_of(direction, language.code, study.base_language.code): language.code
        for language in study.trial_languages
        for direction in DIRECTIONS
    }
    asked = answers.asked.assign(culture=answers.asked["probe"].map(cultures)).dropna()
    return asked[["culture", "question", "cluster"]].drop_duplicates(["culture", "question"])


def read_lengths(evaluations: Mapping[str, Path]) -> pd.DataFrame:
    """How long each question and its right answer are, in tokens: ``probe, question,
    sentence_tokens, answer_tokens``, those of the sentence with the right answer in its blank,
    without end-of-text, and those of them that hold characters of the answer.

    They are the same for every run, as all share a tokenizer, so one checkpoint of every run that
    has a probe not read before is read. Without an answer among the options both are NaN, without a
    blank the second is.
    """
    columns = ("probe", "question", "gold", "tokens", "option_tokens")
    read: set[str] = set()
    rows = []
    for run, folder in evaluations.items():
        path = _step_files(run, folder)[0]
        if set(read_results(path, ("probe",))["probe"].unique().to_pylist()) <= read:
            continue
        found = read_results(path, columns).to_pylist()
        for row in (row for row in found if row["probe"] not in read):
            gold = row["gold"]
            lengths = (row["tokens"][gold], sum(row["option_tokens"][gold])) if gold >= 0 else ()
            known = (length or np.nan for length in (*lengths, 0, 0)[:2])
            rows.append((row["probe"], row["question"], *known))
        read |= {row["probe"] for row in found}
    names = ["probe", "question", "sentence_tokens", "answer_tokens"]
    return pd.DataFrame(rows, columns=names)


def paired_cells(
    answers: Answers, *, last_only: bool = False, contrast: Contrast = TRANSFER
) -> Iterator[Cell]:
    """The answers of each language and direction at each checkpoint that a seed answered under
    both conditions of a contrast, sorted by seed, condition and question.

    Args:
        last_only: at the last such checkpoint.
    """
    rows = paired(answers.rows, "probe", "step", contrast=contrast)
    if last_only:
        rows = rows[rows["step"] == rows.groupby("probe")["step"].transform("max")]
    for place, cell in cells(rows, "language", "direction", "probe", "step"):
        yield place, cell.sort_values("seed", kind="stable")


def paired_answers(
    cell: pd.DataFrame, counting: Counting, contrast: Contrast = TRANSFER
) -> tuple[Floats, Floats]:
    """The right answers of a cell under both conditions, [S, Q] each: the same seeds and the same
    questions. Each is 0 or 1, or a fraction where ties are shared."""
    first, second = (by_run(cell, counting, condition) for condition in contrast)
    return first, second


def mean_differences(first: Floats, second: Floats) -> Floats:
    """One condition minus the other, mean over the seeds, [S, Q] -> [Q]."""
    sums: Floats = (first - second).sum(axis=0)
    return sums / len(first)


def whole_differences(first: Floats, second: Floats) -> NDArray[np.int64]:
    """One condition minus the other, summed over the seeds, [S, Q] -> [Q], in the unit that makes
    it whole: a half point and a third are three and two sixths."""
    shares = np.unique(np.concatenate([first, second]))
    unit = math.lcm(*(Fraction(x).limit_denominator(1000).denominator for x in shares.tolist()))
    sums = (unit * (first - second)).sum(axis=0)
    return np.asarray(np.rint(sums), dtype=np.int64)


class Comparison(NamedTuple):
    """Two conditions on the same questions and seeds; accuracies and differences are shares."""

    questions: int
    clusters: int
    """Of the questions, which are drawn and flipped together."""
    seeds: tuple[int, ...]
    trainings: int
    """What counts as one training: a seed, or a base where there are several."""
    first: float
    """Accuracy under the first condition."""
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    """Over clusters crossed with trainings, uncorrected; NaN of fewer than three trainings."""
    question_low: float
    question_high: float
    question_p_value: float
    """Of the paired permutation test over clusters alone: of these very trainings."""
    seed_differences: tuple[float, ...]
    """Of every seed alone, in the order of ``seeds``."""
    spreads: Spreads

    def columns(self) -> dict[str, Any]:
        """As the columns of a row that is still to be corrected."""
        found = {name: value for name, value in self._asdict().items() if name != "spreads"}
        return {**found, "p_holm": None, "question_p_holm": None}


def compare(
    study: StudySpec,
    cell: pd.DataFrame,
    counting: Counting,
    *names: str,
    contrast: Contrast = TRANSFER,
) -> Comparison:
    """Compare the conditions of a cell of ``paired_cells``.

    Args:
        names: of the cell, for a generator of its own.
    """
    first, second = paired_answers(cell, counting, contrast)
    seeds = tuple(cell["seed"].unique().tolist())
    return compare_answers(study, first, second, clusters_of(cell), seeds, *names)


def compare_answers(
    study: StudySpec,
    first: Floats,
    second: Floats,
    clusters: Names,
    seeds: tuple[int, ...],
    *names: str,
) -> Comparison:
    """Compare right answers under two conditions, [S, Q] each."""
    spec, differences = study.analysis, mean_differences(first, second)
    estimate = float(differences.mean())
    interval = bootstrap_interval([differences], resampling(spec, *names), [clusters])
    flipped = cluster_sums(whole_differences(first, second), clusters)
    found = crossed(
        estimate,
        mean_influences(first - second),
        confidence=spec.confidence,
        clusters=clusters,
        trainings=trainings_of(study, seeds),
    )
    return Comparison(
        questions=len(differences),
        clusters=len(flipped),
        seeds=seeds,
        trainings=found.trainings,
        first=float(first.mean()),
        second=float(second.mean()),
        difference=estimate,
        **found.interval._asdict(),
        p_value=found.p_value,
        question_low=interval.low,
        question_high=interval.high,
        question_p_value=sign_flip_p_value(flipped),
        seed_differences=tuple((first.mean(axis=1) - second.mean(axis=1)).tolist()),
        spreads=found.spreads,
    )


def trainings_of(study: StudySpec, seeds: Sequence[int]) -> list[int]:
    """Which training each seed belongs to: those that start from one base are one, where there are
    bases enough to be a sample; each is its own otherwise."""
    bases = {trial.seed: trial.base for trial in trial_grid(study)}
    of_seeds = [bases.get(seed, "base") for seed in seeds]
    names = list(dict.fromkeys(of_seeds))
    if len(names) < FEWEST_TRAININGS:
        return list(range(len(seeds)))
    return [names.index(base) for base in of_seeds]


def headline_group(cell: pd.DataFrame) -> str:
    """The group that a cell's headline is over; empty where it is over all questions."""
    group = SOURCE_ONLY[cell["direction"].iloc[0]]
    return group if (cell[cell["headline"]]["group"] == group).all() else ""


def transfer_rows(study: StudySpec, answers: Answers, *, last_only: bool = False) -> list[Row]:
    """Transfer in every language and direction at every checkpoint, in every counting, over the
    questions of ``group`` (all where it is empty), in the columns of ``Comparison``.

    Both ``p_holm`` are corrected over the languages and directions of the last checkpoint; None
    before it. ``seed_transfers`` are those of every seed alone, in the order of ``seeds``.
    """
    rows = []
    for place, cell in paired_cells(answers, last_only=last_only):
        group, asked = headline_group(cell), cell[cell["headline"]]
        rows += [_transfer_row(study, place, asked, group, each) for each in COUNTINGS]
    for counting in COUNTINGS:
        correct_last([row for row in rows if row.counting == counting])
    return rows


def correct_last(rows: Sequence[Row]) -> None:
    """Set both ``p_holm`` of the rows of the last checkpoint in each language and direction."""
    correct(last_steps(rows, *ONE_CURVE["transfers"]))


def correct(rows: Sequence[Row]) -> None:
    """Set ``p_holm`` of the rows that have a p-value over trainings, ``question_p_holm`` of all."""
    for name, chosen in (
        ("p_value", [row for row in rows if not math.isnan(row.p_value)]),
        ("question_p_value", rows),
    ):
        adjusted = holm([getattr(row, name) for row in chosen])
        for row, value in zip(chosen, adjusted, strict=True):
            setattr(row, name.replace("value", "holm"), value)


def significance_level(study: StudySpec) -> float:
    """The error that the study's confidence leaves."""
    return round(1 - study.analysis.confidence, 10)


def is_significant(study: StudySpec, row: Row) -> bool:
    """Whether a cell of the last checkpoint passes its test after Holm's correction: over questions
    and trainings, or where there are too few trainings over questions alone."""
    p_holm = row.p_holm if is_claim(row) else row.question_p_holm
    return p_holm is not None and bool(p_holm < significance_level(study))


def is_claim(row: Row) -> bool:
    """Whether the trainings of a row are enough to say something of others like them."""
    return bool(row.trainings >= FEWEST_TRAININGS)


def interval_of(row: Row) -> tuple[float, float]:
    """The interval over questions and trainings; over questions where there is none, because there
    are too few trainings or nothing varies."""
    return (row.question_low, row.question_high) if math.isnan(row.low) else (row.low, row.high)


def _transfer_row(
    study: StudySpec, place: dict[str, Any], cell: pd.DataFrame, group: str, counting: Counting
) -> Row:
    names = ("transfer", place["probe"], str(place["step"]), counting)
    return transfer_row(
        compare(study, cell, counting, *names), **place, counting=counting, group=group
    )


def transfer_row(found: Comparison, **place: Any) -> Row:
    """A comparison of bridge with no-bridge in the columns of transfer."""
    renamed = {
        "first": "bridge",
        "second": "nobridge",
        "difference": "transfer",
        "seed_differences": "seed_transfers",
    }
    return Row(
        **place, **{renamed.get(name, name): value for name, value in found.columns().items()}
    )
