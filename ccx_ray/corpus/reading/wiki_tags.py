"""Comments, extension tags and HTML tags of wikitext, by the rules of MediaWiki's preprocessor and
sanitizer.

What begins first holds: a comment in ``<nowiki>`` is text, a ``<nowiki>`` in a comment is none. A
tag that is neither HTML which MediaWiki allows nor an extension's is text. An extension's tag that
is never closed is taken out, where MediaWiki would show it, and the text behind it stays.
"""

import re
from html.entities import html5

from ccx_ray.corpus.reading.wiki_site import (
    BREAK,
    CELL,
    CLOSE,
    COMMENT,
    DROPPED,
    END_CELL,
    END_TABLE,
    KEPT,
    OPEN,
    ROW,
    TABLE,
)
from ccx_ray.corpus.reading.wiki_words import words

TEXT_TAGS = words("nowiki pre")
DROPPED_TAGS = words(
    "ref references gallery math chem ce score timeline imagemap mapframe maplink graph hiero "
    "inputbox templatestyles templatedata indicator categorytree syntaxhighlight source section "
    "style script includeonly"
)
BARE_TAGS = words("noinclude onlyinclude html langconvert languages link meta")
"""Taken out, their content is not."""
QUIET_TAGS = words("ref includeonly noinclude onlyinclude")
"""They show nothing within a sentence, so that nothing around them is broken without them."""

_INLINE = words(
    "abbr b bdi bdo big cite code data del dfn em font i ins kbd mark nobr q rb rbc rp rt rtc ruby "
    "s samp small span strike strong sub sup time tt u var wbr"
)
_BLOCKS = words("blockquote br center dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p poem pre ul")
_TABLES = {
    **{"table": TABLE, "/table": END_TABLE, "tr": ROW, "/tr": ROW},
    **dict.fromkeys(("td", "th", "caption"), CELL),
    **dict.fromkeys(("/td", "/th", "/caption"), END_CELL),
    **dict.fromkeys(words("tbody /tbody thead /thead tfoot /tfoot col colgroup /colgroup"), ""),
}
_MARKS = {
    **dict.fromkeys(_INLINE, OPEN),
    **{f"/{name}": CLOSE for name in _INLINE},
    **dict.fromkeys([*_BLOCKS, *(f"/{name}" for name in _BLOCKS)], BREAK),
    **_TABLES,
}

_REFUSED = words(
    "a applet area article aside audio base body button canvas details dialog embed fieldset "
    "figcaption figure footer form frame frameset head header hgroup iframe img input label legend "
    "main map marquee menu nav noframes noscript object optgroup option output param picture "
    "progress select slot summary svg template textarea title track video xml xmp"
)
"""HTML that MediaWiki shows as text."""

_EXTENSIONS = "|".join(sorted(TEXT_TAGS | DROPPED_TAGS | BARE_TAGS))
_BEGIN = re.compile(rf"(?i)<(?:!--|(/?)({_EXTENSIONS})(?=[\s/>])([^>]*)>)")
_END = {name: re.compile(rf"(?i)</{name}\s*>") for name in (TEXT_TAGS | DROPPED_TAGS) - BARE_TAGS}
_COMMENT_LINES = re.compile(f"\n[ \t]*{COMMENT}[ \t{COMMENT}]*(?=\n)")
_NOWIKI = re.compile(r"(?i)</?nowiki\s*>")
_TAG = re.compile(r"<(/?[A-Za-z][^\s/<>]*)([^<>]*)>")

ENTITY = re.compile(r"&(?:#([0-9]{1,20})|#[xX]([0-9a-fA-F]{1,20})|(\w{1,40}));")
_ALIASES = {"רלמ": "\u200f", "رلم": "\u200f"}


def without_extensions(text: str) -> tuple[str, list[str]]:
    """A page without comments and without the tags of extensions; the texts that stand for its
    ``KEPT`` marks."""
    if "<" not in text:
        return text, []
    pieces: list[str] = []
    kept: list[str] = []
    never_closed: set[str] = set()
    at = 0
    while begin := _BEGIN.search(text, at):
        start = begin.start()
        pieces.append(text[at:start])
        at = begin.end()
        if begin[2] is None:
            end = text.find("-->", at)
            at = len(text) if end < 0 else end + 3
            pieces.append(COMMENT)
            continue
        name, content = begin[2].lower(), ""
        if begin[1] or name in never_closed or name in BARE_TAGS:
            continue  # a tag alone is taken out
        if not begin[3].endswith("/"):
            close = _END[name].search(text, at)
            if close is None:
                never_closed.add(name)
                at = len(text) if name == "includeonly" else at
                continue
            content, at = text[at : close.start()], close.end()
        if name in TEXT_TAGS:
            pieces.append(_kept(name, content, kept))
        elif name not in QUIET_TAGS or text[start - 1 : start] in {"(", "（", "["}:
            pieces.append(DROPPED)
    pieces.append(text[at:])
    text = "".join(pieces)
    if COMMENT in text:  # those alone on a line take the line with them
        text = _COMMENT_LINES.sub("", text).replace(COMMENT, "")
    return text, kept


def _kept(name: str, content: str, kept: list[str]) -> str:
    if name == "pre":
        content = _NOWIKI.sub("", content)
    kept.append(ENTITY.sub(character, content))
    edge = BREAK if name == "pre" else ""
    return f"{edge}{KEPT}{len(kept) - 1}{KEPT}{edge}"


def marked(text: str) -> str:
    """A page with marks in place of the HTML tags that MediaWiki allows, and of those of extensions
    that only the wiki knows: any that are not HTML and stand in a pair."""
    if "<" not in text:
        return text
    unknown: set[str] = set()

    def mark(tag: re.Match[str]) -> str:
        name = tag[1].lower()
        shown = _MARKS.get(name)
        if shown is None:
            if ":" not in name:
                unknown.add(name)
            return tag[0]
        return OPEN + CLOSE if shown is OPEN and tag[2].endswith("/") else shown

    text = _TAG.sub(mark, text)
    pairs = {name for name in unknown - _REFUSED if f"/{name}" in unknown}
    if pairs:
        pairs |= {f"/{name}" for name in pairs}
        text = _TAG.sub(lambda tag: CLOSE if tag[1].lower() in pairs else tag[0], text)
    return text


def character(entity: re.Match[str]) -> str:
    """The character of a reference; the reference itself where MediaWiki knows none."""
    decimal, hexadecimal, name = entity.groups()
    if name:
        return html5.get(f"{name};") or _ALIASES.get(name) or entity[0]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    if (
        code in {0x09, 0x0A}
        or 0x20 <= code <= 0x7E
        or 0xA0 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or 0x10000 <= code <= 0x10FFFF
    ):
        return "" if code & 0xFFFE == 0xFFFE else chr(code)  # no characters
    return entity[0]
