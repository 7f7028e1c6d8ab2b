"""Answers to the questions of a planted world, joined with what was planted of each fact.

Invariants: the entity is the unit that is drawn, because its questions share a name, a class and
its bridges; entities are a sample within a culture and a direction, crossed with the trainings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ccx_ray.analysis.crossed import crossed, mean_influences
from ccx_ray.analysis.measures.transfer import DIRECTIONS, Answers, trainings_of
from ccx_ray.analysis.statistics import (
    UNKNOWN,
    Floats,
    Names,
    cluster_sums,
    percentiles,
    resampling,
)
from ccx_ray.analysis.tables import BASE_RUN, Row
from ccx_ray.study.spec import Direction, StudySpec
from ccx_ray.world.files import TRUTH
from ccx_ray.world.planting import BASE_ONLY, NEITHER, TARGET_ONLY

SOURCE_ONLY: Mapping[Direction, str] = {
    "base-to-target": BASE_ONLY,
    "target-to-base": TARGET_ONLY,
}
"""Direction -> the group of its tested facts: stated in the language that it starts from alone."""
CONDITIONS = ("bridge", "nobridge", "deranged")
"""In the order of tables and figures; a study has some of them."""
COUNT, DOSE, VALUE, DOSE_SQUARED, DOSE_VALUE = range(5)

Statistic = Callable[[Floats], Floats]
"""Sums over questions [..., 5], in the order above, to a number [...]."""


def read_planted(answers: Answers, world: Path) -> pd.DataFrame:
    """The answers of the base and of every trial's last checkpoint, one row an answer.

    Args:
        world: folder of the step ``world``.

    Returns:
        ``culture, direction, condition, seed, question, cluster, right`` (0 or 1), ``chance`` (of
        guessing right) and the columns of the truth, such as ``group, entity, statement_dose,
        bridges``.
    """
    rows = last_answers(answers)
    truth = pd.read_parquet(world / TRUTH)
    return rows.merge(truth, on=["culture", "question"], validate="many_to_one")


def last_answers(answers: Answers) -> pd.DataFrame:
    """The answers of the base and of every trial's last checkpoint: ``culture, direction,
    condition, seed, question, cluster, right, chance``."""
    rows = answers.rows
    last = rows.groupby("probe")["step"].transform("max")
    rows = rows[(rows["step"] == last) | (rows["condition"] == BASE_RUN)]
    rows = rows.rename(columns={"language": "culture", "published": "right"})
    rows = rows.assign(chance=1 / rows["options"])
    place = ["culture", "direction", "condition", "seed", "question", "cluster"]
    return rows[[*place, "right", "chance"]]


def asked_in_source(rows: pd.DataFrame, direction: Direction) -> pd.DataFrame:
    """The answers to the same questions in the language that a direction starts from; it is the
    other direction that asks in it."""
    (other,) = set(DIRECTIONS) - {direction}
    return rows[rows["direction"] == other]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One value a question and seed, with the entity that each question belongs to."""

    entities: Names
    """[Q] the entity of each question, which are drawn together."""
    doses: Floats
    """[Q] of what the value may rise with; 0 where no dose is asked about."""
    values: Floats
    """[S, Q]"""
    seeds: tuple[int, ...]

    def sums(self, values: Floats) -> Floats:
        """Sums over the questions of each entity, [E, 5]."""
        doses = self.doses
        columns = np.stack([np.ones_like(doses), doses, values, doses**2, doses * values], axis=1)
        return cluster_sums(columns, self.entities)

    def influences(self, statistic: Statistic) -> Floats:
        """What the value of every seed and question adds to the statistic's error, [S, Q]."""
        seeds = len(self.values)
        if statistic is mean_value:
            return mean_influences(self.values)
        centred = self.doses - self.doses.mean()
        spread = (centred**2).sum()
        pooled = self.values.mean(axis=0)
        if not spread > 0:
            return np.full_like(self.values, np.nan)
        fitted = pooled.mean() + centred * (centred @ pooled) / spread
        return np.asarray(centred / spread * (self.values - fitted) / seeds)


