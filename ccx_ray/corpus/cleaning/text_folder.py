"""The text folder: ``documents``, ``pairs`` (of a target language) and ``rejected``.

Invariant: every record that is read stands in exactly one of the three, a rejected one with its
reason, its place and its text. Of equal texts, and of records with one id, the first in the order
of the sources is kept.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.cleaning.blocks import (
    DROPPED,
    read_block,
    read_repeated,
    write_repeated,
)
from ccx_ray.corpus.cleaning.duplicates import repetitions
from ccx_ray.corpus.cleaning.isolation import isolate_shard
from ccx_ray.corpus.cleaning.scripts import count_by_script
from ccx_ray.corpus.parts import write_language, write_part
from ccx_ray.corpus.reading.record import Shard
from ccx_ray.corpus.reading.sources import Kind, side_names, source_shards, text_sources
from ccx_ray.errors import UserError
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.study.text_spec import BaseLanguageSpec, CleaningSpec, LanguageSpec

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


def isolate_text(
    language: BaseLanguageSpec | LanguageSpec,
    root: Path,
    folder: Path,
    *,
    base: BaseLanguageSpec,
    cleaning: CleaningSpec,
    run_tasks: RunTasks,
) -> dict[str, Any]:
    """Read a language's raw text, isolate it, drop what is repeated.

    Writes ``documents``, ``pairs`` (of a target language) and ``rejected`` into ``folder``, each as
    Parquet parts. Each side of a pair is
    isolated as its language says. Two passes: the first isolates every shard into blocks; then the
    keys of all rows, and they alone, are compared; the second writes the parts.

    Args:
        root: folder that relative source paths start from.
        base: the base language, which the first halves of pairs are in.

    Returns:
        counts of records, bytes and characters in and out, rejected records by reason, and removed
        characters by script.

    Raises:
        UserError: a file cannot be read, or nothing of a field's files is left.
    """
    sources = text_sources(language, base)
    shards = [
        (source, shard)
        for source, field in sources
        for shard in source_shards(source.spec, sides=source.sides, root=root, field=field)
    ]
    log = WorkLog(folder, "isolate")
    blocks = log.scratch / "blocks"
    blocks.mkdir(parents=True, exist_ok=True)

    def isolate(number: int) -> dict[str, Any]:
        source, shard = shards[number]
        return isolate_shard(source, shard, cleaning, blocks, f"block-{number:05d}")

    isolated = run_tasks(log, len(shards), isolate)
    parts: list[Part] = []
    numbers: Counter[Kind] = Counter()
    for (source, shard), result in zip(shards, isolated, strict=True):
        for block in result["blocks"]:
            parts.append(
                Part(
                    kind=source.kind,
                    block=block["name"],
                    number=numbers[source.kind],
                    rejected_number=len(parts),
                    shard=shard,
                )
            )
            numbers[source.kind] += 1
    kinds: list[Kind] = ["documents"]
    if isinstance(language, LanguageSpec):
        kinds.append("pairs")
    for kind in kinds:
        names = [part.block for part in parts if part.kind == kind]
        similarity = cleaning.near_duplicates if kind == "documents" else None
        for name, table in zip(names, repetitions(blocks, names, similarity), strict=True):
            write_repeated(blocks, name, table)
    for name in (*kinds, "rejected"):
        (folder / name).mkdir(exist_ok=True)

    def write(number: int) -> dict[str, Any]:
        part = parts[number]
        return write_text_part(part, blocks, read_repeated(blocks, part.block), folder)

    written = run_tasks(WorkLog(folder, "write"), len(parts), write)
    write_language(folder, language.code, base.code)
    counts = text_counts(kinds, isolated, list(zip(parts, written, strict=True)))
    for source, field in sources:
        if not counts[source.kind]["kept"]:
            raise UserError(
                f"{field}: of {counts[source.kind]['read']} records none is left "
                f"({_reasons(counts[source.kind]['rejected'])}); give text with the fields "
                f"{' and '.join(source.sides)}"
            )
    return counts


def write_text_part(part: Part, blocks: Path, repeated: pa.Table, folder: Path) -> dict[str, Any]:
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
        parts: the parts with what ``write_text_part`` returned.
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


def _reasons(rejected: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in rejected.items()) or "none read"
