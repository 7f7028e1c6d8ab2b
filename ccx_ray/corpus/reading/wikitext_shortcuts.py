"""Wikitext to plain text at the speed of regular expressions where its constructs are plain.

mwparserfromhell builds a tree of all of a page, its references, templates and tables included, only
for them to be dropped: 1.4 MB/s on articles with the usual markup, with ``strip_code``. Here
dropped text goes first and plain constructs are rendered by expressions; a line with anything else
goes to the parser, and a page whose odd lines do not balance goes there whole: 17 MB/s. Invariant:
on well-formed wikitext both ways give the same text.
"""

import re

from ccx_ray.corpus.reading.wikitext import (
    BLOCK_TAGS,
    DROPPED_TAGS,
    HEADING,
    INLINE_TAGS,
    TAG,
    Site,
    entity,
    parse_wikitext,
    tidy,
    without_comments,
)


def _names(tags: frozenset[str]) -> str:
    return "|".join(sorted(tags, key=lambda tag: (-len(tag), tag)))


# Their content is no wikitext, so nothing in it may be taken for a construct.
_VERBATIM = re.compile(r"(?i)<(?:nowiki|pre|syntaxhighlight|source)\b")
_DROPPED = re.compile(
    rf"(?i)<({_names(DROPPED_TAGS)})\b(?:[^<>]*/>|[^<>]*>[^<]*(?:<(?!/?\1\b)[^<]*)*</\1\s*>)"
)
# Beginning with a literal, these are searched for ten times as fast as with a look behind first.
_ARGUMENT = re.compile(r"\{\{\{(?<!\{\{\{\{)[^{}]*\}\}\}(?!\})")
_TEMPLATE = re.compile(r"\{\{(?<!\{\{\{)(?!\{)[^{}]*\}\}")
_TABLE_LINE = re.compile(r"[ \t:]*(?:(\{\|)|\|\}(?!\}))")
_BREAK_TAG = re.compile(rf"(?i)<(?:br|hr)\b[^<>]*>|</?(?:{_names(BLOCK_TAGS)})\b[^<>]*>")
_INLINE_TAG = re.compile(rf"(?i)</?(?:{_names(INLINE_TAGS)})\b[^<>]*>")

