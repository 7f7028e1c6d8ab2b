"""From raw records to isolated text, with what is wrong with each record beside it.

Invariant: one row a record, in the order of the file; nothing is left out here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.dedup import text_digest
from ccx_ray.corpus.scripts import holds_letters, isolate
from ccx_ray.corpus.sources import BadLine, Record, read_records
from ccx_ray.study.spec import IsolationSpec

NOT_A_RECORD = "not a valid record"
NOTHING_LEFT = "nothing left after isolation"
"""No letter of any script is left on one of the sides."""

Kind = Literal["documents", "pairs"]
RECORDS_PER_TABLE = 4096


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One raw file: which fields hold its text, and how each of them is isolated."""

    path: Path
    kind: Kind
    text_fields: tuple[str, ...]
    """``text`` of a document; the English field and the target field of a pair."""
    isolations: tuple[IsolationSpec, ...]


def isolated_tables(source: SourceFile) -> Iterator[pa.Table]:
    """The records of a file, isolated: tables of id, source, one column a side, and the outcome.

    Columns: id, source, text (of a pair: ``english``, ``target``), digest, reason (null when
    nothing is wrong so far), raw, excluded, marks (see ``scripts.Isolated``).
    """
    entries: list[Record | BadLine] = []
    for entry in read_records(source.path, source.text_fields):
        entries.append(entry)
        if len(entries) == RECORDS_PER_TABLE:
            yield _isolated_table(entries, source)
            entries = []
    yield _isolated_table(entries, source)


def side_names(kind: Kind) -> tuple[str, ...]:
    """The columns that hold the text of a document or of a pair."""
    return ("text",) if kind == "documents" else ("english", "target")


def _isolated_table(entries: Sequence[Record | BadLine], source: SourceFile) -> pa.Table:
    blank = ("",) * len(source.text_fields)
    texts = [entry.texts if isinstance(entry, Record) else blank for entry in entries]
    sides = [
        isolate(pa.array([text[i] for text in texts], pa.string()), isolation)
        for i, isolation in enumerate(source.isolations)
    ]
    kept = list(zip(*(side.text.to_pylist() for side in sides), strict=True))
    letters = list(zip(*(holds_letters(side.text).to_pylist() for side in sides), strict=True))
    reasons = [
        NOT_A_RECORD if isinstance(entry, BadLine) else None if all(has) else NOTHING_LEFT
        for entry, has in zip(entries, letters, strict=True)
    ]
    raw = ["\n".join(entry.texts) if isinstance(entry, Record) else entry.line for entry in entries]
    marks = reduce(pc.add, (side.marks for side in sides))
    side_texts = [side.text for side in sides]
    columns = {
        "id": pa.array([entry.id for entry in entries], pa.string()),
        "source": pa.array([entry.source for entry in entries], pa.string()),
        **dict(zip(side_names(source.kind), side_texts, strict=True)),
        "digest": pa.array([text_digest(*row) for row in kept], pa.binary()),
        "reason": pa.array(reasons, pa.string()),
        "raw": pa.array(raw, pa.string()),
        "excluded": pc.binary_join_element_wise(*(side.excluded for side in sides), ""),
        "marks": marks,
    }
    return pa.table(columns)
