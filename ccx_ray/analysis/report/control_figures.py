"""Figures of what was planted: of a world, accuracies by culture and direction; of a world or of
interventions, transfer by dose.

Invariant: a figure shows rows of the results and computes nothing of its own; a study that plants
nothing has none of them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ccx_ray.analysis.measures.planted import CONDITIONS
from ccx_ray.analysis.measures.transfer import DIRECTIONS, interval_of
from ccx_ray.analysis.report.drawing import (
    CONDITION_COLOURS,
    FAINT,
    INK,
    NARROWEST,
    PANEL_WIDTH,
    draw_legend,
    grouped,
    language_colours,
    languages_of,
    panel_row,
)
from ccx_ray.analysis.tables import Results, Row
from ccx_ray.analysis.wording import condition_name, direction_name, short_name
from ccx_ray.study.spec import Direction, StudySpec

COLOURS = {"deranged": "#999999", **CONDITION_COLOURS}
BAR = 0.26
MARKS: dict[Direction, dict[str, str]] = {
    "base-to-target": {"marker": "o", "ls": "-"},
    "target-to-base": {"marker": "s", "ls": "--"},
}


def culture_figure(study: StudySpec, results: Results) -> Figure | None:
    """Accuracy on the facts stated in the source alone, asked in the other language, a bar a
    condition, with intervals, the single seeds, and chance."""
    rows = [row for row in results.control_accuracies if row.asked == "other language"]
    cells = grouped((row for row in rows if row.condition in CONDITIONS), "culture", "direction")
    if not cells:
        return None
    shown = [one for one in CONDITIONS if any(row.condition == one for row in rows)]
    figure, (axes,) = panel_row(max(NARROWEST, 1.9 * len(cells)), 2.9)
    for place, cell in enumerate(cells.values()):
        for row in cell:
            middle = place + BAR * (shown.index(row.condition) - (len(shown) - 1) / 2)
            height, colour = 100 * row.accuracy, COLOURS[row.condition]
            axes.bar(middle, height, 0.9 * BAR, color=colour, alpha=0.85)
            _interval(axes, [middle], [row], "accuracy", color=INK, ls="", marker="")
            if len(row.seeds) > 1:
                seeds = [100 * seed for seed in row.seeds]
                axes.plot([middle] * len(seeds), seeds, "x", color=INK, ms=3.5, mew=0.8)
        chance = 100 * cell[0].chance
        axes.plot([place - 0.45, place + 0.45], [chance, chance], color=INK, lw=0.9, ls=":")
    names = {language.code: short_name(language) for language in study.languages}
    base = study.base_language.name
    labels = [direction_name(direction, base, names[culture]) for culture, direction in cells]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy, %")
    bars = {condition_name(one): {"color": COLOURS[one], "lw": 6} for one in shown}
    draw_legend(figure, {**bars, "chance": {"color": INK, "lw": 0.9, "ls": ":"}})
    return figure


def dose_figure(
    study: StudySpec, results: Results, *, table: str, kind: str, across: str
) -> Figure | None:
    """Transfer by dose with intervals, a panel a culture and a line a direction.

    Args:
        table: ``control_doses`` of a planted world, ``intervention_doses`` of real text.
        kind: of dose, ``statements`` or ``bridges``; of real text, which one it was planted into.
        across: what the horizontal axis shows.
    """
    rows = [row for row in getattr(results, table) if row.kind == kind]
    languages = languages_of(study, (row.culture for row in rows))
    if not languages:
        return None
    doses = sorted({row.dose for row in rows})
    width = max(NARROWEST, 1.4 * PANEL_WIDTH * len(languages))
    figure, panels = panel_row(width, 2.7, len(languages), sharey=True)
    for axes, language in zip(panels, languages, strict=True):
        axes.axhline(0, color=FAINT, lw=0.8)
        for direction, style in MARKS.items():
            here = [r for r in rows if (r.culture, r.direction) == (language.code, direction)]
            shift = 0.06 * (1 if direction == DIRECTIONS[1] else -1)
            places = [doses.index(row.dose) + shift for row in here]
            filled = language_colours(study)[language.code] if style["ls"] == "-" else "white"
            _interval(
                axes, places, here, "transfer", **style,
                color=language_colours(study)[language.code], mfc=filled,
            )  # fmt: skip
        axes.set_title(short_name(language))
        axes.set_xticks(range(len(doses)), [f"{dose:,}" for dose in doses])
        axes.set_xlabel(across)
    panels[0].set_ylabel("transfer, points")
    base = study.base_language.name
    draw_legend(figure, {
        direction_name(direction, base, "target"): {
            "color": INK, **style, "mfc": INK if style["ls"] == "-" else "white", "ms": 4.5,
        }
        for direction, style in MARKS.items()
    })  # fmt: skip
    return figure


def _interval(
    axes: Axes, places: Iterable[float], rows: Sequence[Row], field: str, **style: Any
) -> None:
    """Values with their intervals, in points; a value without an interval has no bar."""
    values = [100 * getattr(row, field) for row in rows]
    ends = [
        [100 * (getattr(row, field) - interval_of(row)[0]) for row in rows],
        [100 * (interval_of(row)[1] - getattr(row, field)) for row in rows],
    ]
    axes.errorbar(list(places), values, yerr=ends, ms=4.5, elinewidth=1.1, capsize=2, **style)
