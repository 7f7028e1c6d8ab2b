"""Writing a stream folder: ``rows-*.parquet``, ``documents.parquet``, ``stream.json``.

Invariant: the description is written last, so a folder that has one is whole.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.packing.mixing import ROW_GROUP_SIZE, StreamPlan, rows_per_file
from ccx_ray.corpus.packing.rows import PackedRows, Tape, documents_in, pack_rows
from ccx_ray.corpus.packing.stream import DESCRIPTION, REPLAYED_DOCUMENTS, row_file_path
from ccx_ray.corpus.tokenizing.tokens import DOCUMENTS, REPLAY, Excerpt, Ints, TokenCorpus
from ccx_ray.corpus.tokenizing.vocabulary import Vocabulary
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.storage.publishing import publish_json, writing_aside

PARQUET_OF_ROWS: dict[str, Any] = {
    "compression": "lz4",
    "use_byte_stream_split": ["input_ids.list.element"],
    "use_dictionary": False,
    "write_statistics": False,
}
"""Ids whose bytes are told apart by significance compress as well by LZ4 as by zstd otherwise, and
are written at 340 MB/s instead of 210 on one core, and read at 840 instead of 600."""

SEGMENT = pa.struct([(name, pa.int64()) for name in ("document", "start", "length")])
PARTS = ("monolingual", "english", "target", REPLAY)


def rows_schema(sequence_length: int) -> pa.Schema:
    """The columns of ``rows-*.parquet``."""
    return pa.schema(
        [
            pa.field("input_ids", pa.list_(pa.int32(), sequence_length)),
            pa.field("segments", pa.list_(SEGMENT)),
        ]
    )


def file_numbers(plan: StreamPlan) -> range:
    """The files that a plan makes."""
    return range(-(-len(plan.order) // rows_per_file(plan.sequence_length)))


def write_rows(
    plan: StreamPlan, corpus: TokenCorpus, vocabulary: Vocabulary, folder: Path, number: int
) -> dict[str, Any]:
    """Write one file of rows; its content's hash and its token counts."""
    size = rows_per_file(plan.sequence_length)
    places = plan.order[number * size : (number + 1) * size]
    length = plan.sequence_length
    documents = [documents_in(tape, rows) for tape, rows, _ in _by_tape(plan, places) if len(rows)]
    excerpt = corpus.read(np.concatenate(documents), vocabulary.byte_lengths)
    content = hashlib.sha256()
    counts: Counter[str] = Counter()
    schema = rows_schema(length)
    with (
        writing_aside(row_file_path(folder, number)) as path,
        pq.ParquetWriter(path, schema, **PARQUET_OF_ROWS) as writer,
    ):
        for start in range(0, len(places), ROW_GROUP_SIZE):
            packed = _pack(plan, places[start : start + ROW_GROUP_SIZE], excerpt, vocabulary)
            for array in packed:
                content.update(array.tobytes())
            counts.update(_count_tokens(packed, corpus, vocabulary))
            writer.write_table(_table(packed, schema), row_group_size=ROW_GROUP_SIZE)
    return {"sha256": content.hexdigest(), "counts": dict(counts)}


def finish_stream(
    plan: StreamPlan,
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    folder: Path,
    files: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write what makes the rows a stream, and give its counts.

    Args:
        files: what ``write_rows`` returned, in the order of the files.
    """
    files = list(files)
    tokens: Counter[str] = Counter()
    for file in files:
        tokens.update(file["counts"])
    _link(corpus.folder / DOCUMENTS, folder / DOCUMENTS)
    if corpus.replay is not None:
        _link(corpus.replay / DOCUMENTS, folder / REPLAYED_DOCUMENTS)
    identity = {
        "rows": len(plan.order),
        "sequence_length": plan.sequence_length,
        "seed": plan.seed,
        "row_group_size": ROW_GROUP_SIZE,
        "eos_id": vocabulary.eos_id,
        "pad_id": vocabulary.pad_id,
        "vocabulary_size": vocabulary.size,
    }
    content = {**identity, "files": [file["sha256"] for file in files]}
    counts = {**plan.counts, "tokens": dict(tokens)}
    publish_json(
        folder / DESCRIPTION,
        {
            **identity,
            "rows_per_file": rows_per_file(plan.sequence_length),
            "fingerprint": fingerprint(content),
            "counts": counts,
        },
    )
    return {"rows": len(plan.order), **counts}


def _link(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no hard links."""
    with writing_aside(target) as path:
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)


def _by_tape(plan: StreamPlan, places: Ints) -> Iterator[tuple[Tape, Ints, Ints]]:
    """(tape, rows of it, their positions among ``places``)."""
    first = 0
    for tape in plan.tapes:
        size = tape.rows
        at = np.flatnonzero((places >= first) & (places < first + size))
        yield tape, places[at] - first, at
        first += size


def _pack(plan: StreamPlan, places: Ints, excerpt: Excerpt, vocabulary: Vocabulary) -> PackedRows:
    """The rows of one row group, on whichever tape they stand."""
    input_ids = np.empty((len(places), plan.sequence_length), np.int32)
    segments = []
    for tape, rows, at in _by_tape(plan, places):
        if len(rows):
            packed = pack_rows(
                tape,
                rows,
                excerpt,
                sequence_length=plan.sequence_length,
                pad_id=vocabulary.pad_id,
            )
            input_ids[at] = packed.input_ids
            segments.append(packed._replace(segment_row=at[packed.segment_row])[1:])
    columns = [np.concatenate(column) for column in zip(*segments, strict=True)]
    in_order = np.argsort(columns[0], kind="stable")
    return PackedRows(input_ids, *(column[in_order] for column in columns))


def _table(packed: PackedRows, schema: pa.Schema) -> pa.Table:
    rows, length = packed.input_ids.shape
    offsets = np.searchsorted(packed.segment_row, np.arange(rows + 1)).astype(np.int32)
    fields = (packed.segment_document, packed.segment_start, packed.segment_length)
    segments = pa.StructArray.from_arrays([pa.array(f) for f in fields], fields=list(SEGMENT))
    input_ids = pa.FixedSizeListArray.from_arrays(pa.array(packed.input_ids.ravel()), length)
    return pa.Table.from_arrays(
        [input_ids, pa.ListArray.from_arrays(pa.array(offsets), segments)], schema=schema
    )


def _count_tokens(
    packed: PackedRows, corpus: TokenCorpus, vocabulary: Vocabulary
) -> dict[str, int]:
    """Tokens by part of their document, and those that belong to no document."""
    document = packed.segment_document - corpus.monolingual
    part = np.where(document < 0, 0, 1 + document % 2)
    part[document >= 2 * corpus.pairs] = PARTS.index(REPLAY)
    text = np.bincount(part, weights=packed.segment_tokens, minlength=len(PARTS)).astype(int)
    ids = packed.input_ids
    padding, eos = (int((ids == i).sum()) for i in (vocabulary.pad_id, vocabulary.eos_id))
    return {
        **dict(zip(PARTS, text.tolist(), strict=True)),
        "end_of_text": eos,
        "separator": ids.size - int(text.sum()) - padding - eos,
        "padding": padding,
    }
