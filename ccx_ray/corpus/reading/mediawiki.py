"""MediaWiki XML dumps (``pages-articles``), plain, gzip or (multistream) bz2.

Pages are found by their tags, which an export never holds inside a page (text is escaped there),
and each is parsed by itself. So a page with broken XML costs that page, a dump can be begun in its
middle, and a shard is a range of bytes of the file: a page belongs to the shard in which it begins.
In a multistream bz2 the first stream of a range is found by its first ten bytes, so neither the
index file nor a pass over the dump is needed.
"""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from ccx_ray.corpus.reading.lines import TextStream, compression_of, shown
from ccx_ray.corpus.reading.record import SHOWN_CHARACTERS, Fault, Fields, Reason, Record, Shard
from ccx_ray.corpus.reading.wiki_site import Site
from ccx_ray.corpus.reading.wiki_templates import WORD_TEMPLATES
from ccx_ray.corpus.reading.wiki_words import (
    CANONICAL_NAMESPACES,
    FILE_ALIASES,
    FILE_WORDS,
    REDIRECTS,
    words,
)
from ccx_ray.corpus.reading.wikitext import clean_wikitext
from ccx_ray.storage.input_files import InputFile
from ccx_ray.study.text_spec import SourceSpec

OPEN, CLOSE = b"<page>", b"</page>"
STREAM_MAGIC = re.compile(rb"BZh[1-9]1AY&SY")
HEAD = 2**20
"""Within so many bytes a dump has said what wiki it is of."""
DROPPED_NAMESPACES = frozenset(["6", "14"])
"""File, Category."""
KEPT = 16
"""Bytes that any tag which is looked for has at most."""
GLIMPSE = 200
"""Characters of a page that is no article which are kept; there are more of them than articles."""
_REDIRECT = re.compile(r"\s*[#＃](?:redirect\b|(\S+?)[\s:：]*\[\[)", re.IGNORECASE)
_TITLE = re.compile(r"\{\{\s*(?:FULL|BASE|SUB)?PAGENAME\s*\}\}")
_LANGUAGE = re.compile(rb"<mediawiki\b[^>]*\bxml:lang=[\"']([A-Za-z-]+)")
_DATABASE = re.compile(r"([a-z]{2,3}(?:_[a-z_]+)?)wik[a-z]+\Z")


def read_site(file: InputFile, source: SourceSpec) -> Site:
    """What the head of a dump says of its wiki, and what the study file adds."""
    head = b""
    for block in TextStream(file):
        head += block
        if len(head) >= HEAD or b"</siteinfo>" in head:
            break
    added = {name.lower(): shown for name, shown in (source.word_templates or {}).items()}
    site = Site(file.name, templates=WORD_TEMPLATES | added)
    spoken = _LANGUAGE.search(head)
    if spoken:
        site = site._replace(language=spoken[1].decode().lower())
    found = re.search(rb"<siteinfo>.*?</siteinfo>", head, re.DOTALL)
    if not found:
        return site
    try:
        info = ElementTree.fromstring(found[0])
    except ElementTree.ParseError:
        return site
    names = {
        (namespace.text or "").lower(): namespace.get("key") in DROPPED_NAMESPACES
        for namespace in info.iter("namespace")
        if namespace.text
    }
    database = _DATABASE.match(info.findtext("dbname") or "")
    language = site.language or (database[1].replace("_", "-") if database else "")
    return site._replace(
        name=info.findtext("dbname") or info.findtext("sitename") or file.name,
        dropped=FILE_WORDS
        | words(FILE_ALIASES.get(language, ""))
        | {name for name, is_dropped in names.items() if is_dropped},
        namespaces=CANONICAL_NAMESPACES | names.keys(),
        language=language,
    )


