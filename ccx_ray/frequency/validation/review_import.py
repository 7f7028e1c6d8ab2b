"""Filled-in review sheets: read strictly, and kept with the study.

Invariant: an answer is taken only for a pair that was drawn, and once; whatever cannot be an answer
is refused with its row. Rows that are empty, or gone, count as not reviewed.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.errors import UserError
from ccx_ray.frequency.validation.review_sheet import SAMPLE
from ccx_ray.storage.publishing import publish_bytes

ID, HOLDS = "id", "holds"
ANSWERS: Mapping[str, bool | None] = {
    "yes": True, "y": True, "1": True, "no": False, "n": False, "0": False, "unclear": None,
}  # fmt: skip
"""None: a person looked and could not decide."""
_DELIMITERS = ",;\t"
_SPREADSHEET = b"PK\x03\x04"


def read_review(path: Path, sample: pa.Table) -> tuple[str, dict[str, bool | None]]:
    """Read a filled-in ``review-<corpus>.csv``, as text editors and spreadsheets write it.

    Args:
        path: UTF-8 with or without a byte order mark; commas, semicolons or tabs between cells.
            Columns may be in any order, and all but ``id`` and ``holds`` are ignored.
        sample: ``review_sample.parquet`` of the study.

    Returns:
        The corpus; and id -> whether the document holds it, None for unclear; only of what was
        looked at.

    Raises:
        UserError: not such a file, an id that was not drawn or stands twice or is of another
            corpus than the rows before, or an answer that is none.
    """
    corpora = dict(zip(*(sample[name].to_pylist() for name in ("id", "corpus")), strict=True))
    places: dict[str, int] = {}
    answers: dict[str, bool | None] = {}
    corpus = ""
    for row, identity, answer in _rows(path):
        where = f"{path.name}, row {row}"
        if identity not in corpora:
            raise UserError(
                f"{where}, {ID}: {_shortened(identity)} is not on a sheet of this study; "
                "copy the ids from the sheet"
            )
        if identity in places:
            raise UserError(
                f"{where}, {ID}: {identity!r} is already in row {places[identity]}; "
                "give every pair once"
            )
        if corpus and corpora[identity] != corpus:
            raise UserError(
                f"{where}, {ID}: {identity!r} belongs to the sheet of {corpora[identity]!r}, the "
                f"rows before it to that of {corpus!r}; give one sheet per table"
            )
        corpus = corpora[identity]
        places[identity] = row
        if not answer:
            continue
        if answer.lower() not in ANSWERS:
            raise UserError(
                f"{where}, {HOLDS}: {_shortened(answer)} is not an answer; "
                "write yes, no or unclear, or leave it empty"
            )
        answers[identity] = ANSWERS[answer.lower()]
    if not corpus:
        raise UserError(f"{path.name}: has a header but no rows; give a filled-in review sheet")
    return corpus, answers


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, id and answer of every row below the header that is not empty."""
    text = _text(path)
    header, delimiter = _header(path, text)
    names = [name.strip().lower() for name in header]
    for name in (ID, HOLDS):
        if names.count(name) != 1:
            has = "is missing" if name not in names else "is repeated"
            raise UserError(
                f"{path.name}, row 1: the column {name!r} {has}; the columns are "
                f"{', '.join(map(_shortened, header)) or 'empty'}; keep the header of the sheet"
            )
    identity, answer = names.index(ID), names.index(HOLDS)
    # Strict, so that a quote that is never closed does not swallow the rows below it.
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row, cells in enumerate(records, start=1):
            if row == 1 or not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                raise UserError(
                    f"{path.name}, row {row}: {len(cells)} cells, but {len(header)} columns; "
                    "quote cells that contain the separator"
                )
            padded = [*cells, *[""] * (len(header) - len(cells))]
            yield row, padded[identity].strip(), padded[answer].strip()
    except csv.Error as error:
        raise UserError(
            f"{path.name}, line {records.line_num}: not CSV ({error}); save it as CSV in UTF-8"
        ) from None


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{path.name}: cannot be read ({reason}); give a filled-in review sheet"
        ) from None
    if content.startswith(_SPREADSHEET):
        raise UserError(f"{path.name}: a spreadsheet file; save it as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path.name}: byte {error.start} is not UTF-8; save it as CSV in UTF-8"
        ) from None


def _header(path: Path, text: str) -> tuple[Sequence[str], str]:
    """The cells of the first row, and what separates cells: that which gives the most of them."""
    first = next(iter(text.splitlines()), "")
    try:
        headers = {mark: next(csv.reader([first], delimiter=mark), []) for mark in _DELIMITERS}
    except csv.Error as error:
        raise UserError(
            f"{path.name}, line 1: not CSV ({error}); save it as CSV in UTF-8"
        ) from None
    best = max(_DELIMITERS, key=lambda mark: len(headers[mark]))
    return headers[best], best


def _shortened(cell: str) -> str:
    return repr(cell if len(cell) < 40 else cell[:37] + "...")


def keep_reviews(filled: Sequence[Path], validation: Path, reviews: Path) -> list[Path]:
    """Copy filled tables to ``<corpus>.csv`` below the study, each in place of an earlier one.

    Args:
        validation: folder of the step that drew the sheets.

    Raises:
        UserError: a file is no filled sheet of this study, or two are of one corpus.
    """
    sample = pq.read_table(validation / SAMPLE)
    read: dict[str, Path] = {}
    for path in filled:
        corpus, answers = read_review(path, sample)
        if not answers:
            raise UserError(f"{path.name}: nothing is filled in; write yes, no or unclear in holds")
        if corpus in read:
            raise UserError(
                f"{path.name}: has the same corpus as {read[corpus].name} "
                f"({corpus}); give one table per corpus"
            )
        read[corpus] = path
    reviews.mkdir(parents=True, exist_ok=True)
    kept = {reviews / f"{corpus}.csv": path for corpus, path in read.items()}
    for target, path in kept.items():
        publish_bytes(target, path.read_bytes())
    return list(kept)
