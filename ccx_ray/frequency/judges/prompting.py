"""What a judge that is a model is shown and asked, and where what it quotes stands.

Invariants: a document's text enters the prompt as it is. Placeholders are filled in one pass, so a
document that spells one is not filled again, and what is shown is a span of the document's
characters. How answers are read: ``answers.py``.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges import SHIPPED_PROMPT
from ccx_ray.frequency.judges.verdict import Request
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.normalization import TSHEG, normalize
from ccx_ray.frequency.text.questions import Cloze

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
REPEATED_CHARACTERS = 1000
"""Of an answer that cannot be read, shown to the model when it is asked to mend it."""
FORM_VERSION = 1
"""Raised when the words around the prompt change; verdicts given to others are not used again."""
PLACEHOLDERS = ("question", "answer", "document")
_PLACEHOLDER = re.compile(r"\{(question|answer|document)\}")
_ELLIPSIS = re.compile(r"\s*(?:\.{3,}|…+|\[…\]|\[\.{3}\])\s*")
NO_EVIDENCE = (-1, 0)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A question and what is shown of one document: what a model is asked for a verdict on."""

    cloze: Cloze
    text: str
    start: int = 0
    """Of the text, in characters of the document."""

    @property
    def key(self) -> str:
        """The content's hash: the same content is never asked about twice."""
        content = [FORM_VERSION, self.cloze.question, self.cloze.answer, self.text]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def shown_part(request: Request, window_characters: int) -> Pair:
    """A document, or of a longer one the window in whose middle the retrieved passage stands."""
    text, start = request.document.text, 0
    if len(text) > window_characters:
        middle = request.passage_start + request.passage_length // 2
        start = min(max(0, middle - window_characters // 2), len(text) - window_characters)
    return Pair(cloze=request.cloze, text=text[start : start + window_characters], start=start)


def read_prompt(name: str | None, root: Path, field: str) -> str:
    """The text of a prompt file; of the shipped one if none is named."""
    path = SHIPPED_PROMPT if name is None else root / Path(name).expanduser()
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{field}: {str(path)!r}: byte {error.start} is not UTF-8; give a text file"
        ) from None
    except OSError as error:
        raise UserError(
            f"{field}: {str(path)!r} cannot be read ({error.strerror}); give a text file"
        ) from None
    absent = [f"{{{name}}}" for name in PLACEHOLDERS if f"{{{name}}}" not in text]
    if absent:
        raise UserError(
            f"{field}: {str(path)!r} has no {', '.join(absent)}; "
            "a prompt needs {question}, {answer} and {document}"
        )
    return text


def fill_prompt(prompt: str, pairs: Sequence[Pair]) -> str:
    """The whole of what a model is told for a verdict on one document, or several of a question."""
    cloze, document, form = pairs[0].cloze, pairs[0].text, ANSWER_FORM
    if len(pairs) > 1:
        numbered = enumerate(pairs, 1)
        document = "\n\n".join(f"[Document {number}]\n{pair.text}" for number, pair in numbered)
        form = ANSWERS_FORM.replace("{documents}", str(len(pairs)))
    values = {"question": cloze.question, "answer": cloze.answer, "document": document}
    filled = _PLACEHOLDER.sub(lambda found: values[found[1]], prompt).rstrip()
    return f"{filled}\n\n{form}"


def repair_words(fault: str, said: str, *, cut: bool) -> str:
    """What is added to a prompt whose answer could not be read.

    It differs from one answer to the next, since at temperature 0 the same words get the same one.

    Args:
        said: the answer, empty where it is of no use to the model.
        cut: whether it was too long.
    """
    words = f"\n{UNREADABLE_AGAIN} What was wrong with it: {fault}."
    if cut:
        words += " Answer at once, without thinking aloud, and quote little."
    return f"{words} It was:\n{said[:REPEATED_CHARACTERS]}" if said else words


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said of one document."""

    holds: bool
    evidence: str
    reason: str


def answer_schema(documents: int) -> dict[str, Any]:
    """The JSON schema of an answer about so many documents."""
    kinds = {"holds": "boolean", "evidence": "string", "reason": "string"}
    fields: dict[str, Any] = {name: {"type": kind} for name, kind in kinds.items()}
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
