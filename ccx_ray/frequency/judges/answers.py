"""Reading the verdicts in what a model answers, as servers and models really write it.

Thoughts are passed over, with or without their opening tag, and so are the channels of models that
speak in them, code fences, stop tokens and words around the JSON. Line breaks in its strings need
not be escaped.

Invariant: an answer that has not the form is no verdict, and of two that contradict each other
neither is; both are asked for again or missing, never "the document does not hold the knowledge".
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ccx_ray.frequency.judges.prompting import Answer

_NAMES = "think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad|seed:think"
_OPENS = re.compile(
    rf"<(?:{_NAMES})>|\[THINK\]|◁think▷|<\|(?:begin_of_thought|think|think_start)\|>", re.IGNORECASE
)
_CLOSES = re.compile(
    rf"</(?:{_NAMES})>|\[/THINK\]|◁/think▷|<\|(?:end_of_thought|/think|think_end)\|>", re.IGNORECASE
)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+).*?<\|message\|>", re.DOTALL)
_BARE_CHANNELS = re.compile(r"\s*analysis.*assistant\s*final", re.DOTALL)
"""Channels whose special tokens a server has left out."""
_MOST_OPENINGS = 500
"""Braces at which an object may begin; an answer of more is noise."""


def read_answers(content: str, documents: int) -> list[Answer | None]:
    """The answers about so many documents, in their order; None where there is none to read."""
    entries = _entries(content)
    if documents == 1:
        return [_agreed(entries)]
    by_number = defaultdict(list)
    for entry in entries:
        number = entry.get("document")
        if type(number) is int:
            by_number[number].append(entry)
    return [_agreed(by_number[number]) for number in range(1, documents + 1)]


def unreadable_because(content: str) -> str:
    """Why an answer without a verdict, which is not empty, has none."""
    if any(_answer(entry) is not None for entry in _entries(content)):
        return "a document has no verdict, or contradictory verdicts"
    return "it has no JSON object with holds: true or false, evidence and reason"


def _after_thoughts(content: str) -> str:
    """What is said after all thoughts; nothing where the last of them has no end."""
    channels = list(_CHANNEL.finditer(content))
    if channels:
        last = channels[-1]
        content = content[last.end() :] if last[1] == "final" else ""
    elif bare := _BARE_CHANNELS.match(content):
        content = content[bare.end() :]
    closes = list(_CLOSES.finditer(content))
    if closes:
        content = content[closes[-1].end() :]
    opened = _OPENS.search(content)
    return content[: opened.start()] if opened else content


def _objects(text: str) -> Iterator[Any]:
    """The JSON objects in a text, the outermost ones."""
    place = -1
    for _ in range(_MOST_OPENINGS):
        place = text.find("{", place + 1)
        if place < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            continue
        yield value
        place = end - 1


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; an empty one where a key stands twice, since nobody knows which is meant."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else {}


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repetition, strict=False)


def _decoded(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _entries(content: str) -> list[dict[str, Any]]:
    """The objects that say whether a document holds, whatever they are wrapped in."""
    # Whole JSON first, because what looks like a tag may stand in a quotation.
    whole = _decoded(content.strip())
    left = [whole] if isinstance(whole, dict | list) else list(_objects(_after_thoughts(content)))
    found = []
    left.reverse()
    while left:
        value = left.pop()
        if isinstance(value, dict) and "holds" in value:
            found.append(value)
        elif isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            left.extend(reversed(list(inner)))
    return found


def _agreed(entries: list[dict[str, Any]]) -> Answer | None:
    """The last answer of several that say the same of a document."""
    answers = [answer for answer in map(_answer, entries) if answer is not None]
    return answers[-1] if len({answer.holds for answer in answers}) == 1 else None


def _answer(value: dict[str, Any]) -> Answer | None:
    holds, evidence, reason = value["holds"], value.get("evidence"), value.get("reason")
    if not isinstance(holds, bool) or not all(
        isinstance(one or "", str) for one in (evidence, reason)
    ):
        return None
    return Answer(holds=holds, evidence=evidence or "", reason=reason or "")