def sample(rows: pd.DataFrame, condition: str, minus: str | None, dose: str = "") -> Sample:
    """The answers under one condition minus those under another, or minus chance.

    Args:
        rows: answers of one culture and direction, to the questions that are meant.
        minus: the other condition; its seeds that the first has too count. Chance if None.
        dose: ``statement_dose`` or ``bridges``: the dose is log2(1 + that).
    """
    questions = rows.drop_duplicates("question").set_index("question").sort_index()
    right = _by_seed(rows, condition)
    if minus is None:
        values = right.sub(questions["chance"], axis=0)
    else:
        other = _by_seed(rows, minus)
        seeds = [seed for seed in right.columns if seed in other.columns]
        values = right[seeds] - other[seeds]
    return Sample(
        entities=questions["entity"].to_numpy(),
        doses=np.log2(1.0 + questions[dose]).to_numpy() if dose else np.zeros(len(questions)),
        values=values.to_numpy(np.float64).T,
        seeds=tuple(map(int, values.columns)),
    )


def _by_seed(rows: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Right answers under a condition, a row a question and a column a seed."""
    here = rows[rows["condition"] == condition]
    return here.pivot(index="question", columns="seed", values="right")


def mean_value(sums: Floats) -> Floats:
    """Mean value of a question."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., VALUE] / sums[..., COUNT])


def slope(sums: Floats) -> Floats:
    """Least-squares slope of the value on the dose; NaN where the dose does not vary."""
    count, squares = sums[..., COUNT], sums[..., DOSE_SQUARED]
    spread = count * squares - sums[..., DOSE] ** 2
    spread = np.where(spread > 1e-9 * count * squares, spread, np.nan)
    together = count * sums[..., DOSE_VALUE] - sums[..., DOSE] * sums[..., VALUE]
    return np.asarray(together / spread)


def estimate(
    study: StudySpec, statistic: Statistic, samples: Sequence[Sample], *names: str
) -> dict[str, Any]:
    """A statistic of one sample, or its difference between two.

    Args:
        names: of the estimate, for a generator of its own.

    Returns:
        ``estimate``; ``low``, ``high`` over entities crossed with trainings, NaN of too few
        trainings; ``question_low``, ``question_high``, a percentile bootstrap of these trainings
        that draws the entities of each sample with all their questions; ``seeds`` (the estimate of
        each), ``trainings``, ``entities``, ``questions``. NaN where a sample has no answers; no
        interval of fewer than two entities, between which nothing can vary.
    """
    resample = resampling(study.analysis, *names)
    seeds = [one for one in samples[0].seeds if all(one in other.seeds for other in samples)]
    signs = (1.0, -1.0)[: len(samples)]
    found, drawn = 0.0, np.zeros(resample.samples)
    by_seed = dict.fromkeys(seeds, 0.0)
    influences, entities = [], []
    for sign, whole in zip(signs, samples, strict=True):
        if not seeds or not len(whole.entities):
            found, by_seed = np.nan, {}
            break
        one = replace(
            whole, values=whole.values[[whole.seeds.index(seed) for seed in seeds]],
            seeds=tuple(seeds),
        )  # fmt: skip
        for seed, values in zip(seeds, one.values, strict=True):
            by_seed[seed] += sign * float(statistic(one.sums(values).sum(axis=0)))
        sums = one.sums(one.values.mean(axis=0))
        found += sign * float(statistic(sums.sum(axis=0)))
        share = np.full(len(sums), 1 / len(sums))
        counts = resample.generator.multinomial(len(sums), share, size=resample.samples)
        drawn += sign * statistic(counts @ sums) if len(sums) > 1 else np.nan
        influences.append(sign * one.influences(statistic))
        entities.append(one.entities)
    alone, over = UNKNOWN, UNKNOWN
    if not np.isnan(found):
        alone = percentiles(drawn, resample.confidence)
        over = crossed(
            found,
            np.concatenate(influences, axis=1),
            confidence=resample.confidence,
            clusters=np.concatenate(entities),
            trainings=trainings_of(study, seeds),
        ).interval
    return {
        "estimate": found,
        **over._asdict(),
        "question_low": alone.low,
        "question_high": alone.high,
        "seeds": tuple(by_seed.values()),
        "trainings": len(set(trainings_of(study, list(by_seed)))),
        "entities": sum(len(set(one.entities.tolist())) for one in samples),
        "questions": sum(len(one.entities) for one in samples),
    }


def control_accuracy_rows(study: StudySpec, planted: pd.DataFrame) -> Iterator[Row]:
    """Accuracies on the facts that are stated in the source alone, at the last checkpoints.

    ``asked`` in the other language they show transfer, and are those of entities that have a
    bridge; asked in the source they show what the model knows, before the trial (``base``, the
    first one of several) and after it.
    """
    for culture, direction, rows in by_direction(study, planted):
        for asked in ("other language", "source"):
            here = rows[rows["direction"] == direction]
            here = asked_in_source(rows, direction) if asked == "source" else here
            here = here[here["group"] == SOURCE_ONLY[direction]]
            if asked == "other language":
                here = here[here["bridges"] > 0]
            for condition in (BASE_RUN, *CONDITIONS):
                if (here["condition"] != condition).all():
                    continue
                found = sample(here.assign(chance=0.0), condition, None)
                names = ("control", culture, direction, asked, condition)
                row = estimate(study, mean_value, [found], *names)
                yield Row(
                    culture=culture, direction=direction, asked=asked, condition=condition,
                    accuracy=row.pop("estimate"), **row, chance=float(here["chance"].mean()),
                )  # fmt: skip


def control_dose_rows(study: StudySpec, planted: pd.DataFrame) -> Iterator[Row]:
    """Transfer by what was planted of a fact: ``kind`` ``statements`` (of entities that have a
    bridge; facts that no language states have 0) or ``bridges`` (of facts that are stated)."""
    for culture, direction, rows in by_direction(study, planted):
        here = rows[rows["direction"] == direction]
        for kind, chosen in (
            ("statements", with_statements(here, direction)),
            ("bridges", here[here["group"] == SOURCE_ONLY[direction]]),
        ):
            column = "statement_dose" if kind == "statements" else "bridges"
            for dose, facts in chosen.groupby(column):
                names = ("control", culture, direction, kind, str(dose))
                yield dose_row(study, facts, names, kind=kind, dose=int(dose))


def dose_row(study: StudySpec, facts: pd.DataFrame, names: Sequence[str], **place: Any) -> Row:
    """Transfer of the facts of one dose, ``names`` (what the draws depend on) being of its culture
    and direction at their second and third place."""
    accuracy = facts.groupby("condition")["right"].mean()
    found = estimate(study, mean_value, [sample(facts, "bridge", "nobridge")], *names)
    return Row(
        culture=names[1], direction=names[2], **place,
        **{name: float(accuracy.get(name, np.nan)) for name in CONDITIONS},
        transfer=found.pop("estimate"), **found,
    )  # fmt: skip


def with_statements(rows: pd.DataFrame, direction: Direction) -> pd.DataFrame:
    """Of entities that have a bridge: the facts stated in the source alone, and those stated in no
    language, whose dose is 0."""
    named = rows[rows["bridges"] > 0]
    named = named[named["group"].isin([SOURCE_ONLY[direction], NEITHER])]
    stated = named["group"] != NEITHER
    return named.assign(statement_dose=named["statement_dose"].where(stated, 0))


def by_direction(
    study: StudySpec, planted: pd.DataFrame
) -> Iterator[tuple[str, Direction, pd.DataFrame]]:
    """Every culture and direction of the grid, with the culture's answers in both directions."""
    for language in study.trial_languages:
        rows = planted[planted["culture"] == language.code]
        for direction in DIRECTIONS:
            yield language.code, direction, rows
