"""Reading the verdicts in what a model answers, as servers and models really write it.

Thoughts are passed over, with or without their opening tag, and so are the channels of models that
speak in them, code fences, stop tokens and words around the JSON. Line breaks in its strings need
not be escaped, it may be a string itself, and where it is none it may be Python.

Invariant: an answer that has not the form is no verdict, and of two that contradict each other
neither is; both are asked for again or missing, never "the document does not hold the knowledge".
"""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ccx_ray.frequency.judges.prompting import Answer

_NAMES = (
    "(?:seed:)?think|thinking|thoughts?|reasoning|reasoning_content|reflection|analysis|scratchpad"
)
_OPENS = re.compile(
    rf"<(?:{_NAMES})(?:\s[^<>]*)?>|<details\s[^<>]*reasoning[^<>]*>|\[THINK\]|◁think▷|<unused94>"
    r"|<\|(?:(?:begin_of_|start_)?(?:think|thought|thinking)(?:_start)?)\|>",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    rf"</(?:{_NAMES}|details)>|\[/THINK\]|◁/think▷|<unused95>"
    r"|<\|(?:(?:end_of_|end_|/)(?:think|thought|thinking)|think_end)\|>",
    re.IGNORECASE,
)
"""The unused tokens are those of Gemma's medical models."""
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+).*?<\|message\|>", re.DOTALL)
_BARE_CHANNELS = re.compile(r"\s*analysis.*assistant\s*final", re.DOTALL)
"""Channels whose special tokens a server has left out."""
_TOKEN = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|//[^\n]*|\b(true|false|null)\b""", re.DOTALL
)
"""A string; or what Python does not know, comments and words of JSON."""
_PYTHON = {"true": "True", "false": "False", "null": "None"}
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
    if isinstance(whole, str):
        whole = _decoded(whole.strip())
    text = "" if isinstance(whole, dict | list) else _after_thoughts(content)
    left = list(_objects(text)) or [_as_python(text)] if text else [whole]
    found = []
    left.reverse()
    while left:
        value = left.pop()
        if isinstance(value, dict) and "holds" in value:
            found.append(value)
        elif isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            left.extend(reversed(list(inner)))
        elif isinstance(value, str) and value.lstrip().startswith("{"):  # arguments of a call
            left.append(_decoded(value.strip()))
    return found


def _as_python(text: str) -> Any:
    """What a text says that is no JSON, but for trailing commas, comments or single quotes; nothing
    where ``holds`` stands in it more than once."""
    text = text[text.find("{") : text.rfind("}") + 1]
    if len(re.findall(r"""["']holds["']\s*:""", text)) != 1:
        return None
    try:
        return ast.literal_eval(_TOKEN.sub(_token, text))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _token(found: re.Match[str]) -> str:
    """A string as Python escapes it; a word or a comment as it has it."""
    if found[1]:
        return re.sub(r"\\([^\"'\\bfnrtu])", r"\1", found[1]).replace("\n", "\\n")
    return _PYTHON.get(found[2], "")


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
    # Nothing could keep half of a surrogate pair.
    evidence, reason = (
        (one or "").encode("utf-8", "replace").decode("utf-8") for one in (evidence, reason)
    )
    return Answer(holds=holds, evidence=evidence, reason=reason)
