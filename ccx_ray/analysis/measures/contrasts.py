"""Transfer by group of questions, and the contrasts of a third condition.

A probe may name a group for every question. ``base_only``, ``target_only``, ``both`` and
``neither`` say in which languages the question's fact is stated; other names are the study's own.

Where pairs are also shown deranged, each half beside the translation of another sentence, transfer
has two parts: deranged minus no-bridge is what the company of two languages does without meaning,
and bridge minus deranged what aligned sentences do.

Invariant: pairing, intervals and tests are those of transfer.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ccx_ray.analysis.measures.transfer import (
    COUNTINGS,
    Answers,
    Contrast,
    Counting,
    compare,
    correct_last,
    headline_group,
    paired_cells,
    transfer_row,
)
from ccx_ray.analysis.tables import BASE_RUN, Row
from ccx_ray.study.spec import Direction, StudySpec

CONTRASTS: tuple[Contrast, ...] = (("deranged", "nobridge"), ("bridge", "deranged"))
STATED: Mapping[Direction, Mapping[str, str]] = {
    "base-to-target": {
        "base_only": "source only",
        "target_only": "asked language only",
        "both": "both",
        "neither": "neither",
    },
    "target-to-base": {
        "target_only": "source only",
        "base_only": "asked language only",
        "both": "both",
        "neither": "neither",
    },
}
"""Direction -> reserved group -> in which languages the fact is stated: the ``source`` is the one
that knowledge moves from. In the order of the report."""


def group_rows(study: StudySpec, answers: Answers) -> Iterator[Row]:
    """Transfer of every group of questions at every checkpoint, ties counted as published, of the
    probes that have groups; those without one are the group of no name.

    ``stated`` is empty for names that are not reserved. The accuracies under the conditions that no
    transfer is made of are of all their seeds; None where the study has none.
    """
    published: Counting = "published"
    for place, cell in paired_cells(answers):
        order = STATED[place["direction"]]
        found = cell["group"].unique().tolist()
        if found == [""]:
            continue
        reserved = [group for group in order if group in found]
        for group in (*reserved, *(one for one in found if one not in order)):
            part = cell[cell["group"] == group]
            names = ("group", place["probe"], str(place["step"]), group)
            compared = compare(study, part, published, *names)
            yield transfer_row(
                compared,
                **place,
                group=group,
                stated=order.get(group, ""),
                base=_accuracy(answers, place | {"step": 0}, group, BASE_RUN),
                deranged=_accuracy(answers, place, group, "deranged"),
            )


def _accuracy(
    answers: Answers, place: Mapping[str, Any], group: str, condition: str
) -> float | None:
    rows = answers.rows
    here = rows[
        (rows["probe"] == place["probe"])
        & (rows["step"] == place["step"])
        & (rows["group"] == group)
        & (rows["condition"] == condition)
    ]
    return float(here["published"].mean()) if len(here) else None


def contrast_rows(study: StudySpec, answers: Answers) -> list[Row]:
    """The contrasts of the third condition over the questions of the headline, in the columns of
    transfer: ``first`` and ``second`` are the accuracies under the two conditions of ``contrast``.
    Both ``p_holm`` are corrected within a contrast."""
    rows = []
    for contrast in CONTRASTS:
        cells = list(paired_cells(answers, contrast=contrast))
        for counting in COUNTINGS:
            counted = [_contrast_row(study, *one, counting, contrast) for one in cells]
            correct_last(counted)
            rows += counted
    return rows


def _contrast_row(
    study: StudySpec,
    place: Mapping[str, Any],
    cell: pd.DataFrame,
    counting: Counting,
    contrast: Contrast,
) -> Row:
    names = ("contrast", *contrast, place["probe"], str(place["step"]), counting)
    found = compare(study, cell[cell["headline"]], counting, *names, contrast=contrast)
    return Row(
        contrast="-".join(contrast),
        **place,
        counting=counting,
        group=headline_group(cell),
        **found.columns(),
    )
