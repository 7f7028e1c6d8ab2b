"""A sheet for people: 100 retrieved documents of a corpus to read, and a table to fill in.

Invariant: a page is one file that asks for nothing over the network, whatever comes from a corpus
is escaped in it, and no cell of the table is a formula to a spreadsheet. The judge's verdict is
never in the table, and on the page only behind a fold.
"""

import csv
import io
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ccx_ray.frequency.validation.estimated import EstimatedCorpus
from ccx_ray.frequency.validation.excerpts import answer_spans, excerpts, filled, highlighted
from ccx_ray.frequency.validation.review_sample import (
    REVIEW_SAMPLE,
    ReviewPair,
    draw_review,
    sample_table,
)
from ccx_ray.storage.publishing import publish_bytes, publish_parquet

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

SAMPLE = "review_sample.parquet"
COLUMNS = (
    "id", "culture", "question number", "question", "answer", "document", "passage", "holds",
    "note",
)  # fmt: skip
SHOWN_CHARACTERS = 20_000
"""Of a whole document on the page."""
PASSAGE_CHARACTERS = 3_000
"""Of a cell; a spreadsheet cuts at 32,767 and is hard to read long before."""
EVIDENCE_CONTEXT = 80
# Not all that Python calls a blank: U+202F stands before a Mongolian case suffix.
_LINE_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")
_FORMULA_STARTS = tuple("=+-@＝＋－＠")


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
    counts, tables = {}, [REVIEW_SAMPLE.empty_table()]
    for estimated in corpora:
        drawn = draw_review(estimated, size=size, seed=seed)
        counts[estimated.corpus] = {
            "retrieved": len(estimated.retrieved()),
            "drawn": len(drawn),
            "drawn_accepted": sum(pair.verdict for pair in drawn),
        }
        if drawn:
            name = f"review-{estimated.corpus}"
            page = review_page(drawn, title=title, seed=seed, table=f"{name}.csv")
            publish_bytes(folder / f"{name}.html", page.encode("utf-8", "replace"))
            publish_bytes(folder / f"{name}.csv", review_table(drawn))
            tables.append(sample_table(estimated, drawn))
    publish_parquet(folder / SAMPLE, pa.concat_tables(tables))
    return counts


def review_table(drawn: Sequence[ReviewPair]) -> bytes:
    """The table to fill in: CSV in UTF-8 with a byte order mark, without which a spreadsheet takes
    it for another encoding."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for pair in drawn:
        text = pair.document.text
        shown = " … ".join(text[start : start + length] for start, length in excerpts(pair))
        cells = (
            *(pair.id, pair.culture, str(pair.question), pair.cloze.question, pair.cloze.answer),
            *(pair.document.id, shown[:PASSAGE_CHARACTERS], "", ""),
        )
        writer.writerow(map(_cell, cells))
    return out.getvalue().encode("utf-8-sig", "replace")


def review_page(drawn: Sequence[ReviewPair], *, title: str, seed: int, table: str) -> str:
    """The page to read beside the table, in the same order.

    Args:
        table: name of the table's file.
    """
    return _template().render(
        title=title,
        corpus=drawn[0].corpus,
        entries=[_entry(pair) for pair in drawn],
        seed=seed,
        table=table,
        style=_style(),
    )


def _cell(text: str) -> str:
    """One line; what a spreadsheet would compute becomes text."""
    line = _LINE_BREAKS.sub(" ", text)
    return f"'{line}" if line.startswith(_FORMULA_STARTS) else line


def _entry(pair: ReviewPair) -> dict[str, Any]:
    text = pair.document.text
    answers, shown = answer_spans(pair.cloze, pair.document), excerpts(pair)
    start, length = pair.evidence
    first = max(0, start - EVIDENCE_CONTEXT)
    evidence = text[first : start + length + EVIDENCE_CONTEXT] if length else ""
    return {
        "pair": pair,
        "statement": filled(pair.cloze),
        "excerpts": [
            {
                "start": begin,
                "end": begin + size,
                "text": highlighted(text[begin : begin + size], answers, offset=begin),
            }
            for begin, size in shown
        ],
        "more_than_shown": shown != [(0, len(text))],
        "answers": len(answers),
        "whole": highlighted(text[:SHOWN_CHARACTERS], answers),
        "characters": len(text),
        "more": max(0, len(text) - SHOWN_CHARACTERS),
        "evidence": highlighted(evidence, [pair.evidence], offset=first),
    }


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ccx_ray.frequency.validation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("review.html.j2")


def _style() -> "Markup":
    """The audit's, which knows how every language is set, and what is different here."""
    from markupsafe import Markup

    sheets = (("ccx_ray.corpus.audit", "audit.css"), (__package__, "review.css"))
    return Markup("\n".join((resources.files(p) / name).read_text("utf-8") for p, name in sheets))
