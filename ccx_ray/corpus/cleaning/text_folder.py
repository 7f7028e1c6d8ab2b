"""The text folder: ``documents``, ``pairs`` (of a target language) and ``rejected``.

Invariant: every record that is read stands in exactly one of the three, a rejected one with its
reason, its place and its text. Of equal texts, and of records with one id, the first in the order
of the sources is kept.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.cleaning.blocks import DROPPED, BlockKeys, read_block
from ccx_ray.corpus.cleaning.dedup import Ints, first_seen
from ccx_ray.corpus.cleaning.near_duplicates import near_duplicates
from ccx_ray.corpus.cleaning.scripts import count_by_script
from ccx_ray.corpus.parts import write_part
from ccx_ray.corpus.reading.record import Shard
from ccx_ray.corpus.reading.text_sources import Kind, side_names

DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near-duplicate"
REPEATED_ID = "repeated id"
"""Another text came earlier under the same id, which must name one document."""
REASONS = (DUPLICATE, REPEATED_ID, NEAR_DUPLICATE)

DOCUMENTS = pa.schema([(name, pa.string()) for name in ("id", "text", "source")])
PAIRS = pa.schema([(name, pa.string()) for name in ("id", "english", "target", "source")])
SCHEMAS: Mapping[Kind, pa.Schema] = {"documents": DOCUMENTS, "pairs": PAIRS}
REJECTED = pa.schema(
    [
        (name, pa.string())
        for name in ("id", "text", "source", "file", "position", "reason", "duplicate_of")
    ]
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One block of isolated text on its way to its part."""

    kind: Kind
    block: str
    number: int
    """Of the part among those of its kind."""
    rejected_number: int
    """Of the part in ``rejected``."""
    shard: Shard


def repetitions(
    blocks: Path, parts: Sequence[Part], similarity: float | None
) -> Iterator[pa.Table]:
    """Which rows repeat an earlier one, over all blocks of one kind.

    Yields:
        one table a part: reason (null where a row does not repeat another) and duplicate_of (the
        id of the earlier row).

    Memory: 150 bytes a row, and the near-duplicates' own; the texts stay on disk.
    """
    names = [part.block for part in parts]
    tables = [read_block(blocks, part.block) for part in parts]
    sizes = [table.num_rows for table in tables]
    standing = np.concatenate(
        [np.zeros(0, bool)] + [pc.is_null(table["reason"]).to_numpy() for table in tables]
    )
    reason = np.full(len(standing), -1, np.int8)
    original = np.full(len(standing), -1, np.int64)
    everything = np.arange(len(standing), dtype=np.int64)

    def settle(code: int, first: Ints) -> None:
        repeats = standing & (first >= 0) & (first != everything)
        reason[repeats], original[repeats] = code, first[repeats]
        standing[repeats] = False

    for code, key in ((0, "texts"), (1, "ids")):
        keys = [np.zeros((0, 2), np.uint64), *BlockKeys(blocks, names, key)]
        settle(code, first_seen(np.concatenate(keys), standing))
    if similarity is not None:
        signatures = BlockKeys(blocks, names, "signatures")
        bounds = np.cumsum(sizes)[:-1]
        settle(2, near_duplicates(signatures, np.split(standing, bounds), similarity))
    # Mapped into memory: only the ids that are asked for are ever read.
    ids = pa.chunked_array([c for table in tables for c in table["id"].chunks], pa.string())
    for begin, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        rows = slice(begin, begin + size)
        reasons = pa.array(reason[rows], mask=reason[rows] < 0)
        yield pa.table(
            {
                "reason": pa.DictionaryArray.from_arrays(reasons, pa.array(REASONS)).cast(
                    pa.string()
                ),
                "duplicate_of": ids.take(pa.array(original[rows], mask=original[rows] < 0)),
            }
        )


def settle_part(part: Part, blocks: Path, repeated: pa.Table, folder: Path) -> dict[str, Any]:
    """Write one part of ``documents`` or ``pairs`` and its rejected rows; what it counted."""
    table = read_block(blocks, part.block)
    sides = side_names(part.kind)
    reason = pc.coalesce(table["reason"], repeated["reason"])
    accepted = pc.is_null(reason)
    schema = SCHEMAS[part.kind]
    kept = table.select(schema.names).filter(accepted).cast(schema)
    write_part(folder / part.kind, part.number, kept)
    dropped = pc.invert(accepted)
    rejected = table.filter(dropped)
    places = [part.shard.place(position) for position in rejected["position"].to_pylist()]
    text = rejected[sides[0]]
    if len(sides) > 1:
        text = pc.binary_join_element_wise(*(rejected[side] for side in sides), "\n")
    columns = {
        "id": rejected["id"],
        "text": pc.coalesce(rejected["rejected"], text),
        "source": rejected["source"],
        "file": pa.array([part.shard.file.name] * len(places), pa.string()),
        "position": pa.array(places, pa.string()),
        "reason": reason.filter(dropped),
        "duplicate_of": repeated["duplicate_of"].filter(dropped),
    }
    write_part(folder / "rejected", part.rejected_number, pa.table(columns, schema=REJECTED))
    counts = {"kept": kept.num_rows}
    if DROPPED in table.column_names:
        counts |= _write_dropped(part, table.filter(accepted), folder)
    for side in sides:
        counts[f"bytes_out_{side}"] = _total(pc.binary_length(kept[side]))
        counts[f"characters_out_{side}"] = _total(pc.utf8_length(kept[side]))
    return {"counts": counts, "rejected": dict(Counter(columns["reason"].to_pylist()))}


def _write_dropped(part: Part, kept: pa.Table, folder: Path) -> dict[str, int]:
    """Keep the lines in another language that were taken out of texts that were kept."""
    (folder / "dropped").mkdir(exist_ok=True)
    touched = kept.filter(pc.not_equal(pc.utf8_trim_whitespace(kept[DROPPED]), ""))
    columns = {"id": touched["id"], "text": touched[DROPPED], "source": touched["source"]}
    write_part(folder / "dropped", part.rejected_number, pa.table(columns, schema=DOCUMENTS))
    return {
        "texts_with_dropped_lines": touched.num_rows,
        "characters_in_dropped_lines": _total(pc.utf8_length(touched[DROPPED])),
    }


def text_counts(
    kinds: Sequence[Kind],
    shards: Sequence[Mapping[str, Any]],
    parts: Sequence[tuple[Part, Mapping[str, Any]]],
) -> dict[str, Any]:
    """What was read, kept and rejected, and the characters removed by script.

    Args:
        shards: what ``isolation.isolate_shard`` returned.
        parts: the parts with what ``settle_part`` returned.
    """
    counts: dict[str, Any] = {}
    removed: Counter[str] = Counter()
    for kind in kinds:
        sums: Counter[str] = Counter({"read": 0, "kept": 0})
        rejected: Counter[str] = Counter()
        for shard in shards:
            if shard["kind"] == kind:
                sums.update(shard["counts"])
                removed.update(shard["removed"])
        for part, settled in parts:
            if part.kind == kind:
                sums.update(settled["counts"])
                rejected.update(settled["rejected"])
        assert sums["read"] == sums["kept"] + rejected.total(), "no record disappears"
        counts[kind] = {**sums, "rejected": dict(rejected.most_common())}
    by_script = Counter(count_by_script(removed))
    by_script["Inherited"] += sum(counts[kind].pop("marks", 0) for kind in kinds)
    counts["characters_removed_by_script"] = {
        script: number for script, number in by_script.most_common() if number
    }
    return counts


def _total(values: pa.ChunkedArray) -> int:
    total: int = pc.sum(values).as_py() or 0
    return total
