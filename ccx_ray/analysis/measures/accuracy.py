"""Accuracy, and what it has to be held against: chance, the order of the options, odd questions.

The right option is the first one in most questions of some probes, and the published scorer breaks
ties in favour of the first, so an accuracy may rest on order alone.

Invariant: the cluster of questions is the unit of every standard error; seeds are averaged first.
An option
counts as chosen by position, a question as right by text, as the published scorer has it. Oddities
are counted over all questions that were asked; chance and the first option over those that the
study does not leave out.
"""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from ccx_ray.analysis.measures.transfer import (
    COUNTINGS,
    DIRECTIONS,
    Answers,
    Cell,
    by_run,
    cells,
    clusters_of,
    probe_of,
)
from ccx_ray.analysis.statistics import mean, standard_error
from ccx_ray.analysis.tables import BASE_RUN, Row
from ccx_ray.study.spec import QualityKind, StudySpec


def accuracy_rows(answers: Answers) -> Iterator[Row]:
    """Accuracy of the base, of every trial and (``seed`` None) over the seeds, at every
    checkpoint."""
    for place, cell in _cells(answers):
        if place["condition"] != BASE_RUN:
            for run, seed in enumerate(by_run(cell, "seed")[:, 0].tolist()):
                yield _row(place, seed, cell, slice(run, run + 1))
        yield _row(place, None, cell)


def last_accuracy_rows(answers: Answers) -> list[Row]:
    """Accuracies over the seeds at the base and at the last checkpoints."""
    return [_row(place, None, cell) for place, cell in _cells(answers, last_only=True)]


def _cells(answers: Answers, *, last_only: bool = False) -> Iterator[Cell]:
    """The answers to each probe under each condition at each checkpoint, all seeds together.

    Args:
        last_only: at the base and at the last checkpoint of the probe.
    """
    rows = answers.rows
    if last_only:
        last = rows.groupby("probe")["step"].transform("max")
        rows = rows[(rows["step"] == last) | (rows["condition"] == BASE_RUN)]
    return cells(rows, "language", "condition", "step", "probe")


def _accuracies(cell: pd.DataFrame, runs: slice = slice(None)) -> dict[str, Any]:
    """Accuracy in every counting with its standard error over clusters, of these runs of a cell."""
    clusters = clusters_of(cell)
    found: dict[str, Any] = {"questions": len(clusters), "clusters": len(set(clusters))}
    for counting in COUNTINGS:
        ending = "" if counting == "published" else f"_{counting.replace('-', '_')}"
        right = by_run(cell, counting)[runs].mean(axis=0)
        found[f"accuracy{ending}"] = float(right.mean())
        found[f"standard_error{ending}"] = standard_error(right, clusters)
    # Questions whose best score is shared, on average over the seeds.
    found["tied"] = float(np.mean(by_run(cell, "tied")[runs].sum(axis=1)))
    return found


def _row(
    place: dict[str, Any], seed: int | None, cell: pd.DataFrame, runs: slice = slice(None)
) -> Row:
    columns = {"language": place["language"], "condition": place["condition"], "seed": seed}
    return Row(**{**columns, **place}, **_accuracies(cell, runs))


def tie_rows(answers: Answers) -> Iterator[Row]:
    """Broken ties and the first option, at the base and for each condition at its last checkpoint;
    shares of the questions, seeds averaged."""
    for place, cell in _cells(answers, last_only=True):
        found, right = Row(**_accuracies(cell)), by_run(cell, "published").mean(axis=0)
        gold, clusters = by_run(cell, "gold")[0], clusters_of(cell)
        first, elsewhere = gold == 0, gold > 0
        tied_right = found.accuracy - found.accuracy_ties_wrong
        yield Row(
            **place,
            questions=found.questions,
            tied=found.tied,  # questions
            tied_right=tied_right * found.questions,  # those that option order made right
            accuracy=found.accuracy,
            accuracy_ties_wrong=found.accuracy_ties_wrong,
            accuracy_ties_shared=found.accuracy_ties_shared,
            worth_against_wrong=tied_right,  # what broken ties add to the accuracy
            worth_against_shared=found.accuracy - found.accuracy_ties_shared,
            first_option_accuracy=float(first.mean()),  # of always choosing the first
            first_chosen=float((cell["choice"].to_numpy() == 0).mean()),
            accuracy_gold_first=mean(right[first]),
            standard_error_gold_first=standard_error(right[first], clusters[first]),
            accuracy_gold_elsewhere=mean(right[elsewhere]),
            standard_error_gold_elsewhere=standard_error(right[elsewhere], clusters[elsewhere]),
        )


def position_rows(answers: Answers) -> Iterator[Row]:
    """The same cells by position of the right option; positions at which it never stands too.

    A model that only prefers positions is right (``accuracy``) as often as it chooses the position
    wherever the right option stands (``chosen``); ``gold_share`` is the accuracy of always choosing
    it.
    """
    for place, cell in _cells(answers, last_only=True):
        right, choice = by_run(cell, "published").mean(axis=0), cell["choice"].to_numpy()
        gold, clusters = by_run(cell, "gold")[0], clusters_of(cell)
        for position in range(-1 if (gold < 0).any() else 0, max(gold.max(), choice.max()) + 1):
            here = gold == position
            yield Row(
                **place,
                position=position,
                questions=int(here.sum()),
                gold_share=float(here.mean()),
                chosen=float((choice == position).mean()),
                accuracy=mean(right[here]),
                standard_error=standard_error(right[here], clusters[here]),
            )


def probe_rows(study: StudySpec, answers: Answers) -> Iterator[Row]:
    """Every probe that was asked, target-language questions first; what is odd about its questions
    is explained at ``ccx_ray.evaluation.probes.quality``."""
    by_probe = dict(iter(answers.asked.groupby("probe")))
    for culture in (language.code for language in study.trial_languages):
        for direction in DIRECTIONS:
            probe = probe_of(direction, culture, study.base_language.code)
            if probe not in by_probe:
                continue
            asked = by_probe[probe]
            kept = asked[asked["kept"]]
            first = kept["gold"].to_numpy() == 0
            odd = asked["quality"].explode().value_counts()
            yield Row(
                probe=probe,
                culture=culture,
                asked=len(asked),
                left_out=len(asked) - len(kept),  # scored and stored, but in no number
                questions=len(kept),
                clusters=kept["cluster"].nunique(),
                chance=float((1 / kept["options"].to_numpy()).mean()),
                first_option=int(first.sum()),
                first_option_accuracy=float(first.mean()),
                **{kind: int(odd.get(kind, 0)) for kind in get_args(QualityKind)},
            )


def left_out_rows(exclude: Sequence[QualityKind], probes: Sequence[Row]) -> list[Row]:
    """How many questions each excluded oddity takes out of each probe; some have several."""
    return [
        Row(probe=row.probe, reason=kind, questions=getattr(row, kind))
        for row in probes
        for kind in exclude
        if getattr(row, kind)
    ]
