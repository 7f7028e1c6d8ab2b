"""Wikitext to plain text: what a reader of the page sees as prose, and nothing else.

Kept: paragraphs, section titles, list items, quotations, the words of links. Dropped: templates,
tables, references, files and images with their captions, categories, interlanguage links,
galleries, formulas, code, comments, behaviour switches (``__TOC__``), and titles of sections that
are empty without those. Of the variants in ``-{zh-hans:..;zh-hant:..}-`` the first in ``VARIANTS``
stands.

mwparserfromhell builds a tree of all of a page, its references, templates and tables included, only
for them to be dropped: 1.4 MB/s on articles with the usual markup, with ``strip_code``. So dropped
text goes first and plain constructs are rendered by regular expressions; a line with anything else
goes to the parser, and a page whose odd lines do not balance goes there whole: 17 MB/s. Invariant:
on well-formed wikitext both ways give the same text.
"""

import html
import re
from typing import Any, NamedTuple


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


DROPPED_TAGS = _words(
    "ref references gallery math chem ce score timeline imagemap mapframe maplink graph hiero "
    "inputbox templatestyles templatedata indicator categorytree syntaxhighlight source table "
    "style script includeonly section"
)
INLINE_TAGS = _words(
    "small big sub sup b i u s em strong span font abbr cite q var kbd code tt bdi bdo ins del "
    "strike mark dfn samp time ruby rb rt rp wbr nobr"
)
BLOCK_TAGS = _words(
    "div blockquote center p poem ul ol dl li dd dt h1 h2 h3 h4 h5 h6 noinclude onlyinclude"
)
BREAKS = frozenset(["br", "hr"])
VARIANTS = ("zh-hans", "zh-cn", "zh-my", "zh-sg", "zh")

FILE_WORDS = _words(
    "file image media category 파일 그림 분류 文件 檔案 档案 图像 圖像 图片 圖片 分类 分類 "
    "файл зураг ангилал"
)
"""Namespaces whose links are no prose, beside those that a dump names; it leaves out aliases."""

HEADING = "\x02"
"""Stands with the level before a section's title until empty sections are known; XML cannot hold
it."""
TAG = "\x03"
"""Stands for a tag until lists and headings are known: behind one, a line does not begin."""

_INTERLANGUAGE = re.compile(r"(?:[a-z]{2,3}(?:-[a-z]{2,})*|simple)\Z")
_IMAGE_OPTION = re.compile(
    r"\s*(?:thumb|thumbnail|frame|frameless|left|right|center|none|upright|border|\d*x?\d+px|"
    r"섬네일|썸네일|缩略图|縮圖|缩略圖)\s*(?:=[^|]*)?\|"
)
_VERBATIM_TEXT = r"<(?P<tag>nowiki|pre|syntaxhighlight|source|math)\b[^<>]*>.*?</(?P=tag)\s*>"
_COMMENT = re.compile(
    rf"(?is)({_VERBATIM_TEXT})|(?:(?<=\n)|\A)[ \t]*<!--(?:(?!-->).)*-->[ \t]*\n|<!--.*?(?:-->|\Z)"
)
_VARIANT = re.compile(r"-\{([^{}]*)\}-")
_SWITCH = re.compile(r"__[^\W\d_]+__")
_SPACES = re.compile("  +")
_GAPS = re.compile("\n{3,}")
# Each of these begins with a bracket, of which there are few; spaces before it would be tried all.
_EMPTY_BRACKETS = re.compile(r"\([\s,;:、，；：/]*\)|（[\s,;:、，；：/]*）|\[\s*\]")
_OPENING = re.compile(r"([(（])[ \u00a0,;、，；]+")
_CLOSING = re.compile(r"([)）])")


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


class Site(NamedTuple):
    """What a dump says of the wiki that it comes from."""

    name: str = ""
    """Its database, such as ``kowiki``; else its title."""
    dropped: frozenset[str] = FILE_WORDS
    """Prefixes, in lower case, of links that are no prose."""

    def link_text(self, title: str, label: str | None) -> str:
        """What a link shows."""
        title = title.strip()
        if label is not None and not label.strip(f" {TAG}"):
            label = None  # of a template, say; better the title than a hole in the sentence
        if title.startswith(":"):
            return label or title[1:]
        prefix, colon, _ = title.partition(":")
        if colon:
            prefix = prefix.strip().lower()
            if prefix in self.dropped or _INTERLANGUAGE.match(prefix):
                return ""
        if label is not None and "|" in label and _IMAGE_OPTION.match(label):
            return ""
        return label or title


class UnbalancedError(ValueError):
    """A page opens so much without closing it that it would take the parser minutes."""


