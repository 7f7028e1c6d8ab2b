"""The form of a model's answer, how it is read, and where its evidence stands.

Invariant: an answer that has not the form is no verdict. It is asked for again or missing, never
"the document does not hold the knowledge".
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.normalization import TSHEG, normalize

_OBJECT = (
    '"holds": true or false, "evidence": "the words of the document that say it, copied exactly, '
    'at most one sentence; empty if it does not", "reason": "one short sentence"}'
)
ANSWER_FORM = f"Answer with one JSON object and nothing else:\n{{{_OBJECT}"
ANSWERS_FORM = (
    "There are {documents} documents; judge each by itself. Answer with one JSON object and "
    'nothing else, with one entry for every document:\n{"verdicts": [{"document": 1, '
    + _OBJECT
    + ", ...]}"
)
UNREADABLE_AGAIN = "An earlier answer could not be read. Answer with the JSON object alone."

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_ELLIPSIS = re.compile(r"\s*(?:\.{3,}|…+|\[…\]|\[\.{3}\])\s*")
NO_EVIDENCE = (-1, 0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said of one document."""

    holds: bool
    evidence: str
    reason: str


def answer_schema(documents: int) -> dict[str, Any]:
    """The JSON schema of an answer about so many documents."""
    fields: dict[str, Any] = {
        "holds": {"type": "boolean"},
        "evidence": {"type": "string"},
        "reason": {"type": "string"},
    }
    if documents == 1:
        return _object(fields)
    entry = _object({"document": {"type": "integer"}, **fields})
    return _object({"verdicts": {"type": "array", "items": entry}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_answers(content: str, documents: int) -> list[Answer | None]:
    """The answers about so many documents, in their order; None where there is none to read.

    Code fences around the JSON and the thoughts of a model that thinks aloud are passed over.
    """
    value = _json(content)
    if documents == 1:
        return [_answer(value)]
    entries = value.get("verdicts") if isinstance(value, dict) else None
    answers: list[Answer | None] = [None] * documents
    if not isinstance(entries, list):
        return answers
    numbers = [_number(entry) for entry in entries]
    for number, entry in zip(numbers, entries, strict=True):
        # Which of two answers about one document would be meant, nobody can say.
        if 1 <= number <= documents and numbers.count(number) == 1:
            answers[number - 1] = _answer(entry)
    return answers


def _number(entry: Any) -> int:
    number = entry.get("document") if isinstance(entry, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def _json(content: str) -> Any:
    text = _THOUGHT.sub("", content, count=1).strip()
    fenced = _FENCE.fullmatch(text)
    try:
        return json.loads(fenced[1] if fenced else text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        return None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _answer(value: Any) -> Answer | None:
    if not isinstance(value, dict) or not isinstance(value.get("holds"), bool):
        return None
    evidence, reason = (value.get(name) or "" for name in ("evidence", "reason"))
    if not isinstance(evidence, str) or not isinstance(reason, str):
        return None
    return Answer(holds=value["holds"], evidence=evidence, reason=reason)


def find_evidence(text: str, evidence: str) -> tuple[int, int]:
    """Start and length in ``text`` of what a model quotes of it, -1 and 0 if it is not there.

    A quotation that is not there to the letter is looked for without its case, width and
    punctuation; of one with an omission the longest piece counts.
    """
    exact = evidence.strip()
    if not exact:
        return NO_EVIDENCE
    start = text.find(exact)
    if start >= 0:
        return start, len(exact)
    document = Document(id="", text=text)
    for piece in (exact, max(_ELLIPSIS.split(exact), key=len)):
        sought = normalize(piece).strip(f" {TSHEG}")
        start = document.normalized.find(sought) if sought else -1
        if start >= 0:
            return document.original_span(start, start + len(sought))
    return NO_EVIDENCE
