"""The steps that make streams: plan, pack and write their rows, finish their folders, check them.

Documents are packed into rows of one length, with the origin of every token; what is missing in a
row is padding. Invariants: every token of a tape stands in exactly one row, in order; the segments
of a row name exactly the bytes of documents that its tokens spell, and closing tokens and padding
belong to no segment. A stream does not depend on how the tasks were run; what is finished when a
driver is killed is not done again; the description of a stream is written last, so a folder that
has one is whole.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.packing.conditions import check_conditions
from ccx_ray.corpus.packing.heldout import check_held_out, held_out_numbers
from ccx_ray.corpus.packing.mixing import (
    ROW_GROUP_SIZE,
    PairOrder,
    StreamPlan,
    Tape,
    plan_base,
    plan_trial,
    rows_per_file,
)
from ccx_ray.corpus.packing.stream import DESCRIPTION, REPLAYED_DOCUMENTS, SEGMENT, row_file_path
from ccx_ray.corpus.parts import read_language
from ccx_ray.corpus.tokenizing.tokenizer import Vocabulary
from ccx_ray.corpus.tokenizing.tokens import (
    DOCUMENTS,
    PARTS,
    REPLAY,
    Excerpt,
    Ints,
    TokenCorpus,
    spans,
)
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_json, publish_link, writing_aside
from ccx_ray.study.spec import MixtureSpec

PARQUET_OF_ROWS: dict[str, Any] = {
    "compression": "lz4",
    "use_byte_stream_split": ["input_ids.list.element"],
    "use_dictionary": False,
    "write_statistics": False,
}
"""Ids whose bytes are told apart by significance compress as well by LZ4 as by zstd otherwise, and
are written at 340 MB/s instead of 210 on one core, and read at 840 instead of 600."""

SEGMENTS = pa.struct([(name, pa.int64()) for name in SEGMENT])


class PackedRows(NamedTuple):
    """Rows as arrays; the segments of all rows, in the order of rows and of their tokens."""

    input_ids: npt.NDArray[np.int32]
    """[rows, L]"""
    segment_row: Ints
    """[segments] index into these rows, rising."""
    segment_document: Ints
    segment_start: Ints
    """[segments] first byte of the document."""
    segment_length: Ints
    """[segments] bytes."""
    segment_tokens: Ints


def prepare_base_stream(
    tokens_folder: Path,
    tokenizer_folder: Path,
    folder: Path,
    *,
    sequence_length: int,
    seed: int,
    held_out: Path | None = None,
    planted: int = 0,
    rows: int = 0,
    run_tasks: RunTasks,
) -> dict[str, Any]:
    """Write the stream of the base model: every document once; see ``mixing``.

    Args:
        planted: how many of the last documents an intervention planted.
        rows: that the base consumes; where documents are planted the stream has as many.

    Raises:
        UserError: see ``mixing.plan_base``.
        HeldOutShownError: the written stream shows a held-out document.
    """
    corpus = TokenCorpus.open(tokens_folder, held_out=held_out_numbers(held_out), planted=planted)
    vocabulary = Vocabulary(tokenizer_folder)
    plan = plan_base(corpus, vocabulary, sequence_length=sequence_length, seed=seed, rows=rows)
    log = WorkLog(folder, "pack")
    counts = _write_streams({folder: plan}, corpus, vocabulary, log, run_tasks)[folder]
    if held_out is not None:
        check_held_out(folder, {read_language(tokens_folder): held_out})
    return counts


def prepare_trial_streams(
    tokens_folder: Path,
    replay_folder: Path | None,
    tokenizer_folder: Path,
    folder: Path,
    *,
    sequence_length: int,
    seed: int,
    rows: int,
    mixture: MixtureSpec,
    pair_order: PairOrder,
    deranged: bool = False,
    held_out: Path | None = None,
    replay_held_out: Path | None = None,
    planted: int = 0,
    replay_planted: int = 0,
    run_tasks: RunTasks,
) -> dict[str, Any]:
    """Write and check the streams of a language and seed: ``bridge`` and ``nobridge``, and where it
    is asked for ``deranged``.

    Args:
        planted, replay_planted: how many of the last documents of either folder an intervention
            planted.

    Returns:
        counts by condition, and the largest ``difference`` of their parallel tokens, which is 0.

    Raises:
        UserError: see ``mixing.plan_trial``.
        ConditionsDifferError: the written streams break an invariant; see ``conditions``.
        HeldOutShownError: one of them shows a held-out document.
    """
    corpus = TokenCorpus.open(
        tokens_folder,
        replay=replay_folder,
        held_out=held_out_numbers(held_out),
        replay_held_out=held_out_numbers(replay_held_out),
        planted=planted,
        replay_planted=replay_planted,
    )
    vocabulary = Vocabulary(tokenizer_folder)
    language = read_language(tokens_folder)
    plans = plan_trial(
        corpus,
        vocabulary,
        language=language,
        sequence_length=sequence_length,
        seed=seed,
        rows=rows,
        mixture=mixture,
        pair_order=pair_order,
        deranged=deranged,
    )
    folders = {condition: folder / condition for condition in plans}
    for stream_folder in folders.values():
        stream_folder.mkdir(exist_ok=True)
    log = WorkLog(folder, "pack")
    written = _write_streams(
        {folders[condition]: plan for condition, plan in plans.items()},
        corpus,
        vocabulary,
        log,
        run_tasks,
    )
    check_conditions(folders, corpus)
    forbidden = {language: held_out} if held_out is not None else {}
    if replay_folder is not None and replay_held_out is not None:
        forbidden[read_language(replay_folder)] = replay_held_out
    for stream_folder in folders.values():
        check_held_out(stream_folder, forbidden)
    counts = {stream_folder.name: count for stream_folder, count in written.items()}
    tokens = [count["parallel_tokens"] for count in counts.values()]
    return {**counts, "difference": max(tokens) - min(tokens)}


def _write_streams(
    plans: Mapping[Path, StreamPlan],
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    log: WorkLog,
    run_tasks: RunTasks,
) -> dict[Path, dict[str, Any]]:
    tasks = [(folder, number) for folder, plan in plans.items() for number in file_numbers(plan)]

    def write(task: int) -> dict[str, Any]:
        folder, number = tasks[task]
        return write_rows(plans[folder], corpus, vocabulary, folder, number)

    files: dict[Path, list[dict[str, Any]]] = {folder: [] for folder in plans}
    results = run_tasks(log, len(tasks), write)
    for (folder, _), file in zip(tasks, results, strict=True):
        files[folder].append(file)
    return {
        folder: finish_stream(plan, corpus, vocabulary, folder, files[folder])
        for folder, plan in plans.items()
    }


def file_numbers(plan: StreamPlan) -> range:
    """The files that a plan makes."""
    return range(-(-len(plan.order) // rows_per_file(plan.sequence_length)))


def write_rows(
    plan: StreamPlan, corpus: TokenCorpus, vocabulary: Vocabulary, folder: Path, number: int
) -> dict[str, Any]:
    """Write one file of rows; its content's hash and its token counts."""
    size, length = rows_per_file(plan.sequence_length), plan.sequence_length
    places = plan.order[number * size : (number + 1) * size]
    documents = [
        tape.documents[spans(*tape.units_of(rows))] for tape, rows, _ in _by_tape(plan, places)
    ]
    excerpt = corpus.read(np.concatenate(documents), vocabulary.byte_lengths)
    content = hashlib.sha256()
    counts: Counter[str] = Counter()
    schema = pa.schema(
        [
            pa.field("input_ids", pa.list_(pa.int32(), length)),
            pa.field("segments", pa.list_(SEGMENTS)),
        ]
    )
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


