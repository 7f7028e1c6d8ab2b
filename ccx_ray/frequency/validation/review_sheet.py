"""Sheets for human review: a page of retrieved documents, and a table to fill in.

Invariants: a page is one file without network requests, and all text from a corpus is escaped. No
cell of the table is a formula in a spreadsheet. The judge's verdict is not in the table, and is
folded on the page. What is shown and marked depends on the document, the answer and the evidence,
never on the verdict. The id of a pair is a hash of the text that a person reads, so an answer is
never counted for another text.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ccx_ray.frequency.judges.lexical import answer_pattern, normalized_answer
from ccx_ray.frequency.text.documents import Document, read_documents
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.estimated import EstimatedCorpus, half_accepted
from ccx_ray.storage.publishing import publish_bytes, publish_parquet
from ccx_ray.study.text_spec import BLANK

if TYPE_CHECKING:
    from markupsafe import Markup

SAMPLE = "review_sample.parquet"
REVIEW_SAMPLE = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "corpus", "culture")),
        ("question", pa.int32()),
        ("document", pa.string()),
        ("row", pa.int64()),
        ("verdict", pa.bool_()),
        ("stratum_pairs", pa.int64()),
        ("stratum_drawn", pa.int64()),
    ]
)
"""``stratum_pairs`` is the number of retrieved pairs with the same verdict, ``stratum_drawn`` how
many of them were sampled; a sampled pair has the weight of their ratio."""
COLUMNS = (
    "id", "culture", "question number", "question", "answer", "document", "passage", "holds",
    "note",
)  # fmt: skip
CONTEXT = 300
"""Characters on either side of an answer."""
SHOWN_ANSWERS = 3
"""Answers shown outside the retrieved passage; a country's name may occur very often."""
SHOWN_CHARACTERS = 20_000
"""Longest document shown in full on the page."""
PASSAGE_CHARACTERS = 3_000
"""Longest passage in a cell; a spreadsheet cuts cells at 32,767 characters."""
EVIDENCE_CONTEXT = 80
# Not all that Python calls a blank: U+202F stands before a Mongolian case suffix.
_LINE_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")
_FORMULA_STARTS = tuple("=+-@＝＋－＠")

Span = tuple[int, int]
"""Start and length in characters."""


@dataclass(frozen=True, kw_only=True)
class ReviewPair:
    """A question and a document that was retrieved for it."""

    cloze: Cloze
    document: Document
    row: Mapping[str, Any]
    """Of ``retrieved.parquet``."""

    @property
    def id(self) -> str:
        """An id that begins with a letter, because a spreadsheet reads ``31415926e535`` as a
        number."""
        read = (self.cloze.question, self.cloze.answer, self.document.id, self.document.text)
        parts = (*(str(self.row[name]) for name in ("corpus", "culture", "question")), *read)
        content = "\x1f".join(parts).encode("utf-8", "surrogatepass")
        return "q" + blake2b(content, digest_size=6).hexdigest()

    def span(self, name: str) -> Span:
        """The span of ``passage`` or ``evidence``; its length is 0 without evidence."""
        return self.row[f"{name}_start"], self.row[f"{name}_length"]

    @cached_property
    def answers(self) -> list[Span]:
        """Positions of the answer in the document as separate words."""
        answer, document = normalized_answer(self.cloze.answer), self.document
        if not answer or answer not in document.normalized:
            return []
        found = answer_pattern(answer).finditer(document.normalized)
        return [document.original_span(match.start(), match.end()) for match in found]


def write_review_sheets(
    folder: Path, corpora: Sequence[EstimatedCorpus], *, title: str, size: int, seed: int
) -> dict[str, dict[str, int]]:
    """Write ``review-<corpus>.html`` and ``.csv`` of every corpus, and ``review_sample.parquet``.

    Args:
        title: of the study.
        size: retrieved documents of one sheet.

    Returns:
        Corpus -> retrieved, drawn and among them accepted pairs. A corpus of which nothing was
        retrieved has no sheet, and zeros here.
    """
    counts: dict[str, dict[str, int]] = {}
    rows: list[dict[str, Any]] = []
    for estimated in corpora:
        verdicts = Counter(estimated.retrieved()["verdict"].to_pylist())
        drawn = draw_review(estimated, size=size, seed=seed)
        of_sheet = Counter(pair.row["verdict"] for pair in drawn)
        counts[estimated.corpus] = {
            "retrieved": verdicts.total(),
            "drawn": len(drawn),
            "drawn_accepted": of_sheet[True],
        }
        if not drawn:
            continue
        name = f"review-{estimated.corpus}"
        page = _page(drawn, title=title, seed=seed, table=f"{name}.csv")
        publish_bytes(folder / f"{name}.html", page.encode("utf-8", "replace"))
        publish_bytes(folder / f"{name}.csv", _table(drawn))
        for pair in drawn:
            verdict = pair.row["verdict"]
            stratum = {"stratum_pairs": verdicts[verdict], "stratum_drawn": of_sheet[verdict]}
            rows.append({**pair.row, **stratum, "id": pair.id})
    publish_parquet(folder / SAMPLE, pa.Table.from_pylist(rows, REVIEW_SAMPLE))
    return counts


