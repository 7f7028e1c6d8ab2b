"""Links of wikitext and the words that they show, by the rules of MediaWiki's parser.

A page is divided at ``[[``, and a piece that is no link stays as it is, brackets and all: with a
title that MediaWiki refuses, without its end, or with another link in its label. Only a file's
caption may hold links.
"""

import re
from itertools import count
from urllib.parse import quote, unquote

from ccx_ray.corpus.reading.wiki_quotes import unquoted
from ccx_ray.corpus.reading.wiki_site import BRACKET, COLON, DROPPED, LINK, QUOTE, Site
from ccx_ray.corpus.reading.wiki_tags import ENTITY, character
from ccx_ray.corpus.reading.wiki_words import LANGUAGES

PROTOCOL = (
    r"(?:bitcoin:|ftps?://|geo:|git://|gopher://|https?://|ircs?://|magnet:|mailto:|matrix:|mms://|"
    r"news:|nntp://|redis://|sftp://|sips?:|sms:|ssh://|svn://|tel:|telnet://|urn:|wikipedia://|"
    r"worldwind://|"
    r"xmpp:)"
)
ADDRESS = r"(?:\[[0-9A-Fa-f:.]+\])?(?:[^\[\]<>\"\x00-\x20\x7f\s']|'(?!'))++"
_EXTERNAL = re.compile(rf"(?i)\[(?:{PROTOCOL}|//){ADDRESS}[^\S\n]*+([^\]\n]{{0,500}})\]")
"""With a limit, so that many that never end do not take long."""
_FREE = re.compile(r"[A-Za-z]+://[^\s<>\"]*&[^\s<>\"]*")
_URL = re.compile(rf"(?i){PROTOCOL}|//")

_TITLE = re.compile(r"[^\[\]{}|\n\x02-\x1f]+\Z")
_PLAIN = re.compile(
    r"\[\[(?<!\[\[\[)([^\[\]{}|<>\x00-\x20:%&~/.][^\[\]{}|<>\x00-\x1f:%&~/]{0,80})"
    r"(?:\|([^\[\]|{}\x00-\x20:'][^\[\]|{}\x00-\x1f:']*))?\]\](?!\])"
)
"""Most links: nothing in them asks for a second look."""
_ODD_TITLE = re.compile(r"[:%&<>\x01]|~~~|//|\A\s*\.|/\.|\A\s*\Z|.{80}", re.DOTALL)
_INVISIBLE = re.compile("[\u200e\u200f\u202a-\u202e]")
_SPACES = re.compile(r"[\s_\u180e]+")
_REFUSED = re.compile(
    r"[<>\[\]{}|\x00-\x1f\x7f\ufffd]|%[0-9A-Fa-f]{2}|&(?:\w+|#\d+|#[xX][0-9A-Fa-f]+);|~~~"
    r"|(?:\A|/)\.\.?(?:/|\Z)"
)
_MOST_BYTES = 255
"""Of a title."""
_IMAGE_OPTION = re.compile(
    r"\s*(?:thumb|thumbnail|frame|frameless|left|right|center|none|upright|border|\d*x?\d+px|"
    r"섬네일|썸네일|缩略图|縮圖|缩略圖|サムネイル|миниатюра|мини|mini|vignette|miniatura|miniatur)"
    r"\s*(?:=[^|]*)?\|"
)


def linked(text: str, site: Site) -> str:
    """A page with the words of its links in their place."""
    first, *pieces = _PLAIN.sub(_plain, text).split("[[")
    shown = [first]
    number = 0
    while number < len(pieces):
        piece = pieces[number]
        number += 1
        end = piece.find("]]")
        title, bar, label = (piece if end < 0 else piece[:end]).partition("|")
        rest = piece[end + 2 :]
        is_file = bool(bar) and _is_file(title, site)
        words: str | None = None
        if not _TITLE.match(title):
            pass
        elif end < 0:
            ahead = _end_of_caption(pieces, number) if is_file else None
            if ahead:
                words, (number, rest) = "", ahead
        elif label or not bar:
            if rest[:1] == "]" and "[" in label:
                label, rest = f"{label}]", rest[1:]
            if is_file:
                words = ""
            elif LINK not in label:
                words = _words(title, label if bar else None, site)
        if words is None:
            shown.append(f"[[{piece}")
        elif words:
            shown += (LINK, words.replace("[", BRACKET).replace(":", COLON), rest)
        else:
            shown.append(rest)
    return "".join(shown)


