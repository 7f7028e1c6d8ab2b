"""Figures of frequency: densities, occurrences and exposure beside transfer, and the model.

Invariant: a figure shows rows of the results and computes nothing of its own. On a logarithmic axis
a value of 0 stands at the left edge as an open triangle.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ccx_ray.analysis.measures.densities import DensityRow
from ccx_ray.analysis.measures.exposure_effect import ExposureRow
from ccx_ray.analysis.measures.frequency_effect import Bin, BinRow, OccurrenceRow
from ccx_ray.analysis.measures.question_transfer import POOLED
from ccx_ray.analysis.measures.transfer import DIRECTIONS, Direction
from ccx_ray.analysis.report.drawing import (
    FAINT,
    INK,
    STYLE,
    language_colours,
    languages_of,
    to_svg,
)
from ccx_ray.analysis.report.paper import DENSITIES, OCCURRENCES
from ccx_ray.analysis.report.wording import direction_name, short_name
from ccx_ray.study.spec import StudySpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EDGE = 0.4
"""Of the smallest value above 0: where the left edge of a logarithmic axis stands."""


def density_figure(study: StudySpec, rows: Sequence[DensityRow]) -> str:
    """Densities in both corpora with their intervals, and their ratio, beside the paper's."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    languages = languages_of(study, {row.culture for row in rows})
    names = [short_name(language) for language in languages]
    by_culture = {row.culture: row for row in rows}
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(8.4, 0.9 + 0.52 * len(rows)), layout="constrained")
        densities, ratios = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        for place, language in enumerate(languages):
            row, colour = by_culture[language.code], language_colours(study)[language.code]
            known = DENSITIES.get(language.code)
            _point(densities, place - 0.14, _base(row), INK, "o")
            _point(densities, place + 0.14, _target(row), colour, "s")
            _point(ratios, place, (row.ratio, row.ratio_low, row.ratio_high), colour, "o")
            if known:
                marks = [(densities, known[0], -0.14, INK), (densities, known[1], 0.14, colour)]
                for axes, value, shift, of in [*marks, (ratios, known[1] / known[0], 0.0, colour)]:
                    axes.plot(value, place + shift, "d", color=of, mfc="white", ms=5, zorder=1)
        for axes, title, shown in (
            (densities, "cultural density", [v for r in rows for v in (*_base(r), *_target(r))]),
            (ratios, "ratio, target over " + study.base_language.name, _ratios(rows)),
        ):
            _log_axis(axes, shown)
            axes.set_title(title, loc="left")
        ratios.axvline(1, color=FAINT, linewidth=0.8, zorder=0)
        densities.set_yticks(range(len(names)), names)
        densities.set_ylim(len(names) - 0.5, -0.5)
        handles = [
            Line2D([], [], marker="o", ls="", color=INK),
            Line2D([], [], marker="s", ls="", color=FAINT),
            Line2D([], [], marker="d", ls="", color=FAINT, mfc="white"),
        ]
        words = [f"{study.base_language.name} corpus", "target corpus", "in the paper"]
        figure.legend(handles, words, loc="outside lower center", ncols=3)
        return to_svg(figure)


def occurrence_figure(study: StudySpec, rows: Sequence[OccurrenceRow]) -> str:
    """Mean occurrences of transferred and of all questions, by culture and pooled."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    languages = languages_of(study, {row.culture for row in rows})
    places = {**{language.code: n for n, language in enumerate(languages)}, POOLED: len(languages)}
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(8.4, 1.0 + 0.42 * len(places)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, direction in zip(panels, DIRECTIONS, strict=True):
            for row in (row for row in rows if row.direction == direction):
                colour = language_colours(study).get(row.culture, INK)
                place = places[row.culture]
                chosen = (row.mean_transferred, row.transferred_low, row.transferred_high)
                everything = (row.mean_all, row.all_low, row.all_high)
                _point(axes, place - 0.15, chosen, colour, "o", clip=False)
                _point(axes, place + 0.15, everything, colour, "o", clip=False, open_mark=True)
                if row.culture == POOLED:
                    for value, shift in zip(OCCURRENCES[direction], (-0.15, 0.15), strict=True):
                        axes.plot(value, place + shift, "d", color=INK, mfc="white", ms=5, zorder=1)
            _direction_title(study, axes, direction)
            axes.set_xlabel("mean occurrences")
            axes.set_xlim(left=0)
        panels[0].set_yticks(range(len(places)), [*map(short_name, languages), "all"])
        panels[0].set_ylim(len(places) - 0.5, -0.5)
        handles = [
            Line2D([], [], marker="o", ls="", color=FAINT),
            Line2D([], [], marker="o", ls="", color=FAINT, mfc="white"),
            Line2D([], [], marker="d", ls="", color=INK, mfc="white"),
        ]
        words = ["transferred items", "all items", "in the paper"]
        figure.legend(handles, words, loc="outside lower center", ncols=3)
        return to_svg(figure)


def binned_figure(
    study: StudySpec, bins: Sequence[Bin], rows: Sequence[BinRow], across: str
) -> str:
    """Transfer by ranges of a value: all languages with intervals, each language as a mark.

    Args:
        across: what the value is; ``{}`` in it stands for the language that knowledge moves from.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    labels = [one.label for one in bins]
    languages = languages_of(study, {row.culture for row in rows})
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(8.4, 3.1), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, direction in zip(panels, DIRECTIONS, strict=True):
            here = [row for row in rows if row.direction == direction and row.questions]
            pooled = [row for row in here if row.culture == POOLED]
            axes.axhline(0, color=FAINT, linewidth=0.8)
            for index, language in enumerate(languages):
                marks = [row for row in here if row.culture == language.code]
                shift = 0.16 + 0.36 * index / max(1, len(languages) - 1)
                axes.plot(
                    [labels.index(row.bin) + shift for row in marks],
                    [100 * row.transfer for row in marks],
                    "D",
                    color=language_colours(study)[language.code],
                    markersize=3.5,
                    label=short_name(language),
                )
            axes.errorbar(
                [labels.index(row.bin) for row in pooled],
                [100 * row.transfer for row in pooled],
                yerr=[
                    [100 * (row.transfer - row.low) for row in pooled],
                    [100 * (row.high - row.transfer) for row in pooled],
                ],
                fmt="o",
                color=INK,
                markersize=4.5,
                elinewidth=1.1,
                capsize=2,
                label="all languages",
            )
            sizes = {row.bin: row.questions for row in pooled}
            axes.set_xticks(range(len(labels)), [f"{x}\nn = {sizes.get(x, 0):,}" for x in labels])
            axes.set_xlim(-0.4, len(labels) - 0.2)
            _direction_title(study, axes, direction)
            base = study.base_language.name
            axes.set_xlabel(across.format(base if direction == "base-to-target" else "target"))
        panels[0].set_ylabel("transfer, points")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
        return to_svg(figure)