def clean_wikitext(text: str, site: Site = Site(), *, shortcuts: bool = True) -> str:  # noqa: B008
    """The plain text of a page.

    Args:
        shortcuts: False renders everything with mwparserfromhell.

    Raises:
        UnbalancedError: too much is opened and never closed.
        mwparserfromhell.parser.ParserError: a defect of the parser.
    """
    if "<!--" in text:  # one alone on its line takes the line with it
        text = _COMMENT.sub(lambda match: match.group(1) or "", text)
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
    """Text by the parser, whose time grows with the square of what is never closed: headings
    marked, white space as it falls."""
    import mwparserfromhell

    tags = sum(1 if match[1] is None else -1 for match in _TAG.finditer(text))
    brackets = text.count("[") - text.count("]"), text.count("{") - text.count("}")
    if max(tags, *brackets) > MOST_UNCLOSED:
        raise UnbalancedError
    return _rendered(mwparserfromhell.parse(text), site)


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


def _render(code: Any, site: Site, pieces: list[str]) -> None:
    from mwparserfromhell import nodes

    for node in code.nodes:
        kind = type(node)
        if kind is nodes.Text:
            pieces.append(node.value)
        elif kind is nodes.Wikilink:
            label = None if node.text is None else _rendered(node.text, site)
            pieces.append(site.link_text(_rendered(node.title, site), label))
        elif kind is nodes.Tag:
            _render_tag(node, site, pieces)
        elif kind is nodes.Heading:
            title = _rendered(node.title, site).strip()
            pieces.append(f"{HEADING}{node.level}{title}")
        elif kind is nodes.ExternalLink:
            if node.title is not None:
                pieces.append(_rendered(node.title, site))
            elif not node.brackets:
                pieces.append(str(node.url))
        elif kind is nodes.HTMLEntity:
            pieces.append(entity(str(node)))
        # Template, Argument and Comment are no prose.


def _rendered(code: Any, site: Site) -> str:
    pieces: list[str] = []
    _render(code, site, pieces)
    return "".join(pieces)


def _render_tag(node: Any, site: Site, pieces: list[str]) -> None:
    name = str(node.tag).strip().lower()
    if name in DROPPED_TAGS:
        return
    markup = node.wiki_markup
    if markup and markup[0] in "*#:;":
        if pieces and pieces[-1] and not pieces[-1].endswith("\n"):
            pieces.append("\n")
        return
    if name in BREAKS:
        pieces.append("\n")
        return
    block = "\n" if name in BLOCK_TAGS else ""
    pieces.append(block)
    if node.contents is not None:
        _render(node.contents, site, pieces)
    pieces.append(block)


def entity(text: str) -> str:
    """The character of an HTML entity; the entity itself where there is no such character."""
    character = html.unescape(text)
    return text if "\ud800" <= character <= "\udfff" else character


def tidy(text: str) -> str:
    """Rendered text with regular white space, without empty brackets and empty sections."""
    if "-{" in text:
        text = _VARIANT.sub(_variant, text)
    if "__" in text:
        text = _SWITCH.sub("", text)
    if "(" in text or "（" in text or "[" in text:
        text = _EMPTY_BRACKETS.sub(TAG, text).replace(f" {TAG}", "").replace(TAG, "")
        text = _OPENING.sub(r"\1", text)
        pieces = _CLOSING.split(text)
        text = "".join(
            piece.rstrip(" \u00a0,;、，；") if place < len(pieces) - 1 else piece
            for place, piece in enumerate(pieces)
        )
    text = text.replace("\u00a0", " ").replace("\t", " ")
    if "  " in text:
        text = _SPACES.sub(" ", text)
    lines = [line.strip(" \u3000") for line in text.split("\n")]
    return _GAPS.sub("\n\n", "\n".join(_full_sections(lines))).strip("\n")


def _full_sections(lines: list[str]) -> list[str]:
    """The lines, titles of sections with nothing below them left out."""
    kept: list[str] = []
    deepest = 0
    """Level of the nearest title below; text below counts as the deepest."""
    for line in reversed(lines):
        if line.startswith(HEADING):
            level, title = int(line[1]), line[2:].strip(" ")
            if deepest > level and title:
                kept += ["", title, ""]
                deepest = level
        else:
            if line:
                deepest = 9
            kept.append(line)
    kept.reverse()
    return kept


def _variant(match: re.Match[str]) -> str:
    content = match.group(1)
    flags, bar, rest = content.partition("|")
    if bar and re.fullmatch(r"[A-Z;\-a-z]*", flags.replace(" ", "")):
        if flags.strip() in {"T", "H", "-"}:  # of the page's title, or for later use
            return ""
        content = rest
    rules: dict[str, str] = {}
    for rule in content.split(";"):
        code, colon, words = rule.rpartition("=>")[2].partition(":")
        if colon:
            rules[code.strip().lower()] = words.strip()
    if not rules or not all(re.fullmatch(r"[a-z-]{2,12}", code) for code in rules):
        return content
    return next((rules[code] for code in VARIANTS if code in rules), next(iter(rules.values())))
