"""How figures look: palette, panels, marks, legend, and SVG with glyphs drawn as paths.

Invariants: the same numbers give the same bytes; a condition and a language keep their colour in
every figure (Okabe and Ito's palette and one of Tol's, safe for colour-blind readers); a figure
needs no font and no script but Latin. Figures are made and written inside
``matplotlib.rc_context(STYLE)``.
"""

import io
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ccx_ray.analysis.measures.transfer import DIRECTIONS
from ccx_ray.analysis.tables import BASE_RUN, Row
from ccx_ray.analysis.wording import condition_name, direction_name, short_name
from ccx_ray.study.spec import Direction, StudySpec
from ccx_ray.study.text_spec import LanguageSpec

CONDITION_COLOURS = {"bridge": "#0072B2", "nobridge": "#D55E00", "deranged": "#882255"}
CONDITION_MARKERS = {"bridge": "o", "nobridge": "s", "deranged": "^"}
LANGUAGE_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#999933")
INK, FAINT = "#222222", "#8a8a8a"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "ccx_ray",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
}
PANEL_WIDTH, PANEL_HEIGHT, NARROWEST = 2.35, 1.95, 4.7  # inches
WIDE = 8.4  # inches, of a figure that is not a grid


def panel_row(
    width: float, height: float, columns: int = 1, **options: Any
) -> tuple[Figure, Sequence[Axes]]:
    """A figure of panels beside each other; ``options`` are those of ``Figure.subplots``."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, **options)[0]


def panel_grid(
    study: StudySpec,
    codes: Iterable[str],
    panel: Callable[[Axes, LanguageSpec, Direction], None],
    *,
    label: str,
    title: Callable[[LanguageSpec, Direction], str] | None = None,
    rows: Sequence[Direction] = DIRECTIONS,
    across: str = "optimizer step",
    share_y: bool = False,
    legend: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure | None:
    """One column a target language, one row a direction of transfer; None without a language.

    Args:
        panel: draws into the axes of one language and row; it may set its own ticks.
        title: of a panel; the direction in words where none is given.
        label, across: what the vertical and the horizontal axes show.
    """
    languages, base = languages_of(study, codes), study.base_language.name
    if not languages:
        return None
    size = (max(NARROWEST, PANEL_WIDTH * len(languages)), len(rows) * PANEL_HEIGHT + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    shape = (len(rows), len(languages))
    panels = figure.subplots(*shape, squeeze=False, sharex=True, sharey=share_y or "none")
    for drawn, row in zip(panels, rows, strict=True):
        for axes, language in zip(drawn, languages, strict=True):
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            panel(axes, language, row)
            axes.set_title(
                title(language, row) if title else direction_name(row, base, short_name(language))
            )
        drawn[0].set_ylabel(label)
    for axes in panels[-1]:
        axes.set_xlabel(across)
    if legend:
        draw_legend(figure, legend)
    return figure


def direction_row(
    study: StudySpec, height: float, **options: Any
) -> tuple[Figure, Sequence[tuple[Direction, Axes]]]:
    """A figure of two panels, one a direction, of all languages together."""
    figure, panels = panel_row(WIDE, height, 2, sharey=True, **options)
    for direction, axes in zip(DIRECTIONS, panels, strict=True):
        axes.set_title(direction_name(direction, study.base_language.name, "target"))
    return figure, list(zip(DIRECTIONS, panels, strict=True))


def condition_curves(
    axes: Axes,
    rows: Sequence[Row],
    field: str,
    error: Callable[[Row], tuple[float, float]],
    *,
    unit: float = 1.0,
) -> None:
    """A line a condition over the checkpoints, from the base on, whose rows come first.

    Args:
        error: how far a row's interval reaches down and up.
        unit: of the values and their errors: 100 shows shares as percent.
    """
    for condition, colour in CONDITION_COLOURS.items():
        curve = [row for row in rows if row.condition in (BASE_RUN, condition)]
        if all(row.condition == BASE_RUN for row in curve):
            continue
        errors = zip(*(error(row) for row in curve), strict=True)
        axes.errorbar(
            [row.step for row in curve],
            [unit * getattr(row, field) for row in curve],
            yerr=[[unit * end for end in ends] for ends in errors],
            color=colour,
            marker=CONDITION_MARKERS[condition],
            markersize=3,
            elinewidth=0.9,
        )


def interval_mark(
    axes: Axes,
    place: float,
    value: tuple[float, float, float],
    colour: str,
    marker: str = "o",
    *,
    size: float = 5,
    width: float = 1.2,
    filled: bool = True,
    at_edge: bool = False,
) -> None:
    """A value and its interval on a row of the figure.

    Args:
        value: the value and the ends of its interval; nothing is drawn of NaN.
        at_edge: the axis is logarithmic; 0 is an open triangle at its left edge.
    """
    middle, low, high = value
    if math.isnan(middle):
        return
    axes.plot([low, high], [place, place], color=colour, lw=width, solid_capstyle="butt")
    axes.plot(middle, place, marker, color=colour, ms=size, mfc=colour if filled else "white")
    if at_edge and middle <= 0:
        axes.plot(
            0.0, place, "<", color=colour, ms=6, mfc="white",
            transform=axes.get_yaxis_transform(), clip_on=False,
        )  # fmt: skip


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names of the rows at the vertical axis, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def draw_legend(
    figure: Figure, entries: Mapping[str, Mapping[str, Any]], columns: int | None = None
) -> None:
    """A legend below all panels: name -> properties of its line."""
    handles = [Line2D([], [], **style) for style in entries.values()]
    figure.legend(handles, list(entries), loc="outside lower center", ncols=columns or len(entries))


def mark(marker: str, colour: str, *, filled: bool = True) -> dict[str, Any]:
    """Properties of a legend's mark without a line."""
    return {"marker": marker, "ls": "", "color": colour, "mfc": colour if filled else "white"}


def to_svg(figure: Figure) -> str:
    """The figure as an SVG document."""
    buffer = io.StringIO()
    # Date and creator would make the same numbers give other bytes.
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def grouped(rows: Iterable[Row], *fields: str) -> Mapping[Any, list[Row]]:
    """Rows by the values of these fields; no rows of values that do not occur."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(getattr(row, field) for field in fields)].append(row)
    return groups


def languages_of(study: StudySpec, codes: Iterable[str]) -> list[LanguageSpec]:
    """The study's target languages of these codes, in the study's order."""
    wanted = set(codes)
    return [language for language in study.languages if language.code in wanted]


def conditions_of(study: StudySpec) -> list[str]:
    """The study's conditions in the order of every figure."""
    return [one for one in CONDITION_COLOURS if one in study.trials.conditions]


def condition_legend(study: StudySpec) -> dict[str, dict[str, Any]]:
    """Entries of a legend for the study's conditions."""
    return {condition_name(one): {"color": CONDITION_COLOURS[one]} for one in conditions_of(study)}


def language_colours(study: StudySpec) -> dict[str, str]:
    """Code -> colour, by the place in the study, so that a part of the grid keeps its colours."""
    return {
        language.code: LANGUAGE_COLOURS[index % len(LANGUAGE_COLOURS)]
        for index, language in enumerate(study.languages)
    }


def inline_svg(svg: str, name: str) -> str:
    """An SVG to stand in a page: without prologue, with identifiers that no other figure has."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
