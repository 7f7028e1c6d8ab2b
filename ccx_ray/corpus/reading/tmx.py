"""TMX, the exchange format of translation memories, as a stream of its translation units.

Languages are matched by their primary subtag, whatever the case (``ko`` finds ``KO-kr``), unless
the source names one with a subtag (``zh-TW``). Of several variants in one language the first
counts. Text is what stands in ``seg``, ``hi`` and ``g``; the codes of the tool that wrote it
(``bpt``, ``ept``, ``it``, ``ph``, ``ut``, ``x``, ``bx``, ``ex`` and what stands in them) are left
out, and the line breaks of others' XML (``br``, ``lb``). Where one stood that is no half of a
formatting pair, a blank keeps the words beside it apart.

A file is decoded here, by its byte order mark or the encoding that it declares, because expat knows
none of more than a byte a character but UTF-8 and UTF-16. Entities that no DTD at hand declares are
those of HTML, or stay as they are written, as an ampersand does that begins nothing. Bytes that the
encoding does not have, and characters that XML forbids, cost the unit that holds them.
"""

import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from ccx_ray.corpus.reading.lines import TextStream, beginning
from ccx_ray.corpus.reading.record import Fault, Fields, Reason, Record, Shard, limited, show
from ccx_ray.errors import InputError
from ccx_ray.storage.input_files import InputFile
from ccx_ray.study.text_spec import SourceSpec

PAIRED = frozenset({"bpt", "ept", "bx", "ex"})
"""Codes that open and end a formatting, which may begin within a word."""
CODES = PAIRED | {"it", "ph", "ut", "x", "br", "lb"}
FORMATTING = re.compile(
    r"\s*</?\s*(?:a|abbr|b|bdi|big|cf|code|em|font|g|i|mark|s|small|span|strike|strong|sub|sup|u)\b",
    re.IGNORECASE,
)
"""What ``ph`` and ``it`` hold where they stand for one half of a formatting after all."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0?\0", "utf-16-le"),
    (b"\0<\0?", "utf-16-be"),
)
DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']*)""")
WIDER = {
    "ascii": "utf-8",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
    "big5": "cp950",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "utf-16": "utf-8",
    "utf-32": "utf-8",
}
"""What files that declare the one are decoded by: the extension that Windows writes under the old
name, and for Unicode without its mark what is read as bytes anyway."""
HEAD = 1024
BAD = "\ufdd0"
"""Stands for what cannot be read; no character, so that no text holds it."""
_DOUBTFUL = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
    "|&#(?P<number>[0-9]+|x[0-9a-fA-F]+);"
    "|&(?!(?:amp|lt|gt|quot|apos);)(?:(?P<name>[A-Za-z][\\w.:-]*);)?"
)
"""What expat may refuse: characters, and references to characters and entities."""
_LITERAL = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
"""Holds no references; it becomes text like any other."""
_DECLARATION = re.compile(r"<!ENTITY\s+(\S+)")
_OPEN = re.compile(r"&[^;&<>]{0,63}\Z|<[!\[CDAT]{0,7}\Z")
"""A reference or a literal that the block ends in the middle of."""
_LONGEST = 64, 2**22
"""Most characters of an open reference, and of an open literal."""


def encoding_of(file: InputFile, *, field: str = "") -> str:
    """The encoding of a TMX file, by Python's name for it.

    Raises:
        InputError: it declares one that is not known.
    """
    head = beginning(file, HEAD)
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    found = DECLARED.match(head)
    declared = found[1].decode("ascii", "replace") if found else "utf-8"
    try:
        name = codecs.lookup(declared).name
        "".encode(name)  # raises a LookupError for a codec that makes no text, such as base64
    except (LookupError, ValueError):
        place = f"{field}: {file.uri!r}" if field else file.uri
        raise InputError(
            f"{place} declares the unknown encoding {declared!r}; convert it to UTF-8 and "
            "declare UTF-8"
        ) from None
    return WIDER.get(name, name)


