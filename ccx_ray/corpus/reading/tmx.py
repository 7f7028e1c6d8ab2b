"""TMX, the exchange format of translation memories, as a stream of its translation units.

Languages are matched by their primary subtag, whatever the case (``ko`` finds ``KO-kr``), unless
the source names one with a subtag (``zh-TW``). Of several variants in one language the first
counts. Text is what stands in ``seg`` and ``hi``; the codes of the tool that wrote it (``bpt``,
``ept``, ``it``, ``ph``, ``ut``, and what stands in them) are left out.
"""

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from ccx_ray.corpus.reading.lines import TextStream
from ccx_ray.corpus.reading.record import Fault, Fields, Reason, Record, Shard, limited, show
from ccx_ray.study.text_spec import SourceSpec

CODES = frozenset({"bpt", "ept", "it", "ph", "ut"})


def read_tmx(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The translation units of a file in order, in the languages of ``fields.texts``.

    The id is the attribute ``tuid`` of ``tu``, or the one that the source names; a unit without it
    is called by its place.
    """
    units = _Units(shard.file.name, fields.texts, source.id_field or "tuid", record_bytes)
    stream = TextStream(shard.file)
    empty = True
    try:
        for block in stream:
            empty = False
            units.parser.Parse(block, False)
            yield from units.finished()
        if empty and not stream.broken:
            yield Fault("", 1, Reason.EMPTY_FILE, "")
            return
        if not stream.broken:
            units.parser.Parse(b"", True)
    except expat.ExpatError as error:
        yield from units.finished()
        cut = error.code in (3, 5) or "unclosed" in str(error)  # no element found, unclosed token
        reason = Reason.TRUNCATED if cut else Reason.CORRUPT
        yield Fault("", units.count + 1, reason, f"{error}\n{units.shown()}", ends_file=True)
        return
    if stream.broken:
        yield Fault("", units.count + 1, stream.broken, units.shown(), ends_file=True)


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
        elif tag in CODES:
            self._codes_open += 1
            self.parser.CharacterDataHandler = None

    def _end(self, tag: str) -> None:
        if tag == "seg":
            self.parser.CharacterDataHandler = None
        elif tag == "tuv":
            self._half = None
        elif tag == "tu":
            self.count += 1
            self._done.append(self._unit())
            self._begin("")
        elif tag in CODES:
            self._codes_open -= 1
            if not self._codes_open and self._half is not None:
                self.parser.CharacterDataHandler = self._text

    def _text(self, data: str) -> None:
        self._characters += len(data)
        if self._characters <= self.record_bytes and self._half is not None:
            self._half.append(data)

    def _unit(self) -> Record | Fault:
        english, target = self._halves
        texts = ("".join(english or ()).strip(), "".join(target or ()).strip())
        position = self.count
        name = self._id or f"{self.file}:{position}"
        if self._characters > self.record_bytes:
            return Fault(name, position, Reason.TOO_LONG, show(texts))
        if not all(texts):
            return Fault(name, position, Reason.MISSING_SIDE, show(texts).strip())
        return limited(Record(name, self.file, position, texts), self.record_bytes)
