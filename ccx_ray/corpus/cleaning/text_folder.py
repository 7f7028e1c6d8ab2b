"""The text folder: ``documents``, ``pairs`` (of a target language) and ``rejected``.

Two passes. The first isolates every shard into blocks: uncompressed Arrow files of at most about
one part of text, one row a record or fault in the order of the file, with the keys of their rows
beside them. The keys alone are compared over all blocks; then the second pass writes the parts.

Invariants: every record that is read stands in exactly one of the three, a rejected one with its
reason, its place and its text. A block's content depends on its shard alone. Of equal texts, and of
records with one id in one source, the first in the order of the sources is kept.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.cleaning.duplicates import BlockOfRows, digests, keys_path, repetitions
from ccx_ray.corpus.cleaning.language_identification import isolate_language
from ccx_ray.corpus.cleaning.near_duplicates import signatures
from ccx_ray.corpus.cleaning.scripts import count_by_script, holds_letters, isolate
from ccx_ray.corpus.cleaning.yields import (
    FileYield,
    SourceYield,
    check_sources,
    warnings,
    write_yields,
)
from ccx_ray.corpus.parts import PART_BYTES, map_arrow, write_arrow, write_language, write_part
from ccx_ray.corpus.reading.jsonl import RawBatch
from ccx_ray.corpus.reading.record import Reason, Shard
from ccx_ray.corpus.reading.sources import (
    Kind,
    TextSource,
    numbers_ids_by_file,
    raw_batches,
    side_names,
    size_of,
    source_shards,
    text_sources,
)
from ccx_ray.errors import InputError
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import writing_aside
from ccx_ray.study.text_spec import BaseLanguageSpec, CleaningSpec, LanguageSpec

logger = logging.getLogger(__name__)

DOCUMENTS = pa.schema([(name, pa.string()) for name in ("id", "text", "source")])
PAIRS = pa.schema([(name, pa.string()) for name in ("id", "english", "target", "source")])
SCHEMAS: Mapping[Kind, pa.Schema] = {"documents": DOCUMENTS, "pairs": PAIRS}
REJECTED = pa.schema(
    [
        (name, pa.string())
        for name in ("id", "text", "source", "file", "position", "reason", "duplicate_of")
    ]
)
DROPPED = "dropped"
"""Column of a block with the lines in another language, where languages are told apart."""

NOTHING_LEFT = "nothing left after isolation"
"""One of its texts has no letter left."""
TOO_SHORT = "too short after isolation"
REMEDIES = {
    Reason.WINDOW: "compress it with a window of at most 2 GiB (zstd --long=31)",
    Reason.DICTIONARY: "compress it without a dictionary",
}
"""What to do about a broken file; for other reasons, give the whole file."""
ANOTHER_LANGUAGE = "in another language"
"""After language identification nothing is left, or too little."""


class Block(NamedTuple):
    """Some rows of a block, as they are made."""

    table: pa.Table
    """id, source, one column a side, position, reason and rejected (null where nothing is wrong so
    far; the raw text where something is), perhaps dropped."""
    keys: Mapping[str, npt.NDArray[Any]]
    """``texts``, ``ids``, and perhaps ``signatures``, of each row."""


class Part(NamedTuple):
    """One block of isolated text on its way to its part."""

    kind: Kind
    block: str
    number: int
    """Of the part among those of its kind; in ``rejected`` parts are counted through."""
    source: int
    """Number of its source."""
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
    Parquet parts. Each side of a pair is isolated as its language says.

    Args:
        root: folder that relative source paths start from.
        base: the base language, which the first halves of pairs are in.

    Returns:
        counts of records, bytes and characters in and out, rejected records by reason, removed
        characters by script, and warnings about files of which little is left.

    Raises:
        InputError: a file cannot be read, or nothing of a source is left.
    """
    sources = text_sources(language, base)
    shards = [
        (number, shard)
        for number, source in enumerate(sources)
        for shard in source_shards(source.spec, sides=source.sides, root=root, field=source.field)
    ]
    log = WorkLog(folder, "isolate")
    blocks = log.scratch / "blocks"
    blocks.mkdir(parents=True, exist_ok=True)

    def isolate_one(number: int) -> dict[str, Any]:
        source, shard = shards[number]
        return _isolate_shard(sources[source], shard, cleaning, blocks, f"block-{number:05d}")

    isolated = run_tasks(log, len(shards), isolate_one)
    parts: list[Part] = []
    numbers: Counter[Kind] = Counter()
    for (source, shard), result in zip(shards, isolated, strict=True):
        for block in result["blocks"]:
            kind = sources[source].kind
            parts.append(Part(kind, block, numbers[kind], source, shard))
            numbers[kind] += 1
    kinds: list[Kind] = ["documents"]
    if isinstance(language, LanguageSpec):
        kinds.append("pairs")
    for kind in kinds:
        own = _blocks_of_rows([part for part in parts if part.kind == kind], sources)
        similarity = cleaning.near_duplicates if kind == "documents" else None
        for block, table in zip(own, repetitions(blocks, own, similarity), strict=True):
            write_arrow(blocks / f"{block.name}.repeated.arrow", [table])
    for name in (*kinds, "rejected"):
        (folder / name).mkdir(exist_ok=True)

    def write(number: int) -> dict[str, Any]:
        return _write_text_part(parts[number], blocks, folder, number)

    written = run_tasks(WorkLog(folder, "write"), len(parts), write)
    write_language(folder, language.code, base.code)
    settled = list(zip(parts, written, strict=True))
    yields = _yields(sources, list(zip(shards, isolated, strict=True)), settled)
    check_sources(yields)
    write_yields(folder, yields)
    counts = _text_counts(kinds, isolated, settled)
    counts["warnings"] = warnings(yields)
    for line in counts["warnings"]:
        logger.warning("%s", line)
    return counts