def read_tmx(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The translation units of a file in order, in the languages of ``fields.texts``.

    The id is the attribute ``tuid`` of ``tu``, or the one that the source names; a unit without it
    is called by its place.

    Raises:
        InputError: the file declares an encoding that is not known.
    """
    units = _Units(shard.file.name, fields.texts, source.id_field or "tuid", record_bytes)
    stream = TextStream(shard.file)
    empty = True
    try:
        for text in _decoded(stream, encoding_of(shard.file)):
            if empty:
                text = text.lstrip()  # noqa: PLW2901, no declaration may stand behind a blank
                empty = not text
            units.parser.Parse(text, False)
            yield from units.finished()
        if empty and not stream.broken:
            yield Fault("", 1, Reason.EMPTY_FILE, "")
            return
        if not stream.broken:
            units.parser.Parse("", True)
    except expat.ExpatError as error:
        yield from units.finished()
        cut = error.code in (3, 5) or "unclosed" in str(error)  # no element found, unclosed token
        reason = Reason.TRUNCATED if cut else Reason.CORRUPT
        yield Fault("", units.count + 1, reason, f"{error}\n{units.shown()}", ends_file=True)
        return
    if stream.broken:
        yield Fault("", units.count + 1, stream.broken, units.shown(), ends_file=True)


def _decoded(stream: TextStream, encoding: str) -> Iterator[str]:
    """The text of a file as expat takes it: ``BAD`` for what cannot be read, and no entity that is
    not declared. No reference is cut."""
    decoder = codecs.getincrementaldecoder(encoding)("ccx-bad")
    declared: set[str] = set()

    def readable(text: str) -> str:
        declared.update(_DECLARATION.findall(text))
        if text.rfind("<![CDATA[") >= 0:  # from behind, in a third of the time
            text = _LITERAL.sub(lambda found: escape(found[1]), text)
        return _DOUBTFUL.sub(lambda found: _replacement(found, declared), text)

    rest = ""
    for block in stream:
        text = rest + decoder.decode(block)
        begun = _OPEN.search(text, max(len(text) - _LONGEST[0], 0))
        whole = begun.start() if begun else len(text)
        literal = text.rfind("<![CDATA[", max(len(text) - _LONGEST[1], 0))
        if literal >= 0 and "]]>" not in text[literal:]:
            whole = min(literal, whole)
        text, rest = text[:whole], text[whole:]
        if text:
            yield readable(text)
    rest += decoder.decode(b"", True)
    if rest:
        yield readable(rest)


def _replacement(found: re.Match[str], declared: set[str]) -> str:
    if found["name"]:
        return found[0] if found["name"] in declared else escape(html.unescape(found[0]))
    digits = found["number"]
    if not digits:
        return "&amp;" if found[0] == "&" else BAD
    number = int(digits[1:], 16) if digits[0] == "x" else int(digits)
    of_xml = number in (9, 10, 13) or 0x20 <= number < 0xD800 or 0xE000 <= number < 0xFFFE
    return found[0] if of_xml or 0x10000 <= number < 0x110000 else BAD


def _mark_bad(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return BAD, error.end


codecs.register_error("ccx-bad", _mark_bad)


class _Units:
    """The handlers of the parser, and the units that have come to their end."""

    def __init__(
        self, file: str, languages: tuple[str, ...], id_attribute: str, record_bytes: int
    ) -> None:
        self.file, self.id_attribute, self.record_bytes = file, id_attribute, record_bytes
        wanted = [language.lower().replace("_", "-") for language in languages]
        self._whole_codes = {code: side for side, code in enumerate(wanted) if "-" in code}
        self._primary_codes = {code: side for side, code in enumerate(wanted) if "-" not in code}
        self.count = 0
        self.parser: Any = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.buffer_size = 2**16
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self._done: list[Record | Fault] = []
        self._begin("")

    def finished(self) -> list[Record | Fault]:
        """The units that have ended since the last call."""
        done, self._done = self._done, []
        return done

    def shown(self) -> str:
        """What has been read of the unit that has not ended."""
        return show(tuple("".join(half or ()) for half in self._halves))

    def _begin(self, name: str) -> None:
        self._id = name
        self._halves: list[list[str] | None] = [None, None]
        """None until a variant in the language begins."""
        self._half: list[str] | None = None
        """The one that is being read."""
        self._codes_open = 0
        self._code: list[str] = []
        """What stands in the code that is being read."""
        self._apart = False
        """Something that separates words stood since the last text."""
        self._characters = 0

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "seg":
            if self._half is not None:
                self.parser.CharacterDataHandler = self._text
        elif tag == "tuv":
            code = attributes.get("xml:lang") or attributes.get("lang") or ""
            code = code.lower().replace("_", "-")
            side = self._whole_codes.get(code)
            if side is None:
                side = self._primary_codes.get(code.partition("-")[0])
            if side is not None and self._halves[side] is None:
                self._half = self._halves[side] = []
        elif tag == "tu":
            self._begin(attributes.get(self.id_attribute, "").strip())
        elif tag in CODES and self._half is not None:
            if not self._codes_open:
                self._code = []
            self._codes_open += 1
            self.parser.CharacterDataHandler = self._code.append

    def _end(self, tag: str) -> None:
        if tag == "seg":
            self.parser.CharacterDataHandler = None
            self._apart = False
        elif tag == "tuv":
            self._half = None
        elif tag == "tu":
            self.count += 1
            self._done.append(self._unit())
            self._begin("")
        elif tag in CODES and self._codes_open:
            self._codes_open -= 1
            if not self._codes_open:
                self.parser.CharacterDataHandler = self._text
                if tag not in PAIRED and not FORMATTING.match("".join(self._code)):
                    self._apart = True

    def _text(self, data: str) -> None:
        self._characters += len(data)
        if self._characters <= self.record_bytes and self._half is not None:
            if self._apart and self._half and _would_join(self._half[-1][-1], data[0]):
                self._half.append(" ")
            self._half.append(data)
        self._apart = False

    def _unit(self) -> Record | Fault:
        english, target = self._halves
        texts = ("".join(english or ()).strip(), "".join(target or ()).strip())
        position = self.count
        name = self._id or f"{self.file}:{position}"
        if self._characters > self.record_bytes:
            return Fault(name, position, Reason.TOO_LONG, show(texts))
        if any(BAD in text for text in (name, *texts)):
            shown = show(texts).replace(BAD, "\ufffd")
            return Fault(name.replace(BAD, "\ufffd"), position, Reason.UNREADABLE, shown)
        if not all(texts):
            return Fault(name, position, Reason.MISSING_SIDE, show(texts).strip())
        return limited(Record(name, self.file, position, texts), self.record_bytes)


def _would_join(left: str, right: str) -> bool:
    """Whether a word, or the end of a sentence, would touch the word or bracket behind it."""
    before = unicodedata.category(left)
    behind = unicodedata.category(right)
    ends = before[0] in "LMN" or before in ("Pe", "Pf") or left in ".,;:!?%…。、！？，；："
    return ends and (behind[0] in "LMN" or behind in ("Ps", "Pi"))
