"""Wikitext to plain text: what a reader of the page sees as prose, and nothing else.

Kept: paragraphs, section titles, list items, quotations, the words of links and of templates that
only give words their form. Dropped: other templates, tables, references, files and images with
their captions, categories, interlanguage links, galleries, formulas, code, comments, behaviour
switches (``__TOC__``), and titles of sections that are empty without those. A title below which the
page has nothing at all stays, as MediaWiki shows it.

The steps are those of MediaWiki's parser, in its order: comments and extensions, templates, script
variants, HTML tags, tables, switches, links, and then line by line headings, lists, quotes,
entities. Each is a pass over the page that takes time in proportion to its length, whatever is left
open in it; no tree is built. ``docs/wikitext.md`` says what differs from MediaWiki, and why.
"""

import re
from collections.abc import Callable

from ccx_ray.corpus.reading.wiki_links import (
    ADDRESS,
    PROTOCOL,
    characters,
    linked,
    without_addresses,
)
from ccx_ray.corpus.reading.wiki_quotes import unquoted
from ccx_ray.corpus.reading.wiki_site import (
    BARE,
    BRACKET,
    BREAK,
    CLOSE,
    COLON,
    DROPPED,
    HEADING,
    KEPT,
    LINK,
    OPEN,
    QUOTE,
    Site,
)
from ccx_ray.corpus.reading.wiki_tables import without_tables
from ccx_ray.corpus.reading.wiki_tags import marked, without_extensions
from ccx_ray.corpus.reading.wiki_templates import WORD_TEMPLATES, expanded, mended
from ccx_ray.corpus.reading.wiki_variants import converted
from ccx_ray.corpus.reading.wiki_words import SWITCHES, SWITCHES_OF_ANY_CASE

__all__ = ["Site", "clean_wikitext"]

_SWITCH = re.compile(r"__(\w+?)__|＿＿(\w+?)＿＿")
_HEADING = re.compile(r"\n(=[^\n]*)")
_BARE = re.compile(r"^(=.*?)[ \t]*$(?=\s*(?:^=|\Z))", re.MULTILINE)
"""A title below which there is nothing, not even something that will be dropped."""
_RULE = re.compile(r"\n-{4,}")
_TERM = re.compile(rf"\n{DROPPED}*[*#:;]*;([^\n]*:[^\n]*)")
_LIST = re.compile(rf"\n{DROPPED}*[*#:;]+[ \t]*")
_COLON = re.compile(
    rf"(?i)(?<!\w){PROTOCOL}{ADDRESS}|(?<!:)//{ADDRESS}|''+|[{OPEN}{CLOSE}]|-\{{|\}}-|:"
)
_KEPT = re.compile(f"{KEPT}([0-9]+){KEPT}")


def clean_wikitext(text: str, site: Site = Site()) -> str:  # noqa: B008
    """The plain text of a page."""
    text, kept = without_extensions(text)
    if "=" in text:
        text = _BARE.sub(rf"\1{BARE}", text)
    if "{{" in text:
        text = expanded(text, WORD_TEMPLATES if site.templates is None else site.templates)
    if "-{" in text:
        text = converted(text, site.language)
    text = without_tables(f"\n{marked(text)}")
    if "__" in text or "＿＿" in text:
        text = _SWITCH.sub(_switch, text)
    if "[" in text:
        if "[[" in text:
            text = linked(text, site)
        text = without_addresses(text)
    text = _with_blocks(text)
    text = _by_line(text, "''", unquoted)
    if "&" in text:
        text = characters(text)
    text = _by_line(text, DROPPED, mended)
    if KEPT in text:
        text = _KEPT.sub(lambda mark: kept[int(mark[1])], text)
    return _tidy(text)


def _by_line(text: str, sign: str, rendered: Callable[[str], str]) -> str:
    """A page with every line that holds a sign rendered anew."""
    pieces: list[str] = []
    at = 0
    while (place := text.find(sign, at)) >= 0:
        start = max(text.rfind("\n", at, place) + 1, at)
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        pieces += (text[at:start], rendered(text[start:end]))
        at = end
    return "".join([*pieces, text[at:]]) if at else text


def _switch(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    word = name.lower()
    is_switch = word in SWITCHES_OF_ANY_CASE or (word in SWITCHES and name == name.upper())
    return "" if is_switch else match[0]


def _with_blocks(text: str) -> str:
    """A page whose lines have lost the signs that they begin with; it begins with a line break."""
    if "\n=" in text:
        text = _HEADING.sub(_heading, text)
    if "\n----" in text:
        text = _RULE.sub(f"\n{CLOSE}", text)
    if ";" in text:
        text = _TERM.sub(_defined, text)
    return _LIST.sub("\n", text)


def _heading(match: re.Match[str]) -> str:
    line = match[1]
    bare = BARE if line.endswith(BARE) else ""
    whole = line.removesuffix(BARE).rstrip(" \t")
    left = len(whole) - len(whole.lstrip("="))
    right = len(whole) - len(whole.rstrip("="))
    level = min((left - 1) // 2 if left == len(whole) else min(left, right), 6)
    title = whole[level : len(whole) - level].replace(BREAK, " ").strip()
    return f"\n{HEADING}{level}{title}{bare}" if level else f"\n{whole}"


def _defined(match: re.Match[str]) -> str:
    """A term and its definition, which a colon divides that stands in no link, tag or address."""
    line = match[1]
    depth, quoted = 0, False
    for token in _COLON.finditer(line):
        if token[0] in {OPEN, "-{"}:
            depth += 1
        elif token[0] in {CLOSE, "}-"}:
            depth = max(depth - 1, 0)
        elif token[0].startswith("''"):
            quoted = not quoted
        elif token[0] == ":" and not depth and not quoted:
            return f"\n{line[: token.start()]}{BREAK}{line[token.end() :]}"
    return f"\n{line}"


def _tidy(text: str) -> str:
    """Text with regular white space, without marks and without empty sections."""
    for mark, character in (
        (LINK, ""),
        (OPEN, ""),
        (CLOSE, ""),
        (BREAK, "\n"),
        (BRACKET, "["),
        (COLON, ":"),
        (QUOTE, "'"),
        ("\u00a0", " "),
        ("\t", " "),
    ):
        if mark in text:
            text = text.replace(mark, character)
    while "  " in text:
        text = text.replace("  ", " ")
    if " \n" in text or "\n " in text or "\u3000" in text:
        text = "\n".join([line.strip(" \u3000") for line in text.split("\n")])
    if HEADING in text:
        text = _full_sections(text)
    text = text.replace(BARE, "")  # of a line that was no title after all
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip("\n ")


def _full_sections(text: str) -> str:
    """A page without the titles of sections with nothing below them."""
    first, *sections = text.split(HEADING)
    kept: list[str] = []
    deepest = 0
    """Level of the nearest title below; text below counts as the deepest."""
    for section in reversed(sections):
        title, _, body = section[1:].partition("\n")
        level, bare, title = (
            int(section[0]),
            BARE in title,
            title.replace(BARE, "").strip(" \u3000"),
        )
        if bare or (body and not body.isspace()):
            deepest = 9
        if deepest > level and title:
            kept.append(f"\n{title}\n\n{body}")
            deepest = level
        else:
            kept.append(body)
    kept.append(first)
    kept.reverse()
    return "".join(kept)