def _by_tape(plan: StreamPlan, places: Ints) -> Iterator[tuple[Tape, Ints, Ints]]:
    """(tape, rows of it, their positions among ``places``), of tapes that have any there."""
    first = 0
    for tape in plan.tapes:
        at = np.flatnonzero((places >= first) & (places < first + tape.rows))
        if len(at):
            yield tape, places[at] - first, at
        first += tape.rows


def _pack(plan: StreamPlan, places: Ints, excerpt: Excerpt, vocabulary: Vocabulary) -> PackedRows:
    """The rows of one row group, on whichever tape they stand."""
    input_ids = np.empty((len(places), plan.sequence_length), np.int32)
    segments = []
    for tape, rows, at in _by_tape(plan, places):
        packed = _pack_rows(tape, rows, excerpt, plan.sequence_length, vocabulary.pad_id)
        input_ids[at] = packed.input_ids
        segments.append(packed._replace(segment_row=at[packed.segment_row])[1:])
    columns = [np.concatenate(column) for column in zip(*segments, strict=True)]
    in_order = np.argsort(columns[0], kind="stable")
    return PackedRows(input_ids, *(column[in_order] for column in columns))


def _pack_rows(
    tape: Tape, rows: Ints, excerpt: Excerpt, sequence_length: int, pad_id: int
) -> PackedRows:
    """Some rows of a tape, in any order; the excerpt holds at least their documents."""
    first, units = tape.units_of(rows)
    row = np.repeat(np.arange(len(rows), dtype=np.int64), units)
    unit = spans(first, units)
    # Where each unit begins and ends on the tape, cut to its row; the last position of a unit is
    # that of its closing token.
    row_begins, row_ends = tape.bounds[rows][row], tape.bounds[rows + 1][row]
    ends, lengths = tape.ends[unit], tape.lengths[unit]
    begins = ends - lengths - 1
    from_position = np.maximum(begins, row_begins)
    to_position = np.minimum(ends - 1, row_ends)
    in_row = from_position - row_begins + row * sequence_length

    input_ids = np.full(len(rows) * sequence_length, pad_id, np.int32)
    closed = ends <= row_ends
    input_ids[in_row[closed] + (ends - 1 - from_position)[closed]] = tape.closings[unit[closed]]
    text = np.flatnonzero(to_position > from_position)
    sizes = (to_position - from_position)[text]
    known = np.searchsorted(excerpt.documents, tape.documents[unit[text]])
    source = excerpt.starts[known] + (from_position - begins)[text]
    input_ids[spans(in_row[text], sizes)] = excerpt.tokens[spans(source, sizes)]

    before = excerpt.bytes_before
    start_bytes, end_bytes = (before[at].astype(np.int64) for at in (source, source + sizes))
    return PackedRows(
        input_ids=input_ids.reshape(len(rows), sequence_length),
        segment_row=row[text],
        segment_document=tape.documents[unit[text]],
        segment_start=start_bytes - before[excerpt.starts[known]],
        segment_length=end_bytes - start_bytes,
        segment_tokens=sizes,
    )


def _table(packed: PackedRows, schema: pa.Schema) -> pa.Table:
    rows, length = packed.input_ids.shape
    offsets = np.searchsorted(packed.segment_row, np.arange(rows + 1)).astype(np.int32)
    fields = (packed.segment_document, packed.segment_start, packed.segment_length)
    segments = pa.StructArray.from_arrays([pa.array(f) for f in fields], fields=list(SEGMENTS))
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


def finish_stream(
    plan: StreamPlan,
    corpus: TokenCorpus,
    vocabulary: Vocabulary,
    folder: Path,
    files: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write what makes the rows a stream; its counts. ``write_rows`` returned ``files``."""
    tokens: Counter[str] = Counter()
    for file in files:
        tokens.update(file["counts"])
    publish_link(corpus.folder / DOCUMENTS, folder / DOCUMENTS)
    if corpus.replay is not None:
        publish_link(corpus.replay / DOCUMENTS, folder / REPLAYED_DOCUMENTS)
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