def read_mediawiki(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The articles of a shard in order, as plain text; redirects and other pages as faults."""
    site = read_site(shard.file, source)
    for position, (page, fault) in enumerate(_pages(shard, record_bytes), 1):
        if fault:
            yield Fault("", position, fault, shown(page), fault in Reason.BREAKS)
        else:
            yield _article(page, position, site)


def _article(page: bytes, position: int, site: Site) -> Record | Fault:
    try:
        tree = ElementTree.fromstring(page)
    except ElementTree.ParseError:
        try:
            page.decode("utf-8")
        except UnicodeDecodeError:
            return Fault("", position, Reason.NOT_UTF8, shown(page))
        return Fault("", position, Reason.MALFORMED, shown(page))
    name, title = tree.findtext("id") or "", tree.findtext("title") or ""
    revisions = tree.findall("revision")
    newest = revisions[-1] if revisions else ElementTree.Element("revision")
    holder = newest.find("text")
    text = None if holder is None or holder.get("deleted") else holder.text or ""
    reason = _reason(tree, newest, text or "", site)
    if reason or text is None:
        glimpse = f"{title}\n{(text or '')[:GLIMPSE]}"
        return Fault(name, position, reason or Reason.NULL_TEXT, glimpse)
    if "{{" in text and "PAGENAME" in text:
        text = _TITLE.sub(lambda _: title, text)
    plain = clean_wikitext(text, site)
    if not plain:
        return Fault(name, position, Reason.BLANK_TEXT, f"{title}\n{text}"[:SHOWN_CHARACTERS])
    return Record(name, f"{site.name}: {title}", position, (plain,))


def _reason(page: ElementTree.Element, newest: ElementTree.Element, text: str, site: Site) -> str:
    """Why a page is no article; empty where it is one."""
    if not page.findtext("id"):
        return Reason.NO_ID
    namespace = page.findtext("ns")
    if namespace is None:  # in exports before version 0.6
        prefix, colon, _ = page.findtext("title", "").lower().partition(":")
        namespace = "1" if colon and prefix in site.namespaces else "0"
    if namespace != "0" or newest.findtext("model", "wikitext") != "wikitext":
        return Reason.NOT_AN_ARTICLE
    if page.find("redirect") is not None or _is_redirect(text):
        return Reason.REDIRECT
    return ""


def _is_redirect(text: str) -> bool:
    """Whether a page begins with a word for a redirect, in whatever language."""
    found = _REDIRECT.match(text)
    return found is not None and (found[1] is None or found[1].lower() in REDIRECTS)


def _pages(shard: Shard, record_bytes: int) -> Iterator[tuple[bytes, str]]:
    """The XML of every page that begins in a shard, and what is wrong with it, if anything."""
    scan = _Scan(shard)
    if not scan.found:
        return
    while scan.seek_page():
        page, whole = scan.take_page(record_bytes)
        if whole and len(page) <= record_bytes:
            yield page, ""
        elif whole:
            yield page[: 4 * SHOWN_CHARACTERS], Reason.TOO_LONG
        else:
            yield page[: 4 * SHOWN_CHARACTERS], scan.stream.broken or Reason.TRUNCATED
            return
    if scan.past:
        return
    if scan.empty and not shard.start and not scan.stream.broken:
        yield b"", Reason.EMPTY_FILE
    elif scan.stream.broken or b"</mediawiki>" not in scan.window:
        yield scan.window, scan.stream.broken or Reason.TRUNCATED


class _Scan:
    """A window that slides over the bytes of a dump."""

    def __init__(self, shard: Shard) -> None:
        self._is_plain = compression_of(shard.file) is None
        start: int | None = shard.start
        if shard.start and not self._is_plain:
            start = _next_stream(shard)
        self.found = start is not None
        """Whether anything begins in the shard."""
        self.stream = TextStream(shard.file, start or 0)
        self._blocks: Any = iter(self.stream)
        self._stop = shard.stop
        self.window = b""
        """The last bytes of the file, at its end."""
        self._at = 0
        self._limit: int | None = None
        """Where in the window, perhaps behind it, the pages of the next shard begin."""
        self.past = False
        """The next shard goes on from here."""
        self.empty = True

    def seek_page(self) -> bool:
        """Go to the next page; False at the end of the file or of the shard."""
        while True:
            place = self.window.find(OPEN, self._at)
            # Without a page within the window, so much behind the limit that none can begin there.
            reached = place if place >= 0 else len(self.window) - KEPT
            if self._limit is not None and reached >= self._limit:
                self.past = True
                return False
            if place >= 0:
                self._at = place
                return True
            self._at = max(self._at, len(self.window) - KEPT)
            if not self._more():
                return False

    def take_page(self, record_bytes: int) -> tuple[bytes, bool]:
        """What stands from here to the end of the page, and whether it comes to an end.

        Of more than ``record_bytes`` the beginning and one byte more than they.
        """
        begin, searched = self._at, self._at
        head = b""
        while True:
            place = self.window.find(CLOSE, searched)
            if place >= 0:
                self._at = place + len(CLOSE)
                return head or self.window[begin : self._at], True
            searched = max(begin, len(self.window) - len(CLOSE) + 1)
            if not head and len(self.window) - begin > record_bytes:
                head = self.window[begin : begin + record_bytes + 1]
            self._at = searched if head else begin
            before = self._at
            if not self._more():
                return head or self.window[self._at :], False
            moved = before - self._at
            begin, searched = begin - moved, searched - moved

    def _more(self) -> bool:
        """Append the next block and forget what lies before ``_at``."""
        block = next(self._blocks, None)
        if block is None:
            return False
        self.empty = False
        kept = self.window[self._at :]
        if self._limit is not None:
            self._limit -= self._at
        elif self._stop is not None:
            inside = self._stop - self.stream.member
            if not self._is_plain:  # a stream belongs to the shard in which it begins
                inside = len(block) if inside > 0 else 0
            if inside < len(block):
                self._limit = len(kept) + max(inside, 0)
        self.window, self._at = kept + block, 0
        return True


def _next_stream(shard: Shard) -> int | None:
    """Where in a bz2 file the first stream begins at or behind the start of a shard and before its
    stop."""
    with shard.file.open() as raw:
        raw.seek(shard.start)
        offset, window = shard.start, b""
        while block := raw.read(2**20):
            window += block
            found = STREAM_MAGIC.search(window)
            if found:
                place = offset + found.start()
                return place if shard.stop is None or place < shard.stop else None
            if shard.stop is not None and offset >= shard.stop:
                return None
            offset += max(len(window) - 9, 0)
            window = window[-9:]
    return None
