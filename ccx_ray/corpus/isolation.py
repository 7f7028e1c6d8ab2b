"""From raw records to blocks of isolated text, with what is wrong with each record beside it.

Invariant: one row a record or fault, in the order of the file; nothing is left out here. Where a
block ends depends on the text alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.blocks import Block, BlockWriter
from ccx_ray.corpus.dedup import digests
from ccx_ray.corpus.minhash import signatures
from ccx_ray.corpus.scripts import holds_letters, isolate
from ccx_ray.corpus.sources import faults
from ccx_ray.corpus.sources.reading import read_shard
from ccx_ray.corpus.sources.record import Fault, Record, Shard
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import CleaningSpec, IsolationSpec, SourceSpec

NOTHING_LEFT = "nothing left after isolation"
"""No letter of any script is left on one of the sides."""
TOO_SHORT = "too short after isolation"
BREAKS = (faults.TRUNCATED, faults.CORRUPT, faults.MISSING_COLUMN)
"""Faults of a file as a whole: what is behind them is lost."""

Kind = Literal["documents", "pairs"]
CHARACTERS_PER_BATCH = 4 * 2**20
RECORDS_PER_BATCH = 16_384


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """One source of a language: what its records hold, and how each side is isolated."""

    spec: SourceSpec
    kind: Kind
    sides: tuple[str, ...]
    """``text`` of a document; the language codes of the halves of a pair."""
    isolations: tuple[IsolationSpec, ...]


def side_names(kind: Kind) -> tuple[str, ...]:
    """The columns that hold the text of a document or of a pair."""
    return ("text",) if kind == "documents" else ("english", "target")


def isolate_shard(
    source: TextSource, shard: Shard, cleaning: CleaningSpec, folder: Path, name: str
) -> dict[str, Any]:
    """Isolate the records of a shard into blocks.

    Returns:
        the blocks' names and sizes, bytes and characters read, and the characters removed.

    Raises:
        UserError: the file breaks off and the study says to stop there.
    """
    counts: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    with BlockWriter(folder, name, shard) as blocks:
        for entries in _batches(source, shard, cleaning):
            block = _isolated(entries, source, cleaning, counts, removed)
            blocks.write(block)
    return {
        "kind": source.kind,
        "blocks": blocks.written,
        "counts": dict(counts),
        "removed": dict(removed),
    }


def _batches(
    source: TextSource, shard: Shard, cleaning: CleaningSpec
) -> Iterator[list[Record | Fault]]:
    entries: list[Record | Fault] = []
    characters = 0
    for entry in read_shard(
        shard,
        source.spec,
        sides=source.sides,
        record_bytes=cleaning.record_megabytes * 2**20,
    ):
        if type(entry) is Fault:
            if entry.reason in BREAKS and cleaning.broken_files == "stop":
                raise UserError(
                    f"{shard.file.uri}: {entry.reason} at {shard.place(entry.position)}; give the "
                    "whole file, or keep what came before with cleaning.broken_files=keep"
                )
        else:
            characters += sum(map(len, entry.texts))
        entries.append(entry)
        if characters >= CHARACTERS_PER_BATCH or len(entries) == RECORDS_PER_BATCH:
            yield entries
            entries, characters = [], 0
    if entries:
        yield entries


def _isolated(
    entries: Sequence[Record | Fault],
    source: TextSource,
    cleaning: CleaningSpec,
    counts: Counter[str],
    removed: Counter[str],
) -> Block:
    blank = ("",) * len(source.sides)
    texts = [entry.texts if type(entry) is Record else blank for entry in entries]
    raw = [pa.array([text[side] for text in texts], pa.string()) for side in range(len(blank))]
    sides = []
    for array, isolation in zip(raw, source.isolations, strict=True):
        side = isolate(array, isolation)
        removed.update(side.removed)
        counts["marks"] += side.marks
        sides.append(side.text)
    counts["read"] += len(entries)
    for array in raw:
        counts["bytes_in"] += pc.sum(pc.binary_length(array)).as_py() or 0
        counts["characters_in"] += pc.sum(pc.utf8_length(array)).as_py() or 0
    reasons: list[str | None] = [
        entry.reason if type(entry) is Fault else None for entry in entries
    ]
    for row in _without_letters(sides):
        reasons[row] = reasons[row] or NOTHING_LEFT
    if source.kind == "documents":
        short = pc.less(pc.utf8_length(sides[0]), cleaning.minimum_characters)
        for row in np.flatnonzero(short.to_numpy(zero_copy_only=False)).tolist():
            reasons[row] = reasons[row] or TOO_SHORT
    rejected_text = [
        None if reason is None else entry.text if type(entry) is Fault else "\n".join(entry.texts)
        for entry, reason in zip(entries, reasons, strict=True)
    ]
    ids = pa.array([entry.id for entry in entries], pa.string())
    sources = [entry.source if type(entry) is Record else "" for entry in entries]
    near = source.kind == "documents" and cleaning.near_duplicates is not None
    return Block(
        table=pa.table(
            {
                "id": ids,
                "source": pa.array(sources, pa.string()),
                **dict(zip(side_names(source.kind), sides, strict=True)),
                "position": pa.array([entry.position for entry in entries], pa.int64()),
                "reason": pa.array(reasons, pa.string()),
                "rejected": pa.array(rejected_text, pa.string()),
            }
        ),
        text_keys=digests(sides),
        id_keys=digests([ids]),
        signatures=signatures(sides[0].to_pylist()) if near else None,
    )


def _without_letters(sides: Sequence[pa.Array]) -> list[int]:
    lacking = np.zeros(len(sides[0]), bool)
    for side in sides:
        lacking |= ~holds_letters(side).to_numpy(zero_copy_only=False)
    return np.flatnonzero(lacking).tolist()