def _plain(link: re.Match[str]) -> str:
    words = link[2] or link[1]
    return LINK + (words.replace("'", QUOTE) if "''" in words else words)


def _end_of_caption(pieces: list[str], number: int) -> tuple[int, str] | None:
    """The number of the piece behind a file whose caption holds links, and what follows the file;
    None where it does not end."""
    for ahead in range(number, len(pieces)):
        parts = pieces[ahead].split("]]", 2)
        if len(parts) == 3:
            rest = parts[2]
            return ahead + 1, rest[1:] if rest[:1] == "]" and "[" in parts[1] else rest
        if len(parts) == 1:
            return None
    return None


def _is_file(title: str, site: Site) -> bool:
    prefix, colon, _ = title.partition(":")
    return bool(colon) and _normal(prefix) in site.dropped


def _normal(prefix: str) -> str:
    return _SPACES.sub(" ", _INVISIBLE.sub("", prefix)).strip().lower()


def _words(title: str, label: str | None, site: Site) -> str | None:
    """What a link shows; None where it is none."""
    if label is not None:
        if not label.strip(f" {DROPPED}"):
            label = None  # of a template, say; better the title than a hole in the sentence
        elif "|" in label and _IMAGE_OPTION.match(label):
            return ""
        elif "''" in label:
            label = unquoted(label)
    words = _words_of_title(title, label, site) if _ODD_TITLE.search(title) else label or title
    return words if label or not words else words.replace("'", QUOTE)


def _words_of_title(title: str, label: str | None, site: Site) -> str | None:
    title = title.replace(DROPPED, "")
    if "%" in title:
        title = unquote(title)
    target = _SPACES.sub(" ", _INVISIBLE.sub("", ENTITY.sub(character, title))).strip()
    by_name = target.startswith(":")
    if by_name:
        target = target[1:].lstrip()
        title = title.lstrip()[1:]
    page, has_section, _ = target.partition("#")
    prefix, colon, name = page.partition(":")
    prefix = prefix.strip().lower()
    if _URL.match(target) or _REFUSED.search(page) or len(page.encode()) > _MOST_BYTES:
        return None
    of_language = prefix in LANGUAGES and prefix != site.language  # its own leads to a page of it
    if colon and not by_name and (prefix in site.dropped or of_language):
        return ""
    if has_section or (name.strip() if colon and prefix in site.namespaces else page):
        return label or title
    return label


def characters(line: str) -> str:
    """A line with its character references resolved: in an address without those that are
    invisible, and those that would end it escaped."""
    if "://" in line:
        line = _FREE.sub(lambda address: ENTITY.sub(_of_address, address[0]), line)
    return ENTITY.sub(character, line)


def _of_address(reference: re.Match[str]) -> str:
    shown = character(reference)
    if shown in {"\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"}:
        return ""
    return quote(shown) if shown in {"|", "[", "]", '"'} else reference[0]


def without_addresses(text: str) -> str:
    """A page with the words of its links to other places.

    One without words has a number, as on the page itself; but not behind a word, where it is a
    reference, and not alone in a list.
    """
    numbers = count(1)

    def shown(link: re.Match[str]) -> str:
        words = link[1]
        if not words:
            return _numbered(link, next(numbers))
        return f"{LINK}{words.replace(':', COLON)}"

    return _EXTERNAL.sub(shown, text)


def _numbered(link: re.Match[str], number: int) -> str:
    text, start, end = link.string, link.start(), link.end()
    before = text[text.rfind("\n", 0, start) + 1 : start]
    if before and not before.strip("*#:; ") and text[end : end + 1] in {"", "\n"}:
        return DROPPED
    return f"[{number}]" if not before or before[-1] in " \t\u00a0([（" else ""