def _blocks_of_rows(parts: Sequence[Part], sources: Sequence[TextSource]) -> list[BlockOfRows]:
    """The blocks of one kind with the scopes of their ids: the file of a dump or a translation
    memory, else the source."""
    scopes: dict[tuple[int, str], int] = {}
    named: dict[str, tuple[int, str]] = {}
    blocks = []
    for part in parts:
        file = part.shard.file
        by_file = numbers_ids_by_file(part.shard, sources[part.source].spec)
        scope = scopes.setdefault((part.source, file.uri if by_file else ""), len(scopes))
        name = file.name
        while named.setdefault(name, (part.source, file.uri)) != (part.source, file.uri):
            name += "+"  # a file of the same name in another source
        blocks.append(BlockOfRows(part.block, scope, name))
    return blocks


def _isolate_shard(
    source: TextSource, shard: Shard, cleaning: CleaningSpec, folder: Path, name: str
) -> dict[str, Any]:
    """Isolate the records of a shard into blocks.

    Returns:
        the kind, the blocks' names, bytes and characters read, and the characters removed.

    Raises:
        InputError: the file breaks off and the study says to stop there.
    """
    counts: Counter[str] = Counter()
    removed: Counter[str] = Counter()

    def isolated() -> Iterable[Block]:
        for batch in raw_batches(
            shard,
            source.spec,
            sides=source.sides,
            record_bytes=cleaning.record_megabytes * 2**20,
        ):
            for fault in batch.faults.values():
                if fault.reason in Reason.BREAKS and cleaning.broken_files == "stop":
                    remedy = REMEDIES.get(fault.reason, "give the whole file")
                    raise InputError(
                        f"{shard.file.uri}: {fault.reason} at {shard.place(fault.position)}; "
                        f"{remedy}, or keep the records before it with cleaning.broken_files=keep"
                    )
            yield _isolated(batch, source, cleaning, counts, removed)

    blocks = _write_blocks(folder, name, isolated())
    return {"kind": source.kind, "blocks": blocks, "counts": dict(counts), "removed": dict(removed)}


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
        counts["bytes_in"] += _total(pc.binary_length(raw))
        counts["characters_in"] += _total(pc.utf8_length(raw))
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
    minimum = cleaning.minimum_characters if source.kind == "documents" else 1
    reasons = dict.fromkeys(_rows(pc.less(pc.utf8_length(sides[0]), minimum)), TOO_SHORT)
    for text in sides:
        reasons |= dict.fromkeys(_rows(pc.invert(holds_letters(text))), NOTHING_LEFT)
    for text in dropped:
        lost = [row for row in _rows(pc.not_equal(text, "")) if row in reasons]
        reasons |= dict.fromkeys(lost, ANOTHER_LANGUAGE)
    reasons |= {row: fault.reason for row, fault in batch.faults.items()}
    rows = pa.array(sorted(reasons), pa.int64())
    as_read = zip(*(raw.take(rows).to_pylist() for raw in batch.texts), strict=True)
    rejected = dict(zip(sorted(reasons), map("\n".join, as_read), strict=True))
    rejected |= {row: fault.text for row, fault in batch.faults.items()}
    columns = {
        "id": batch.ids,
        "source": batch.sources,
        **dict(zip(side_names(source.kind), sides, strict=True)),
        "position": pa.array(batch.positions),
        "reason": _sparse(reasons, len(batch.ids)),
        "rejected": _sparse(rejected, len(batch.ids)),
    }
    if dropped:
        columns[DROPPED] = pc.binary_join_element_wise(*dropped, "\n")
    keys: dict[str, npt.NDArray[Any]] = {"texts": digests(sides), "ids": digests([batch.ids])}
    if source.kind == "documents" and cleaning.near_duplicates is not None:
        keys["signatures"] = signatures(sides[0].to_pylist())
    return Block(pa.table(columns), keys)


