"""``--dry-run``: the smallest transfer that a study can detect, by questions and seeds."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ccx_ray.analysis.crossed import FEWEST_TRAININGS, POWER, Spreads, smallest_effect
from ccx_ray.analysis.measures.transfer import (
    DIRECTIONS,
    SOURCE_ONLY,
    significance_level,
    trainings_of,
)
from ccx_ray.analysis.wording import direction_name, names_of
from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import Probe, load_culture
from ccx_ray.study.spec import Direction, StudySpec

MORE_SEEDS = (4, 8)
"""Numbers of trainings that are shown besides the study's own."""


def print_power(console: Console, study: StudySpec, root: Path) -> None:
    """Print the smallest detectable transfer by language and direction, from assumed spreads."""
    if study.world is not None:
        console.print("\nThe smallest detectable transfer of a planted world is in its report.")
        return
    spec = study.runtime.assumed_spreads
    spreads = Spreads(spec.trainings, spec.questions, spec.rest)
    trainings = len(set(trainings_of(study, study.trials.seeds)))
    cells = len(study.trial_languages) * len(DIRECTIONS)
    table = Table(title="smallest detectable transfer, points", box=None, pad_edge=False)
    table.add_column("direction")
    for column in ("questions", "these trainings", "the condition"):
        table.add_column(column, justify="right")
    for seeds in MORE_SEEDS:
        table.add_column(f"with {seeds}", justify="right")
    names, base = names_of(study), study.base_language.name
    level = significance_level(study) / cells
    for language in study.trial_languages:
        try:
            probes = load_culture(language, root, base=study.base_language.code)
        except UserError:
            continue  # a missing file, named below
        for direction in DIRECTIONS:
            asked = language.code if direction == "base-to-target" else study.base_language.code
            count = headline_clusters(probes[asked], direction)
            of_condition, of_these = smallest_effect(
                spreads, trainings=trainings, clusters=count, level=level
            )
            more = [
                smallest_effect(spreads, trainings=seeds, clusters=count, level=level)[0]
                for seeds in MORE_SEEDS
            ]
            place = direction_name(direction, base, names[language.code])
            shown = (
                "–" if math.isnan(x) else f"{100 * x:.1f}" for x in (of_these, of_condition, *more)
            )
            table.add_row(place, f"{count:,}", *shown)
    console.print()
    console.print(table)
    console.print(
        f"Power {POWER:.0%}, level {level:.4g} (Holm's first step over {cells} cells), "
        f"{trainings} trainings per condition. Assumed standard deviations: "
        f"{spreads.trainings:g} between trainings, {spreads.clusters:g} between questions, "
        f"{spreads.rest:g} residual (runtime.assumed_spreads).",
        highlight=False,
    )
    if trainings < FEWEST_TRAININGS:
        console.print(
            f"With {trainings} per condition, claims hold for these trainings only; a claim about "
            f"the condition needs {FEWEST_TRAININGS} (trials.seeds).",
            style="yellow",
            highlight=False,
        )


def headline_clusters(probe: Probe, direction: Direction) -> int:
    """Number of clusters of questions in a direction's headline."""
    group = SOURCE_ONLY[direction]
    chosen = [item for item in probe.items if item.group == group] or list(probe.items)
    return len({item.cluster or f"question {number}" for number, item in enumerate(chosen)})
