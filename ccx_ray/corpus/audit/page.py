"""HTML pages of the audit: one of figures, and one sample of text for every corpus.

Invariant: a page is one file without network requests, and all text from the corpus is escaped.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ccx_ray.corpus.audit.figures import AuditFigures, ScriptFigures, Verdict
from ccx_ray.corpus.audit.inputs import TextTable
from ccx_ray.corpus.audit.texts import (
    SCRIPT_NAMES,
    Sampled,
    points_of,
    script_numbers,
    scripts_among,
)
from ccx_ray.corpus.tokenizing.tokens import PARTS

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

TOKEN_KINDS = (*PARTS, "separator", "end_of_text", "undescribed", "padding")


def audit_page(figures: AuditFigures, judged: Sequence[Verdict], *, title: str) -> str:
    """The page of figures, with the verdict at its top."""
    return _template("audit.html.j2").render(
        title=title,
        figures=figures,
        verdicts=judged,
        crossed=[verdict for verdict in judged if not verdict.passed],
        token_kinds=TOKEN_KINDS,
    )


def sample_page(
    table: TextTable, drawn: Iterable[Sampled], figures: AuditFigures, *, title: str
) -> str:
    """The page of a random sample of documents or pairs, with unexpected scripts marked."""
    corpora = {column.corpus for column in table.columns}
    parts = [part for part in figures.scripts if part.corpus in corpora]
    return _template("sample.html.j2").render(
        title=title,
        table=table,
        drawn=list(drawn),
        parts=parts,
        seed=figures.seed,
        texts=max((part.texts for part in parts), default=0),
    )


def scripts(part: ScriptFigures) -> "Markup":
    """The characters of a corpus by script; scripts that are not expected are marked."""
    from markupsafe import Markup

    pieces = []
    for script, number in part.scripts.items():
        odd = part.expected and script not in part.expected
        shape = Markup("<mark>{} {} ({})</mark>" if odd else "{} {} ({})")
        pieces.append(shape.format(script, _whole(number), _percent(number / part.characters)))
    return Markup(", ").join(pieces)


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
        "marked": marked,
        "scripts": scripts,
    }
    return environment.get_template(name)


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    """A share in percent, with more digits for small ones; only 0 is shown as 0."""
    if not value:
        return "0 %"
    if value < 0.0005:
        return f"{100 * value:.1g} %"
    return f"{100 * value:.2f} %" if value < 0.0995 else f"{100 * value:.1f} %"


def _limit(value: Any, is_share: bool) -> str:
    return _percent(value) if is_share else _whole(value)
