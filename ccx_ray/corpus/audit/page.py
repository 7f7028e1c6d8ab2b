"""The audit as pages for people: one of figures, and one of sampled text for every corpus.

Invariant: a page is one file that asks for nothing over the network, and whatever comes from the
corpus is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ccx_ray.corpus.audit.figures import AuditFigures, ContaminationFigures, Verdict
from ccx_ray.corpus.audit.inputs import TextTable
from ccx_ray.corpus.audit.texts import (
    SCRIPT_NAMES,
    Sampled,
    points_of,
    script_numbers,
    scripts_among,
)

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

# Okabe and Ito's palette, told apart by the colour-blind too; grey is what belongs to all.
SCRIPT_COLORS = {
    "Latin": "#0072b2", "Hangul": "#d55e00", "Han": "#cc3311", "Tibetan": "#aa4499",
    "Mongolian": "#009e73", "Common": "#c4c9cf", "Inherited": "#9aa0a6",
}  # fmt: skip
OTHER_COLORS = ("#e69f00", "#56b4e9", "#332288", "#882255", "#999933", "#44aa99")
KEPT_COLOR = "#c4c9cf"
TOKEN_COLORS = {
    "monolingual": "#009e73", "english": "#0072b2", "target": "#d55e00", "replay": "#56b4e9",
    "separator": "#e69f00", "end_of_text": "#5f6368", "undescribed": "#b3261e",
    "padding": "#e3e6ea",
}  # fmt: skip
SMALLEST_SHARE = 0.0005
"""Of a bar; what is smaller is listed beside it and has no width of its own."""


class Piece(NamedTuple):
    """One part of a bar."""

    label: str
    value: int
    share: float
    color: str


def bar(
    values: Mapping[str, int], colors: Mapping[str, str], total: int | None = None
) -> list[Piece]:
    """The pieces of a stacked bar, in the order given; those of nothing are left out."""
    whole = max(1, sum(values.values()) if total is None else total)
    others = iter(OTHER_COLORS * len(values))
    return [
        Piece(label, value, value / whole, colors.get(label) or next(others))
        for label, value in values.items()
        if value
    ]


def audit_page(figures: AuditFigures, judged: Sequence[Verdict], *, title: str) -> str:
    """The page of figures, with the verdict at its top."""
    return _template("audit.html.j2").render(
        title=title,
        figures=figures,
        verdicts=judged,
        crossed=[verdict for verdict in judged if not verdict.passed],
        rejected_bar=lambda part: bar({"kept": part.kept, **part.rejected}, {"kept": KEPT_COLOR}),
        token_bar=lambda condition: bar(condition.tokens, TOKEN_COLORS),
        contamination_bar=_contamination_bar,
        marked=marked,
        scripts_used=_scripts_used(figures),
        token_colors=TOKEN_COLORS,
    )


def sample_page(
    table: TextTable, drawn: Iterable[Sampled], figures: AuditFigures, *, title: str
) -> str:
    """The seeded sample of documents or pairs, characters of unexpected scripts marked."""
    corpora = {column.corpus for column in table.columns}
    scripts = [part for part in figures.scripts if part.corpus in corpora]
    return _template("sample.html.j2").render(
        title=title,
        table=table,
        drawn=list(drawn),
        marked=marked,
        scripts=scripts,
        seed=figures.seed,
        texts=max((part.texts for part in scripts), default=0),
    )


def marked(text: str, expected: Sequence[str]) -> "Markup":
    """The text as HTML; runs of characters of other scripts than the expected ones are marked."""
    from markupsafe import Markup, escape

    if not text or not expected:
        return escape(text)
    scripts = script_numbers()[points_of(text)]
    odd = ~scripts_among(expected)[scripts]
    changes = np.flatnonzero(np.diff(np.where(odd, scripts, len(SCRIPT_NAMES)))) + 1
    pieces = []
    for first, last in pairwise([0, *changes.tolist(), len(text)]):
        piece = escape(text[first:last])
        if odd[first]:
            script = SCRIPT_NAMES[scripts[first]]
            piece = Markup('<mark title="{}">{}</mark>').format(script, piece)
        pieces.append(piece)
    return Markup("").join(pieces)


def _contamination_bar(part: ContaminationFigures) -> list[Piece]:
    """Questions by the worst that is true of them."""
    half = max(0, part.half_overlapping - part.exact)
    counts = {
        "to the letter": part.exact,
        "half of the 8-grams or more": half,
        "at least one 8-gram": max(0, part.overlapping - part.exact - half),
    }
    colors = dict(zip(counts, ("#b3261e", "#e69f00", "#f4dfa8"), strict=True))
    return bar(counts, colors, part.questions)


def _scripts_used(figures: AuditFigures) -> list[tuple[str, str]]:
    """Scripts and colours for the legend: those that are visible in some bar."""
    visible = {
        script
        for part in figures.scripts
        for script, number in part.scripts.items()
        if number >= 0.01 * part.characters
    }
    return [(script, color) for script, color in SCRIPT_COLORS.items() if script in visible]


@cache
def _template(name: str) -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("ccx_ray.corpus.audit", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"whole": _whole, "percent": _percent, "limit": _limit}
    style = (resources.files("ccx_ray.corpus.audit") / "audit.css").read_text("utf-8")
    environment.globals |= {
        "style": Markup(style),
        "smallest": SMALLEST_SHARE,
        "script_bar": lambda scripts: bar(scripts, SCRIPT_COLORS),
    }
    return environment.get_template(name)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    """With as many digits as small shares need; nothing is rounded to 0 that is not."""
    if not value:
        return "0 %"
    if value < 0.0005:
        return f"{100 * value:.1g} %"
    return f"{100 * value:.2f} %" if value < 0.0995 else f"{100 * value:.1f} %"


def _limit(value: Any, is_share: bool) -> str:
    return _percent(value) if is_share else _whole(value)