def _rows(chosen: pa.Array) -> list[int]:
    rows: list[int] = np.flatnonzero(chosen.to_numpy(zero_copy_only=False)).tolist()
    return rows


def _sparse(values: dict[int, str], length: int) -> pa.Array:
    """A string column that is null but for some rows."""
    column: list[str | None] = [None] * length
    for row, value in values.items():
        column[row] = value
    return pa.array(column, pa.string())


def _write_blocks(folder: Path, name: str, blocks: Iterable[Block]) -> list[str]:
    """Write the blocks of one shard one behind the other; their names."""
    written: list[str] = []
    waiting: list[Block] = []

    def flush() -> None:
        written.append(f"{name}-{len(written):05d}")
        write_arrow(folder / f"{written[-1]}.arrow", [block.table for block in waiting])
        for key in waiting[0].keys:
            with (
                writing_aside(keys_path(folder, written[-1], key)) as path,
                path.open("wb") as file,
            ):
                np.save(file, np.concatenate([block.keys[key] for block in waiting]))
        waiting.clear()

    for block in blocks:
        waiting.append(block)
        if sum(block.table.nbytes for block in waiting) >= PART_BYTES:
            flush()
    if waiting:
        flush()
    return written


def _write_text_part(part: Part, blocks: Path, folder: Path, through: int) -> dict[str, Any]:
    """Write one part of ``documents`` or ``pairs`` and its rejected rows, parts counted through;
    what it counted."""
    table = map_arrow(blocks / f"{part.block}.arrow")
    repeated = map_arrow(blocks / f"{part.block}.repeated.arrow")
    table = table.set_column(0, "id", pc.coalesce(repeated["name"], table["id"]))
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
    write_part(folder / "rejected", through, pa.table(columns, schema=REJECTED))
    counts = {"kept": kept.num_rows}
    if DROPPED in table.column_names:
        counts |= _write_dropped(table.filter(accepted), folder, through)
    for side in sides:
        counts[f"bytes_out_{side}"] = _total(pc.binary_length(kept[side]))
        counts[f"characters_out_{side}"] = _total(pc.utf8_length(kept[side]))
    rejections = dict(Counter(columns["reason"].to_pylist()))
    return {"counts": counts, "rejected": rejections, "first": places[0] if places else ""}


def _write_dropped(kept: pa.Table, folder: Path, through: int) -> dict[str, int]:
    """Keep the lines in another language that were taken out of texts that were kept."""
    (folder / "dropped").mkdir(exist_ok=True)
    touched = kept.filter(pc.not_equal(pc.utf8_trim_whitespace(kept[DROPPED]), ""))
    columns = {"id": touched["id"], "text": touched[DROPPED], "source": touched["source"]}
    write_part(folder / "dropped", through, pa.table(columns, schema=DOCUMENTS))
    return {
        "texts_with_dropped_lines": touched.num_rows,
        "characters_in_dropped_lines": _total(pc.utf8_length(touched[DROPPED])),
    }


def _yields(
    sources: Sequence[TextSource],
    shards: Sequence[tuple[tuple[int, Shard], Mapping[str, Any]]],
    parts: Sequence[tuple[Part, Mapping[str, Any]]],
) -> list[SourceYield]:
    """What every file gave, from what ``_isolate_shard`` and ``_write_text_part`` counted."""
    yields = [SourceYield(source=source) for source in sources]
    for (source, shard), result in shards:
        file = shard.file
        made = FileYield(name=file.name, bytes=size_of(file))
        found = yields[source].files.setdefault(file.uri, made)
        found.read += result["counts"].get("read", 0)
        found.text_bytes += result["counts"].get("bytes_in", 0)
    for part, settled in parts:
        found = yields[part.source].files[part.shard.file.uri]
        found.kept += settled["counts"]["kept"]
        found.rejected.update(settled["rejected"])
        found.first = found.first or settled["first"]
    return yields


def _text_counts(
    kinds: Sequence[Kind],
    shards: Sequence[Mapping[str, Any]],
    parts: Sequence[tuple[Part, Mapping[str, Any]]],
) -> dict[str, Any]:
    """What was read, kept and rejected, and the characters removed by script, from what
    ``_isolate_shard`` and ``_write_text_part`` counted."""
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


def _total(values: pa.Array | pa.ChunkedArray) -> int:
    total: int = pc.sum(values).as_py() or 0
    return total
