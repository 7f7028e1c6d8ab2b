"""The cloze questions: read as published, checked for shape, their oddities named.

Invariant: no question is dropped or changed in silence. An item of the wrong shape is refused, or
with ``lenient`` left out and listed; a question that is merely odd (no blank, a repeated option)
stays and carries a note, and so does an answer that is not written as its option is.
"""

import codecs
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.study.spec import QualityKind
from ccx_ray.study.text_spec import BLANK, LanguageSpec

LABELS = ("group", "cluster")
"""Fields of an item that say what it belongs to; it may have either, both or none."""
_MARKED_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_AROUND = re.compile(r"^[\s\xad\u200b-\u200f\u2060\ufeff]+|[\s\xad\u200b-\u200f\u2060\ufeff]+$")
"""Spaces and marks without width, which an editor or a spreadsheet leaves around a text."""

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class ProbeItem:
    """One cloze question and the options that may fill it."""

    question: str
    options: tuple[str, ...]
    answer: str
    pieces: tuple[str, ...] = ()
    """The text around the blanks, one piece more than blanks; cut out of the question at its runs
    of underscores where none are given."""
    context: str | None = None
    """Of a question in the way of lm-evaluation-harness: what the model is given instead of
    end-of-text, unless it is empty. Its tokens by themselves are as many as those before the
    option."""
    group: str = ""
    """What the question is compared within, such as where its fact is stated; empty where none is
    given."""
    note: str = ""
    """What was done to take the answer for an option, where they are not written alike."""
    cluster: str = ""
    """What the question shares with others, such as the entity it is about: questions of one
    cluster are drawn together. Empty: it is a cluster by itself."""

    def __post_init__(self) -> None:
        if not self.pieces:
            object.__setattr__(self, "pieces", tuple(BLANK.split(self.question)))

    @property
    def gold(self) -> int:
        """Index of the answer, the first of repeated ones; -1 when no option is the answer."""
        return self.options.index(self.answer) if self.answer in self.options else -1

    @property
    def blanks(self) -> int:
        return len(self.pieces) - 1

    def fill(self, option: str) -> str:
        """The question with every blank filled by ``option``."""
        return option.join(self.pieces)

    def spans(self, option: str) -> tuple[tuple[int, int], ...]:
        """The characters ``[start, end)`` of the filled question that the option takes."""
        starts = accumulate(len(piece) + len(option) for piece in self.pieces[:-1])
        return tuple((end - len(option), end) for end in starts)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An item that cannot be scored, and why."""

    index: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A list of questions; the name is ``<culture>-<question language>``, see ``probe_name``."""

    name: str
    items: tuple[ProbeItem, ...]
    indexes: tuple[int, ...] = ()
    """Position of every item in its file; 0, 1, 2, ... where none is left out."""
    left_out: tuple[LeftOut, ...] = ()

    def __post_init__(self) -> None:
        if not self.indexes:
            object.__setattr__(self, "indexes", tuple(range(len(self.items))))

    @property
    def notes(self) -> list[str]:
        """What was done to take answers for options, for a warning."""
        pairs = zip(self.indexes, self.items, strict=True)
        return [f"item {index}, {item.note}" for index, item in pairs if item.note]

    @property
    def sentences(self) -> int:
        """How many filled sentences are to be scored, repeated options included."""
        return sum(len(item.options) for item in self.items)


def load_probe(path: Path, name: str, *, lenient: bool = False) -> Probe:
    """Read a probe file: a JSON list of ``{question, options, answer}``, and where it is given
    ``group`` and ``cluster``.

    Args:
        lenient: leave items of the wrong shape out and list them, instead of refusing the file.

    Raises:
        UserError: the file cannot be read, or an item of it has the wrong shape, or none is left.
    """
    content = read_json(read_text(path), str(path))
    if not isinstance(content, list) or not content:
        found = "an empty list" if content == [] else f"a {type(content).__name__}"
        raise UserError(f"{path}: contains {found}; a list of questions is expected")
    return read_items(path, name, content, read_item, lenient=lenient)