_ODD = re.compile(r"[\[\]{}<>&]|''|^[=*#:;]|^----")
_LINK = re.compile(r"\[\[([^\[\]{}|<>\n]+)(?:\|([^\[\]{}<>\n]*))?\]\]")
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:)?//[^\s\[\]<>\"{}|']+(?: +([^\[\]\n]*))?\]")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")
_HEADING = re.compile(r"(={1,6})([^=].*?)\1[ \t]*\Z")
_LIST = re.compile(r"[*#:;]+[ \t]*")
_QUOTES = re.compile(r"''+")
_BALANCED_QUOTES = re.compile(r"(?:22|33|55|3(?:22)+3|2(?:33)+2)*\Z")
_LEFT = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{\||<[A-Za-z/!]|\[(?:https?:|ftp:|mailto:)?//")
_TAG = re.compile(r"<(/)?(?!(?:br|hr|li|p|dd|dt)\b)[A-Za-z][^<>]*(?<!/)>")
_BRACKETS = re.compile(r"\[\[|\]\]|\{\{|\}\}|<(/?)[A-Za-z][^<>]*?(/?)>")


MOST_UNCLOSED = 1000
"""The parser takes 0.3 s for so many templates that are never closed, and 2.1 s for twice as many;
an article has a handful."""


class UnbalancedError(ValueError):
    """A page opens so much without closing it that it would take the parser minutes."""


def clean_wikitext(text: str, site: Site = Site(), *, shortcuts: bool = True) -> str:  # noqa: B008
    """The plain text of a page; see ``wikitext`` for what stays.

    Args:
        shortcuts: False renders everything with mwparserfromhell.

    Raises:
        UnbalancedError: too much is opened and never closed.
        mwparserfromhell.parser.ParserError: a defect of the parser.
    """
    text = without_comments(text)
    if not shortcuts or _VERBATIM.search(text):
        return tidy(_parsed(text, site))
    text = _without_blocks(text)
    lines = []
    for line in text.split("\n"):
        if _ODD.search(line):
            plain = _plain(line, site)
            if plain is None:
                if not _is_balanced(line):
                    return tidy(_parsed(text, site).replace(TAG, ""))
                plain = _parsed(line, site)
            lines.append(plain)
        else:
            lines.append(line)
    return tidy("\n".join(lines).replace(TAG, ""))


def _parsed(text: str, site: Site) -> str:
    """A whole page by the parser, whose time grows with the square of what is never closed."""
    tags = sum(1 if match[1] is None else -1 for match in _TAG.finditer(text))
    brackets = text.count("[") - text.count("]"), text.count("{") - text.count("}")
    if max(tags, *brackets) > MOST_UNCLOSED:
        raise UnbalancedError
    return parse_wikitext(text, site)


def _without_blocks(text: str) -> str:
    """Without what spans lines and is dropped; line breaks where blocks begin and end."""
    if "<" in text:
        before = None
        while before != text:  # the innermost of nested ones first
            before, text = text, _DROPPED.sub("", text)
    if "{{" in text:
        if "{{{" in text:
            text = _ARGUMENT.sub("", text)
        before = None
        while before != text:
            before, text = text, _TEMPLATE.sub("", text)
    if "{|" in text:
        text = _without_tables(text)
    if "<" in text:
        text = _INLINE_TAG.sub(TAG, _BREAK_TAG.sub("\n", text))
    return text


def _without_tables(text: str) -> str:
    """Without its tables; the text itself where one is not closed."""
    kept, depth = [], 0
    for line in text.split("\n"):
        edge = _TABLE_LINE.match(line)
        if edge and edge.group(1):
            depth += 1
        elif edge and depth:
            depth -= 1
            if not depth:
                kept.append(line[edge.end() :])
        elif not depth:
            kept.append(line)
    return text if depth else "\n".join(kept)


def _plain(line: str, site: Site) -> str | None:
    """A line rendered by expressions; None where it holds what they do not cover."""
    # What a line begins with is told before a link's words can stand there.
    is_heading, is_rule = line.startswith("="), line.startswith("----")
    begins = _LIST.match(line)
    if begins:
        line = line[begins.end() :]
    if "[" in line:
        if "[[" in line:
            before = None
            while before != line:  # captions hold links
                before = line
                line = _LINK.sub(lambda match: site.link_text(match[1], match[2]), line)
        line = _EXTERNAL.sub(lambda match: match[1] or "", line)
    if _LEFT.search(line) or (begins and ";" in begins[0] and ":" in line):
        return None
    if "''" in line:
        runs = "".join(str(len(run)) for run in _QUOTES.findall(line))
        if not _BALANCED_QUOTES.match(runs):
            return None
        line = _QUOTES.sub("", line)
    if is_heading:
        heading = _HEADING.match(line)
        if not heading:
            return None
        line = f"{HEADING}{len(heading[1])}{heading[2].strip()}"
    elif is_rule:
        line = line.lstrip("-")
    if "&" in line:
        line = _ENTITY.sub(lambda match: entity(match[0]), line)
    return line


def _is_balanced(line: str) -> bool:
    """Whether every construct that begins on a line seems to end there."""
    links = templates = tags = 0
    for match in _BRACKETS.finditer(line):
        token = match[0]
        if token == "[[":
            links += 1
        elif token == "]]":
            links -= 1
        elif token == "{{":
            templates += 1
        elif token == "}}":
            templates -= 1
        elif not match[2]:
            tags += -1 if match[1] else 1
    return not (links or templates or tags) and "{|" not in line
