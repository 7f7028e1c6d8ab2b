"""From raw records to blocks of isolated text, with what is wrong with each record beside it.

Invariant: one row a record or fault, in the order of the file; nothing is left out here. Where a
block ends depends on the text alone.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.cleaning.blocks import DROPPED, Block, BlockWriter
from ccx_ray.corpus.cleaning.duplicates import digests
from ccx_ray.corpus.cleaning.language_identification import isolate_language
from ccx_ray.corpus.cleaning.minhash import signatures
from ccx_ray.corpus.cleaning.scripts import holds_letters, isolate
from ccx_ray.corpus.reading.batches import RawBatch, raw_batches
from ccx_ray.corpus.reading.record import Reason, Shard
from ccx_ray.corpus.reading.sources import TextSource, side_names
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import CleaningSpec

NOTHING_LEFT = "nothing left after isolation"
"""No letter of any script is left on one of the sides."""
TOO_SHORT = "too short after isolation"
ANOTHER_LANGUAGE = "in another language"
"""What language identification left of it is nothing, or too short."""


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
        for batch in raw_batches(
            shard,
            source.spec,
            sides=source.sides,
            record_bytes=cleaning.record_megabytes * 2**20,
        ):
            for fault in batch.faults.values():
                if fault.reason in Reason.BREAKS and cleaning.broken_files == "stop":
                    raise UserError(
                        f"{shard.file.uri}: {fault.reason} at {shard.place(fault.position)}; give "
                        "the whole file, or keep what came before with cleaning.broken_files=keep"
                    )
            blocks.write(_isolated(batch, source, cleaning, counts, removed))
    return {
        "kind": source.kind,
        "blocks": blocks.written,
        "counts": dict(counts),
        "removed": dict(removed),
    }


def _isolated(
    batch: RawBatch,
    source: TextSource,
    cleaning: CleaningSpec,
    counts: Counter[str],
    removed: Counter[str],
) -> Block:
    counts["read"] += len(batch.ids)
    sides, dropped = [], []
    for raw, code, isolation in zip(batch.texts, source.codes, source.isolations, strict=True):
        counts["bytes_in"] += pc.sum(pc.binary_length(raw)).as_py() or 0
        counts["characters_in"] += pc.sum(pc.utf8_length(raw)).as_py() or 0
        side = (
            isolate(raw, isolation)
            if isolation.strategy == "script"
            else isolate_language(raw, code, isolation)
        )
        removed.update(side.removed)
        if side.dropped is not None:
            dropped.append(side.dropped)
        counts["marks"] += side.marks
        sides.append(side.text)
    reasons = _reasons(sides, cleaning.minimum_characters if source.kind == "documents" else 1)
    for texts in dropped:
        lost = [row for row in _rows(pc.not_equal(texts, "")) if row in reasons]
        reasons |= dict.fromkeys(lost, ANOTHER_LANGUAGE)
    reasons |= {row: fault.reason for row, fault in batch.faults.items()}
    rows = pa.array(sorted(reasons), pa.int64())
    as_read = zip(*(raw.take(rows).to_pylist() for raw in batch.texts), strict=True)
    rejected = dict(zip(sorted(reasons), map("\n".join, as_read), strict=True))
    rejected |= {row: fault.text for row, fault in batch.faults.items()}
    near = source.kind == "documents" and cleaning.near_duplicates is not None
    return Block(
        table=pa.table(
            {
                "id": batch.ids,
                "source": batch.sources,
                **dict(zip(side_names(source.kind), sides, strict=True)),
                "position": pa.array(batch.positions),
                "reason": _sparse(reasons, len(batch.ids)),
                "rejected": _sparse(rejected, len(batch.ids)),
                **({DROPPED: pc.binary_join_element_wise(*dropped, "\n")} if dropped else {}),
            }
        ),
        text_keys=digests(sides),
        id_keys=digests([batch.ids]),
        signatures=signatures(sides[0].to_pylist()) if near else None,
    )


def _reasons(sides: Sequence[pa.Array], minimum_characters: int) -> dict[int, str]:
    """Row -> why its isolated text is not used."""
    short = pc.less(pc.utf8_length(sides[0]), minimum_characters)
    reasons = dict.fromkeys(_rows(short), TOO_SHORT)
    for side in sides:
        reasons |= dict.fromkeys(_rows(pc.invert(holds_letters(side))), NOTHING_LEFT)
    return reasons


def _rows(chosen: pa.Array) -> list[int]:
    rows: list[int] = np.flatnonzero(chosen.to_numpy(zero_copy_only=False)).tolist()
    return rows


def _sparse(values: dict[int, str], length: int) -> pa.Array:
    """A string column that is null but for some rows."""
    column: list[str | None] = [None] * length
    for row, value in values.items():
        column[row] = value
    return pa.array(column, pa.string())
