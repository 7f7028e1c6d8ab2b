"""What of a document a person is shown, and where the answer stands in it.

Invariant: what is shown and marked depends on the document, the answer and the places that were
pointed at, never on whether the judge said yes or no.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ccx_ray.frequency.judges.lexical import answer_pattern, normalized_answer
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.review_sample import ReviewPair, Span
from ccx_ray.study.text_spec import BLANK

if TYPE_CHECKING:
    from markupsafe import Markup

CONTEXT = 300
"""Characters on either side of an answer."""
SHOWN_ANSWERS = 3
"""Places outside the retrieved passage that are shown; a country's name stands everywhere."""


def answer_spans(cloze: Cloze, document: Document) -> list[Span]:
    """Where the answer stands in the document as words of its own."""
    answer = normalized_answer(cloze.answer)
    if not answer or answer not in document.normalized:
        return []
    found = answer_pattern(answer).finditer(document.normalized)
    return [document.original_span(match.start(), match.end()) for match in found]


def excerpts(pair: ReviewPair) -> list[Span]:
    """The passage, the first answers and the evidence, with context, in the order of the text."""
    size = len(pair.document.text)
    pointed = list(islice(answer_spans(pair.cloze, pair.document), SHOWN_ANSWERS))
    if pair.evidence[1]:
        pointed.append(pair.evidence)
    around = [(start - CONTEXT, start + length + CONTEXT) for start, length in pointed]
    start, length = pair.passage
    return _merged([(start, start + length), *around], size)


def highlighted(text: str, spans: Iterable[Span], *, offset: int = 0) -> "Markup":
    """The text as HTML with spans marked.

    Args:
        spans: in a document of which ``text`` begins at ``offset``; in order, none in another.
    """
    from markupsafe import Markup, escape

    pieces, at = [], 0
    for start, length in spans:
        first, last = (min(max(p - offset, at), len(text)) for p in (start, start + length))
        if first < last:
            pieces.append(escape(text[at:first]))
            pieces.append(Markup("<mark>{}</mark>").format(text[first:last]))
            at = last
    return Markup("").join([*pieces, escape(text[at:])])


def filled(cloze: Cloze) -> "Markup":
    """The statement as HTML with the answer marked wherever it was put."""
    from markupsafe import Markup, escape

    answer = Markup("<mark>{}</mark>").format(cloze.answer)
    pieces = [escape(piece) for piece in BLANK.split(cloze.question)]
    return answer.join(pieces) if len(pieces) > 1 else Markup("{} {}").format(pieces[0], answer)


def _merged(ranges: Sequence[tuple[int, int]], size: int) -> list[Span]:
    merged: list[list[int]] = []
    for start, end in sorted((max(0, start), min(size, end)) for start, end in ranges):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return [(start, end - start) for start, end in merged]