def draw_review(estimated: EstimatedCorpus, *, size: int, seed: int) -> list[ReviewPair]:
    """The pairs of one corpus in the order of its sheet; none if nothing was retrieved."""
    rows = half_accepted(estimated, size=size, seed=seed)
    documents = read_documents(estimated.text, {row["row"] for row in rows})
    return [
        ReviewPair(cloze=estimated.cloze(row), document=documents[row["row"]], row=row)
        for row in rows
    ]


def _table(drawn: Sequence[ReviewPair]) -> bytes:
    """The table to fill in: CSV in UTF-8, with a byte order mark for spreadsheets."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for pair in drawn:
        text, row = pair.document.text, pair.row
        shown = " … ".join(text[start : start + length] for start, length in excerpts(pair))
        cells = (
            *(pair.id, row["culture"], str(row["question"])),
            *(pair.cloze.question, pair.cloze.answer),
            *(pair.document.id, shown[:PASSAGE_CHARACTERS], "", ""),
        )
        writer.writerow(map(_cell, cells))
    return out.getvalue().encode("utf-8-sig", "replace")


def _cell(text: str) -> str:
    """The text as one line; a spreadsheet formula becomes text."""
    line = _LINE_BREAKS.sub(" ", text)
    return f"'{line}" if line.startswith(_FORMULA_STARTS) else line


def _page(drawn: Sequence[ReviewPair], *, title: str, seed: int, table: str) -> str:
    """The page to read beside the table of this name, in the same order."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    # The audit's style sets every language; the other one has the differences of this page.
    sheets = (("ccx_ray.corpus.audit", "audit.css"), (__package__, "review.css"))
    styles = [(resources.files(package) / name).read_text("utf-8") for package, name in sheets]
    environment = Environment(
        loader=PackageLoader("ccx_ray.frequency.validation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("review.html.j2").render(
        title=title,
        corpus=drawn[0].row["corpus"],
        entries=[_entry(pair) for pair in drawn],
        seed=seed,
        table=table,
        style=Markup("\n".join(styles)),
    )


def _entry(pair: ReviewPair) -> dict[str, Any]:
    text, shown = pair.document.text, excerpts(pair)
    start, length = pair.span("evidence")
    first = max(0, start - EVIDENCE_CONTEXT)
    evidence = text[first : start + length + EVIDENCE_CONTEXT] if length else ""
    return {
        **pair.row,
        "id": pair.id,
        "statement": _marked_statement(pair.cloze),
        "excerpts": [
            {
                "start": begin,
                "end": begin + size,
                "text": _marked(text[begin : begin + size], pair.answers, offset=begin),
            }
            for begin, size in shown
        ],
        "more_than_shown": shown != [(0, len(text))],
        "answers": len(pair.answers),
        "whole": _marked(text[:SHOWN_CHARACTERS], pair.answers),
        "characters": len(text),
        "more": max(0, len(text) - SHOWN_CHARACTERS),
        "evidence": _marked(evidence, [(start, length)], offset=first),
    }


def excerpts(pair: ReviewPair) -> list[Span]:
    """The passage, the first answers and the evidence, with context, in the order of the text."""
    size = len(pair.document.text)
    pointed = pair.answers[:SHOWN_ANSWERS]
    if pair.row["evidence_length"]:
        pointed.append(pair.span("evidence"))
    around = [(start - CONTEXT, start + length + CONTEXT) for start, length in pointed]
    start, length = pair.span("passage")
    merged: list[list[int]] = []
    for first, last in sorted(
        (max(0, first), min(size, last)) for first, last in [(start, start + length), *around]
    ):
        if first >= last:
            continue
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return [(first, last - first) for first, last in merged]


def _marked(text: str, spans: Iterable[Span], *, offset: int = 0) -> "Markup":
    """The text as HTML with spans marked, in order and none in another.

    The text begins at ``offset`` in the document that the spans are in.
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


def _marked_statement(cloze: Cloze) -> "Markup":
    """The statement as HTML with the filled-in answer marked."""
    from markupsafe import Markup, escape

    answer = Markup("<mark>{}</mark>").format(cloze.answer)
    pieces = [escape(piece) for piece in BLANK.split(cloze.question)]
    return answer.join(pieces) if len(pieces) > 1 else Markup("{} {}").format(pieces[0], answer)
