"""Wikitext to plain text: what a reader of the page sees as prose, and nothing else.

Kept: paragraphs, section titles, list items, quotations, the words of links. Dropped: templates,
tables, references, files and images with their captions, categories, interlanguage links,
galleries, formulas, code, comments, behaviour switches (``__TOC__``), and titles of sections that
are empty without those. Of the variants in ``-{zh-hans:..;zh-hant:..}-`` the first in ``VARIANTS``
stands.

``parse_wikitext`` renders with mwparserfromhell. ``wikitext_shortcuts`` does the same to the common
constructs an order of magnitude faster and hands the rest to it; tests compare the two.
"""

import html
import re
from collections.abc import Iterable
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
_VERBATIM = r"<(?P<tag>nowiki|pre|syntaxhighlight|source|math)\b[^<>]*>.*?</(?P=tag)\s*>"
_COMMENT = re.compile(
    rf"(?is)({_VERBATIM})|(?:(?<=\n)|\A)[ \t]*<!--(?:(?!-->).)*-->[ \t]*\n|<!--.*?(?:-->|\Z)"
)
_VARIANT = re.compile(r"-\{([^{}]*)\}-")
_SWITCH = re.compile(r"__[^\W\d_]+__")
_SPACES = re.compile("  +")
# Each of these begins with a bracket, of which there are few; spaces before it would be tried all.
_EMPTY_BRACKETS = re.compile(r"\([\s,;:、，；：/]*\)|（[\s,;:、，；：/]*）|\[\s*\]")
_OPENING = re.compile(r"([(（])[ \u00a0,;、，；]+")
_CLOSING = re.compile(r"([)）])")


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


def without_comments(text: str) -> str:
    """The text without its comments; one alone on its line takes the line with it."""
    if "<!--" not in text:
        return text
    return _COMMENT.sub(lambda match: match.group(1) or "", text)


def parse_wikitext(text: str, site: Site) -> str:
    """Render wikitext without comments, headings marked, white space as it falls.

    Raises:
        mwparserfromhell.parser.ParserError: a defect of the parser.
    """
    import mwparserfromhell

    pieces: list[str] = []
    _render(mwparserfromhell.parse(text), site, pieces)
    return "".join(pieces)


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
    return "\n".join(_paragraphs(_full_sections(lines)))


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


def _paragraphs(lines: Iterable[str]) -> Iterable[str]:
    """At most one empty line in a row, none at the ends."""
    begun, gap = False, False
    for line in lines:
        if line:
            if gap and begun:
                yield ""
            yield line
            begun, gap = True, False
        else:
            gap = True


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
