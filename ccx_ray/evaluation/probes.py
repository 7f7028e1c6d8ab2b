"""The cloze questions: read as published, checked for shape, their quirks counted.

Invariant: no question is dropped or changed. A file of the wrong shape is refused with the item
that is wrong; a question that is merely odd (no blank, a repeated option) stays and is listed.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import LanguageSpec

BLANK = re.compile("_+")
BASE_CODE = "en"


@dataclass(frozen=True, kw_only=True)
class ProbeItem:
    """One cloze question and the options that may fill it."""

    question: str
    options: tuple[str, ...]
    answer: str

    @property
    def gold(self) -> int:
        """Index of the answer, the first of repeated ones; -1 when no option is the answer."""
        return self.options.index(self.answer) if self.answer in self.options else -1

    def fill(self, option: str) -> str:
        """The question with every run of underscores replaced by ``option``."""
        return BLANK.sub(lambda _: option, self.question)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A list of questions; the name is ``<culture>-<question language>``, such as ``ko-en``."""

    name: str
    items: tuple[ProbeItem, ...]

    @property
    def sentences(self) -> int:
        """How many filled sentences are to be scored, repeated options included."""
        return sum(len(item.options) for item in self.items)


def load_probe(path: Path, name: str) -> Probe:
    """Read a probe file: a JSON list of ``{question, options, answer}``.

    Raises:
        UserError: the file cannot be read, or an item of it has the wrong shape.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a probe file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; give a JSON file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    if not isinstance(content, list) or not content:
        found = "an empty list" if content == [] else type(content).__name__
        raise UserError(f"{path}: {found} where a list of questions is expected")
    items = tuple(_item(entry, f"{path}, item {index}") for index, entry in enumerate(content))
    return Probe(name=name, items=items)


def _item(entry: Any, place: str) -> ProbeItem:
    if not isinstance(entry, dict):
        raise UserError(f"{place}: {_short(entry)} is not an object with question, options, answer")
    for key in ("question", "options", "answer"):
        if key not in entry:
            raise UserError(f"{place}: {key!r} is missing; it has {', '.join(entry) or 'nothing'}")
    for key in ("question", "answer"):
        _check_text(entry[key], f"{place}, {key}")
    options = entry["options"]
    if not isinstance(options, list) or len(options) < 2:
        raise UserError(f"{place}, options: {_short(options)} is not a list of two or more options")
    for number, option in enumerate(options, start=1):
        _check_text(option, f"{place}, option {number}")
    return ProbeItem(question=entry["question"], options=tuple(options), answer=entry["answer"])


def _check_text(value: Any, place: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{place}: {_short(value)} is not a text with something in it")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def quality_notes(probe: Probe) -> dict[str, list[int]]:
    """What is odd in a probe: kind of oddity -> indexes of the items that have it.

    The kinds are always all present: without a blank all options tie; several blanks are all
    filled; repeated options tie with one another; an absent answer can never be chosen; where the
    gold option is first, option order breaks ties its way; and surrounding spaces make texts
    differ that look alike.
    """
    notes: dict[str, list[int]] = {
        "no blank": [],
        "several blanks": [],
        "repeated option": [],
        "answer absent": [],
        "gold option first": [],
        "surrounding space": [],
    }
    for index, item in enumerate(probe.items):
        blanks = len(BLANK.findall(item.question))
        found = {
            "no blank": blanks == 0,
            "several blanks": blanks > 1,
            "repeated option": len(set(item.options)) < len(item.options),
            "answer absent": item.gold < 0,
            "gold option first": item.gold == 0,
            "surrounding space": any(t != t.strip() for t in (*item.options, item.answer)),
        }
        for kind, present in found.items():
            if present:
                notes[kind].append(index)
    return notes


def load_culture(language: LanguageSpec, root: Path) -> tuple[Probe, Probe]:
    """The English and the target version of one culture's questions.

    Args:
        root: folder that the study's relative paths start from.

    Raises:
        UserError: a file is wrong, or item i of the two cannot be the same question.
    """
    files = (root / language.probes.english, root / language.probes.target)
    english = load_probe(files[0], f"{language.code}-{BASE_CODE}")
    target = load_probe(files[1], f"{language.code}-{language.code}")
    if len(english.items) != len(target.items):
        raise UserError(
            f"{files[1]}: {len(target.items)} questions, but {files[0]} has "
            f"{len(english.items)}; item i of both must be the same question"
        )
    for index, (one, other) in enumerate(zip(english.items, target.items, strict=True)):
        if len(one.options) != len(other.options):
            raise UserError(
                f"{files[1]}, item {index}: {len(other.options)} options, but the same item of "
                f"{files[0]} has {len(one.options)}"
            )
    return english, target
