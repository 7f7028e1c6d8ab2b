"""How figures look: palette, panels, legend, and SVG with glyphs drawn as paths.

Invariants: the same numbers give the same bytes; a condition and a language keep their colour in
every figure (Okabe and Ito's palette, safe for colour-blind readers); a figure needs no font and
no script but Latin.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ccx_ray.analysis.measures.transfer import Direction
from ccx_ray.analysis.report.wording import direction_name, short_name
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = TypeVar("Row")

CONDITION_COLOURS = {"bridge": "#0072B2", "nobridge": "#D55E00"}
CONDITION_NAMES = {"bridge": "bridge", "nobridge": "no-bridge"}
LANGUAGE_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#999933")
INK, FAINT = "#222222", "#8a8a8a"
STYLE: Mapping[str, Any] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "ccx_ray",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
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


def panel_grid(
    languages: Sequence[LanguageSpec],
    panel: Callable[["Axes", LanguageSpec, Row], None],
    *,
    rows: Sequence[Row],
    title: Callable[[LanguageSpec, Row], str],
    label: str,
    across: str = "optimizer step",
    share_y: bool = False,
    height: float = PANEL_HEIGHT,
    legend: Sequence[tuple[str, str, str]] = (),
) -> str:
    """One column a language; rows are mostly directions of transfer.

    Args:
        panel: draws into the axes of one language and row; it may set its own ticks.
        label, across: what the vertical and the horizontal axes show.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with mpl.rc_context(dict(STYLE)):
        width = max(NARROWEST, PANEL_WIDTH * len(languages))
        figure = Figure(figsize=(width, len(rows) * height + 0.4), layout="constrained")
        panels = figure.subplots(
            len(rows),
            len(languages),
            squeeze=False,
            sharex=True,
            sharey=True if share_y else "none",
        )
        for drawn, row in zip(panels, rows, strict=True):
            for axes, language in zip(drawn, languages, strict=True):
                axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
                axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
                panel(axes, language, row)
                axes.set_title(title(language, row), loc="left")
            drawn[0].set_ylabel(label)
        for axes in panels[-1]:
            axes.set_xlabel(across)
        if legend:
            draw_legend(figure, legend)
        return to_svg(figure)


def direction_titles(study: StudySpec) -> Callable[[LanguageSpec, Direction], str]:
    """Titles of panels that are a direction each: ``English → Korean``."""
    base = study.base_language.name
    return lambda language, direction: direction_name(direction, base, short_name(language))


def draw_legend(figure: "Figure", entries: Sequence[tuple[str, str, str]]) -> None:
    """A legend below all panels, of ``(name, colour, line style)``."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linestyle=line) for _, colour, line in entries]
    figure.legend(
        handles, [name for name, _, _ in entries], loc="outside lower center", ncols=len(entries)
    )


def to_svg(figure: "Figure") -> str:
    """The figure as an SVG document."""
    buffer = io.StringIO()
    # Date and creator would make the same numbers give other bytes.
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def languages_of(study: StudySpec, codes: set[str]) -> list[LanguageSpec]:
    """The study's target languages of these codes, in the study's order."""
    return [language for language in study.languages if language.code in codes]


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
