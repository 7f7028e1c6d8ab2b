"""What the cards of an export share: templates, escaped words, front matter, the list of licences.

Invariant: words of the user's are escaped, so that none becomes a table's border, a heading or a
tag.
"""

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from ccx_ray.analysis import wording
from ccx_ray.export.finished import FinishedStudy
from ccx_ray.export.licences import TextSource
from ccx_ray.study.spec import StudySpec

ARTIFICIAL = "art"
"""ISO 639's code of an invented language; codes of a planted world are names of its own."""


def cell(text: object) -> str:
    """A text of the user's on one line of a table or a heading."""
    return re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", plain(text))


def plain(text: object) -> str:
    """A text of the user's on one line, without tags."""
    return html.escape(" ".join(str(text).split()), quote=False)


def size(count: float) -> str:
    """Bytes: ``3.4 MB``."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count:.0f} bytes"


@cache
def _templates() -> Environment:
    environment = Environment(  # Markdown: ``cell`` and ``plain`` escape
        loader=PackageLoader("ccx_ray.export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    shown = ("condition_name", "listing", "points", "percent", "whole", "decimal", "short_commit")
    environment.filters |= {name: getattr(wording, name) for name in shown}
    environment.filters |= {"cell": cell, "plain": plain, "size": size, "code": "`{}`".format}
    return environment


def render(template: str, **values: Any) -> str:
    """A template of this package with its values."""
    text = _templates().get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def licences_page(finished: FinishedStudy, sources: Sequence[TextSource], *, weights: bool) -> str:
    """``LICENSES.md`` of some of a study's sources."""
    bundled = finished.is_shipped and any(one.label.startswith("data/") for one in sources)
    return render(
        "licences.md.j2",
        planted=finished.study.world is not None,
        sources=sources,
        weights=weights,
        bundled=bundled,
    )


def card_languages(study: StudySpec, codes: Sequence[str]) -> list[str]:
    """The base language and some target languages as the hub calls them."""
    return [ARTIFICIAL] if study.world else [study.base_language.code, *codes]


def front_matter(fields: dict[str, Any]) -> str:
    """The YAML between two lines of dashes with which a card of the hub begins. The hub reads YAML
    1.1, where ``no`` is a truth value, so it is PyYAML's own that is written here."""
    text = yaml.safe_dump(fields, allow_unicode=True, sort_keys=False, width=100)
    return f"---\n{text}---\n\n"