def read_text(path: Path) -> str:
    """The text of a probe file: UTF-8, or what its byte order mark says.

    Raises:
        UserError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a probe file") from None
    found = (name for mark, name in _MARKED_ENCODINGS if content.startswith(mark))
    encoding = next(found, "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig").upper()
        raise UserError(f"{path}: byte {error.start} is not {name}; give a file in UTF-8") from None


def read_json(text: str, place: str, line: int = 0) -> Any:
    """The JSON of a probe file, or of its line of that number; ``UserError`` where it is none or a
    key stands twice in an object."""
    where = f"{place}, line {line}" if line else place
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        where = where if line else f"{place}, line {error.lineno}"
        raise UserError(f"{where}: not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # a key twice, a number of 5,000 digits
        raise UserError(f"{where}: cannot be read ({error})") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} stands twice in an object")
        found[key] = value
    return found


def read_items(
    path: Path,
    name: str,
    entries: Sequence[Any],
    read: Callable[[Any], ProbeItem],
    *,
    lenient: bool,
) -> Probe:
    """The questions of a file of any format.

    Args:
        read: turns an entry into a question; its ValueError goes on where the item is named.
        lenient: leave out and list what it refuses.

    Raises:
        UserError: an entry is refused, or none is left.
    """
    items: dict[int, ProbeItem] = {}
    left_out = []
    for index, entry in enumerate(entries):
        try:
            items[index] = read(entry)
        except ValueError as error:
            if not lenient:
                raise UserError(f"{path}, item {index}{error}") from None
            left_out.append(LeftOut(index=index, reason=str(error).lstrip(",: ")))
    if not items:
        raise UserError(f"{path}: none of its {len(entries)} items can be scored")
    return Probe(
        name=name, items=tuple(items.values()), indexes=tuple(items), left_out=tuple(left_out)
    )


def read_item(entry: Any) -> ProbeItem:
    """One item of a probe file, or a ValueError that goes on where the item is named."""
    if not isinstance(entry, Mapping):
        raise ValueError(f": {shown(entry)} is not an object with question, options, answer")
    for key in ("question", "options", "answer"):
        if key not in entry:
            raise ValueError(f": {key!r} is missing; it has {', '.join(entry) or 'nothing'}")
    for key in ("question", "answer"):
        check_text(entry[key], key)
    check_options(entry["options"])
    labels = {key: entry[key] for key in LABELS if key in entry}
    for key, label in labels.items():
        check_text(label, key)
    options = tuple(entry["options"])
    answer, note = answer_of(entry["answer"], options)
    return ProbeItem(
        question=entry["question"], options=options, answer=answer, note=note, **labels
    )


def answer_of(written: str, options: Sequence[str]) -> tuple[str, str]:
    """The option that an answer means, and a note where it is not written alike; an answer that is
    no option stays as it is."""

    def bare(text: str) -> str:
        return _AROUND.sub("", unicodedata.normalize("NFC", text))

    if written in options or bare(written) not in map(bare, options):
        return written, ""
    number = [bare(option) for option in options].index(bare(written))
    composed = [unicodedata.normalize("NFC", text) for text in (written, options[number])]
    differs = "after NFC" if composed[0] == composed[1] else "without the characters around it"
    note = f"answer: {written!a} is option {number + 1} ({options[number]!a}) {differs}"
    return options[number], f"{note} and counts as it"


def check_options(options: Any) -> None:
    """Raises a ValueError unless they are two or more texts; it goes on where the item is named."""
    if not isinstance(options, list) or len(options) < 2:
        raise ValueError(f", options: {shown(options)} is not a list of two or more options")
    for number, option in enumerate(options, start=1):
        check_text(option, f"option {number}")


def check_text(value: Any, place: str) -> None:
    """Raises a ValueError unless it is a text; it goes on where the item is named."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f", {place}: {shown(value)} is empty or not text")
    if _HALF.search(value):
        raise ValueError(f", {place}: {shown(value)} contains half of a surrogate pair")


def shown(value: Any) -> str:
    """A value as it stands in a message, cut to a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 60 else f"{text[:57]}..."


def quality(item: ProbeItem) -> tuple[QualityKind, ...]:
    """What is odd about a question, in the order of ``QualityKind``.

    Without a blank, or with a repeated option, filled sentences are identical and tie; several
    blanks are all filled; an absent answer can never be chosen; surrounding spaces make texts
    differ that look alike.
    """
    sentences = [item.fill(option) for option in item.options]
    found: dict[QualityKind, bool] = {
        "no_blank": item.blanks == 0,
        "several_blanks": item.blanks > 1,
        "repeated_option": len(set(item.options)) < len(item.options),
        "answer_absent": item.gold < 0,
        "identical_sentences": len(set(sentences)) < len(sentences),
        "surrounding_space": any(t != t.strip() for t in (*item.options, item.answer)),
    }
    return tuple(kind for kind, present in found.items() if present)


def load_culture(language: LanguageSpec, root: Path, *, base: str) -> dict[str, Probe]:
    """One culture's questions: language code -> its version, the base language's first.

    Args:
        root: folder that the study's relative paths start from.
        base: code of the study's base language.

    Raises:
        UserError: a file is wrong, or item i of the two cannot be the same question.
    """
    files = (root / language.probes.english, root / language.probes.target)
    codes = (base, language.code)
    first, second = (
        load_probe(file, probe_name(language.code, code))
        for file, code in zip(files, codes, strict=True)
    )
    if len(first.items) != len(second.items):
        raise UserError(
            f"{files[1]}: {len(second.items)} questions, but {files[0]} has "
            f"{len(first.items)}; item i of both must be the same question"
        )
    for index, (one, other) in enumerate(zip(first.items, second.items, strict=True)):
        if len(one.options) != len(other.options):
            raise UserError(
                f"{files[1]}, item {index}: {len(other.options)} options, but the same item of "
                f"{files[0]} has {len(one.options)}"
            )
        for key in LABELS:
            if (label := getattr(one, key)) != getattr(other, key):
                raise UserError(
                    f"{files[1]}, item {index}, {key}: {shown(getattr(other, key) or None)}, but "
                    f"the same item of {files[0]} has {shown(label or None)}; give both the same"
                )
    return {base: first, language.code: second}


def probe_name(culture: str, question_language: str) -> str:
    """Name of a probe in results and metrics, such as ``ko-en``."""
    return f"{culture}-{question_language}"