def correlation_figure(study: StudySpec, rows: Sequence[ExposureRow]) -> str:
    """Rank correlation of exposure with transfer over the checkpoints."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    languages = languages_of(study, {row.culture for row in rows})
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(8.4, 2.7), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True, sharex=True)
        for axes, direction in zip(panels, DIRECTIONS, strict=True):
            axes.axhline(0, color=FAINT, linewidth=0.8)
            here = [row for row in rows if (row.direction, row.measure) == (direction, "exposure")]
            for code, name in (*((x.code, short_name(x)) for x in languages), (POOLED, "all")):
                known = [row for row in here if not math.isnan(row.correlation)]
                curve = [row for row in known if row.culture == code]
                if not curve:
                    continue
                steps = [row.step for row in curve]
                colour = language_colours(study).get(code, INK)
                if code == POOLED:
                    ends = [[r.correlation_low for r in curve], [r.correlation_high for r in curve]]
                    axes.fill_between(steps, *ends, color=INK, alpha=0.14, linewidth=0)
                axes.plot(
                    steps,
                    [row.correlation for row in curve],
                    color=colour,
                    marker="o",
                    ms=3,
                    lw=2 if code == POOLED else 1.1,
                    label=name,
                )
            if not axes.lines[1:]:
                axes.text(
                    0.5, 0.6, "too few items differ", transform=axes.transAxes, ha="center",
                    color=FAINT,
                )  # fmt: skip
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            _direction_title(study, axes, direction)
            axes.set_xlabel("optimizer step")
        panels[0].set_ylabel("rank correlation")
        lines = {
            str(line.get_label()): line for axes in panels for line in axes.lines[1:]
        }  # the first is 0
        figure.legend(
            lines.values(), lines.keys(), loc="outside lower center", ncols=max(1, len(lines))
        )
        return to_svg(figure)


def _base(row: DensityRow) -> tuple[float, float, float]:
    return row.base_density, row.base_density_low, row.base_density_high


def _target(row: DensityRow) -> tuple[float, float, float]:
    return row.target_density, row.target_density_low, row.target_density_high


def _ratios(rows: Sequence[DensityRow]) -> list[float]:
    known = [base_target for row in rows if (base_target := DENSITIES.get(row.culture))]
    own = [value for row in rows for value in (row.ratio, row.ratio_low, row.ratio_high)]
    return [*own, *(target / base for base, target in known), 1.0]


def _point(
    axes: "Axes",
    place: float,
    value: tuple[float, float, float],
    colour: str,
    marker: str,
    *,
    clip: bool = True,
    open_mark: bool = False,
) -> None:
    """A mark with its interval, horizontally.

    Args:
        value: the value and the ends of its interval.
        clip: the axis is logarithmic, and what does not fit on it is drawn to its edges.
    """
    middle, low, high = value
    if math.isnan(middle):  # nothing was counted
        return
    axes.plot([low, high], [place, place], color=colour, lw=1.2, solid_capstyle="butt")
    axes.plot(middle, place, marker, color=colour, ms=5, mfc="white" if open_mark else colour)
    if clip and middle <= 0:
        axes.plot(
            0.0, place, "<", color=colour, ms=6, mfc="white",
            transform=axes.get_yaxis_transform(), clip_on=False,
        )  # fmt: skip


def _log_axis(axes: "Axes", values: Sequence[float]) -> None:
    """A logarithmic axis that holds all values above 0; what is 0 or has no bound is cut."""
    shown = [value for value in values if 0 < value < float("inf")]
    if shown:
        axes.set_xscale("log", nonpositive="clip")
        axes.set_xlim(EDGE * min(shown), max(shown) / EDGE)


def _direction_title(study: StudySpec, axes: "Axes", direction: Direction) -> None:
    axes.set_title(direction_name(direction, study.base_language.name, "target"), loc="left")
