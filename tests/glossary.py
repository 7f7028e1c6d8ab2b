"""Where pages of the documentation first use a term of the glossary, and whether they link it."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.jobs import PROJECT

TERMS = (
    "base model",
    "bits per byte",
    "bridge",
    "checkpoint",
    "cloze",
    "continual pretraining",
    "cultural density",
    "deranged",
    "dose",
    "exposure",
    "failure signature",
    "fingerprint",
    "headline",
    "held-out documents",
    "intervention",
    "judge",
    "mixture",
    "parallel sentences",
    "perplexity",
    "planted world",
    "replay",
    "script isolation",
    "seed",
    "target language",
    "transfer",
    "trial",
)
"""Terms that a page links where it first uses them. The others are used in other senses too."""

UNLINKED = (
    "docs/glossary.md",
    "docs/faults.md",
    "docs/log.md",
    "docs/benchmarks/",
    "docs/howto/mlflow-server.md",
)
"""The glossary itself, a generated page, dated records, and a page without terms of the method."""


def pages_with_links() -> list[Path]:
    """The pages of the site that link terms; pages outside docs/ are read on GitHub too."""
    found = sorted((PROJECT / "docs").rglob("*.md"))
    return [page for page in found if not page.relative_to(PROJECT).as_posix().startswith(UNLINKED)]


def glossary_entries() -> list[list[str]]:
    """The terms of every entry of the glossary, in its order."""
    text = (PROJECT / "docs/glossary.md").read_text("utf-8")
    block = re.search(r"```\{glossary\}\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return [
        [line for line in entry.splitlines() if not line.startswith(" ")]
        for entry in block[1].strip().split("\n\n")
    ]


def unlinked_terms(page: Path) -> Iterator[str]:
    """Terms whose first use in the text of a page is no link to the glossary."""
    first: dict[str, bool] = {}
    for text, is_link in _prose(page):
        for term in TERMS:
            if re.search(rf"\b{term}s?\b", text, re.IGNORECASE):
                first.setdefault(term, is_link)
    yield from (term for term, is_link in first.items() if not is_link)


def _prose(page: Path) -> Iterator[tuple[str, bool]]:
    """The words of a page outside headings, code and links; whether a ``{term}`` holds them."""
    tokens = MarkdownIt().enable("table").parse(page.read_text("utf-8"))
    for before, token in pairwise(tokens):
        if token.type == "inline" and before.type != "heading_open":
            yield from _words(token.children or [])


def _words(children: list[Token]) -> Iterator[tuple[str, bool]]:
    links, role = 0, ""
    for child in children:
        links += child.nesting if child.type.startswith("link_") else 0
        if child.type == "text" and not links:
            yield child.content, False
        elif child.type == "code_inline" and role.endswith("{term}"):
            yield child.content, True
        role = child.content if child.type == "text" else ""
