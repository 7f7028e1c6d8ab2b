"""The prompt of a judge that is a model: the question, its answer, one or more documents.

Invariant: a document's text enters as it is. Placeholders are filled in one pass, so a document
that spells one is not filled again, and what is shown is a span of the document's characters.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges import SHIPPED_PROMPT
from ccx_ray.frequency.judges.answers import ANSWER_FORM, ANSWERS_FORM
from ccx_ray.frequency.judges.verdict import Request
from ccx_ray.frequency.text.questions import Cloze

PLACEHOLDERS = ("question", "answer", "document")
FORM_VERSION = 1
"""Raised when the words around the prompt change; verdicts given to others are not used again."""
_PLACEHOLDER = re.compile(r"\{(question|answer|document)\}")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The part of a document that a model is shown."""

    text: str
    start: int
    """In characters of the document."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A question and what is shown of one document: what a model is asked for a verdict on."""

    cloze: Cloze
    text: str

    @property
    def key(self) -> str:
        """The content's hash: the same content is never asked about twice."""
        content = [FORM_VERSION, self.cloze.question, self.cloze.answer, self.text]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


class Prompt:
    """A prompt file's text, with a place for the question, the answer and the document."""

    def __init__(self, text: str) -> None:
        self._text = text

    def ask(self, pair: Pair) -> str:
        """The whole of what a model is told for one verdict."""
        return f"{self._filled(pair.cloze, pair.text)}\n\n{ANSWER_FORM}"

    def ask_several(self, pairs: Sequence[Pair]) -> str:
        """The same for several documents of one question."""
        documents = "\n\n".join(
            f"[Document {number}]\n{pair.text}" for number, pair in enumerate(pairs, 1)
        )
        form = ANSWERS_FORM.replace("{documents}", str(len(pairs)))
        return f"{self._filled(pairs[0].cloze, documents)}\n\n{form}"

    def _filled(self, cloze: Cloze, document: str) -> str:
        values = {"question": cloze.question, "answer": cloze.answer, "document": document}
        return _PLACEHOLDER.sub(lambda found: values[found[1]], self._text).rstrip()


def read_prompt(name: str | None, root: Path, field: str) -> Prompt:
    """The prompt of a judge; the shipped one if none is named.

    Raises:
        UserError: the file cannot be read, or lacks a placeholder.
    """
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
    return Prompt(text)


def shown_part(request: Request, window_characters: int) -> Shown:
    """A document, or of a longer one the window in whose middle the retrieved passage stands."""
    text = request.document.text
    if len(text) <= window_characters:
        return Shown(text=text, start=0)
    middle = request.passage_start + request.passage_length // 2
    start = min(max(0, middle - window_characters // 2), len(text) - window_characters)
    return Shown(text=text[start : start + window_characters], start=start)
