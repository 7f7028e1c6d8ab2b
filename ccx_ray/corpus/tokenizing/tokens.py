"""The tokens folder: the text folder's documents and pairs as token ids, part for part.

Documents have one number in everything that follows: first the monolingual ones in order, then the
English and the target half of each pair in turn, then, where they are replayed, the documents of
the base language. Invariants: that number depends on the text folders alone; the parts are
uncompressed Arrow files, mapped into memory, so that lengths are known without reading ids, and ids
are read document by document.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.parts import (
    map_arrow,
    one_array,
    part_files,
    read_language,
    write_arrow_part,
    write_language,
)
from ccx_ray.corpus.tokenizing.tokenizer import Encoder, open_encoder
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import writing_aside

logger = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]

COLUMNS = {
    "documents": {"text": "input_ids"},
    "pairs": {"english": "english_ids", "target": "target_ids"},
}
"""Kind of part -> column of text -> its column of token ids."""
BYTES = "_bytes"
"""Ending of the column that tells how many bytes each token spells, where it is needed."""

DOCUMENTS = "documents.parquet"
"""What the numbers of documents mean; see ``write_documents``."""
REPLAY = "replay"
"""Kind of the base language's documents in a trial's stream."""
PARTS = ("monolingual", "english", "target", REPLAY)
"""What a document can be in a stream."""


def write_documents(folder: Path) -> None:
    """Write ``documents.parquet``: index, id, language, source and part of every document, in the
    order of their numbers. Streams of these tokens link to it.

    Memory: one part's ids.
    """
    language = read_language(folder)
    rows_of = {
        "documents": [(language, "monolingual")],
        "pairs": [(read_language(folder, "base"), "english"), (language, "target")],
    }
    names = ("id", "language", "source", "part")
    schema = pa.schema([("index", pa.int64()), *((name, pa.string()) for name in names)])
    first = 0
    with (
        writing_aside(folder / DOCUMENTS) as path,
        pq.ParquetWriter(path, schema, compression="zstd") as writer,
    ):
        for kind, part in _part_paths(folder, None):
            table, rows = map_arrow(part), rows_of[kind]
            origin = pa.array(np.repeat(np.arange(table.num_rows), len(rows)))
            cycle = pa.array(np.tile(np.arange(len(rows)), table.num_rows))
            index = pa.array(np.arange(first, first + len(origin), dtype=np.int64))
            columns = {"index": index, **{n: table[n].take(origin) for n in ("id", "source")}}
            for name, position in (("language", 0), ("part", 1)):
                columns[name] = pa.array([row[position] for row in rows]).take(cycle)
            writer.write_table(pa.table(columns).select(schema.names))
            first += len(origin)


def tokenize_text(
    text_folder: Path, tokenizer_folder: Path, folder: Path, *, run_tasks: RunTasks
) -> dict[str, Any]:
    """Write the token ids of a text folder's documents and pairs; counts of documents, pairs, and
    tokens by column, and the parts that the fast tokenizer could not encode."""
    write_language(folder, read_language(text_folder), read_language(text_folder, "base"))
    parts = [
        (part, folder / kind, number)
        for kind in COLUMNS
        for number, part in enumerate(part_files(text_folder / kind))
    ]
    for _, target, _ in parts:
        target.mkdir(exist_ok=True)

    def tokenize(number: int) -> dict[str, Any]:
        return tokenize_part(parts[number][0], open_encoder(tokenizer_folder), *parts[number][1:])

    counts: Counter[str] = Counter()
    fallbacks: Counter[str] = Counter()
    log = WorkLog(folder, "tokenize")
    for result in run_tasks(log, len(parts), tokenize):
        if reason := result.pop("fallback"):
            fallbacks[reason] += 1
        counts.update(result)
    write_documents(folder)
    for reason, number in fallbacks.items():
        logger.warning("%d of %d parts were tokenized slowly: %s", number, len(parts), reason)
    return {**counts, "parts_tokenized_slowly": fallbacks.total()}


def tokenize_part(
    text_part: Path, encoder: Encoder, folder: Path, number: int
) -> dict[str, int | str]:
    """Write the tokens of one part of ``documents`` or ``pairs``; counts of rows and tokens."""
    kind = text_part.parent.name
    table = pq.read_table(text_part)
    columns = {name: table[name] for name in ("id", "source")}
    counts: dict[str, int | str] = {kind: table.num_rows}
    for text, name in COLUMNS[kind].items():
        texts = one_array(table[text])
        encoder.check(texts)
        encoded = encoder.encode(texts)
        columns[name] = encoded.ids
        if encoded.byte_lengths is not None:
            columns[name + BYTES] = encoded.byte_lengths
        counts[f"{text}_tokens"] = len(encoded.ids.values)
    write_arrow_part(folder, number, pa.table(columns))
    return {**counts, "fallback": encoder.fallback}


@dataclass(frozen=True, kw_only=True)
class TokenPart:
    """One file of token ids, and which documents it holds."""

    kind: str
    """``documents``, ``pairs`` or ``replay``."""
    path: Path
    first: int
    """Number of its first document."""
    rows: int

    @property
    def end(self) -> int:
        """Number behind its last document."""
        return self.first + self.rows * len(_id_columns(self.kind))


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The ids of some documents, one behind the other."""

    documents: Ints
    """Their numbers, rising."""
    starts: Ints
    """[documents]: where each begins in ``tokens``."""
    tokens: npt.NDArray[np.int32]
    bytes_before: npt.NDArray[np.int32]
    """[tokens + 1] bytes that the tokens before each spell; an excerpt is far below 2 GiB."""


@dataclass(frozen=True, kw_only=True)
class TokenCorpus:
    """A tokens folder as a planner sees it: how long every document is; the ids stay on disk."""

    folder: Path
    lengths: Ints
    """[documents], in tokens, by document number."""
    monolingual: int
    """How many of them are monolingual."""
    pairs: int
    """How many pairs follow."""
    parts: tuple[TokenPart, ...]
    """In the order of their documents' numbers."""
    replay: Path | None = None
    """The base language's tokens folder, whose documents come last."""
    held_out: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Numbers of the documents that no stream draws, of either folder."""
    planted: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Numbers of the documents that an intervention planted; they are the last monolingual ones."""
    replay_planted: int = 0
    """How many of the last replayed documents are planted; they are not replayed."""

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        replay: Path | None = None,
        held_out: Ints | None = None,
        replay_held_out: Ints | None = None,
        planted: int = 0,
        replay_planted: int = 0,
    ) -> "TokenCorpus":
        """Read the lengths of a tokens folder, and of the documents of another one behind it; the
        held-out documents of each are numbered within it, its planted ones are its last."""
        lengths = {kind: [np.zeros(0, np.int64)] for kind in (*COLUMNS, REPLAY)}
        parts, first = [], 0
        for kind, path in _part_paths(folder, replay):
            sides = [np.diff(column.offsets) for column in _columns(kind, path)]
            lengths[kind].append(np.stack(sides, axis=1).ravel())
            parts.append(TokenPart(kind=kind, path=path, first=first, rows=len(sides[0])))
            first += len(lengths[kind][-1])
        documents, halves, replayed = map(np.concatenate, lengths.values())
        none = np.zeros(0, np.int64)
        own, theirs = (none if n is None else n for n in (held_out, replay_held_out))
        assert own.max(initial=-1) < len(documents), "only monolingual documents are held out"
        assert theirs.max(initial=-1) < len(replayed), "only replayed documents are held out there"
        return cls(
            folder=folder,
            lengths=np.concatenate([documents, halves, replayed]),
            monolingual=len(documents),
            pairs=len(halves) // 2,
            parts=tuple(parts),
            replay=replay,
            held_out=np.concatenate([own, len(documents) + len(halves) + theirs]),
            planted=np.arange(len(documents) - planted, len(documents), dtype=np.int64),
            replay_planted=replay_planted,
        )

    @property
    def drawn(self) -> Ints:
        """The numbers of the monolingual documents that a stream draws from; those that are planted
        are shown once in any case, and not among them."""
        drawn = np.arange(self.monolingual - len(self.planted), dtype=np.int64)
        return np.setdiff1d(drawn, self.held_out)

    @property
    def replayed(self) -> Ints:
        """The numbers of the documents that can be replayed."""
        first, end = self.monolingual + 2 * self.pairs, len(self.lengths) - self.replay_planted
        return np.setdiff1d(np.arange(first, end, dtype=np.int64), self.held_out)

    def half(self, pairs: Ints, side: int | Ints) -> Ints:
        """Document numbers of the English (side 0) or target (side 1) halves of pairs."""
        return self.monolingual + 2 * pairs + side

    def half_keys(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """[pairs] digests of the English and of the target halves, by their ids."""
        keys = (bytearray(), bytearray())
        for part in self.parts:
            if part.kind == "pairs":
                for key, column in zip(keys, _columns(part.kind, part.path), strict=True):
                    for begin, end in pairwise(column.offsets.tolist()):
                        ids = column.tokens[begin:end].tobytes()
                        key.extend(blake2b(ids, digest_size=8).digest())
        english, target = (np.frombuffer(bytes(side), np.uint64) for side in keys)
        return english, target

    def read(self, documents: Ints, byte_lengths: npt.NDArray[np.uint16] | None) -> Excerpt:
        """The ids of some documents; memory holds them alone. Only parts that hold one of them are
        opened, one at a time. Of ``byte_lengths`` see ``Vocabulary``."""
        wanted = np.unique(documents)
        lengths = self.lengths[wanted]
        starts = np.cumsum(lengths) - lengths
        ids = np.empty(int(lengths.sum()), np.int32)
        sizes = np.empty_like(ids)
        for part in self.parts:
            first, last = np.searchsorted(wanted, (part.first, part.end))
            if first == last:
                continue
            columns = _columns(part.kind, part.path)
            row, side = np.divmod(wanted[first:last] - part.first, len(columns))
            for number, column in enumerate(columns):
                here = np.flatnonzero(side == number)
                begins = column.offsets[row[here]]
                spans_of = zip(
                    starts[first + here].tolist(),
                    begins.tolist(),
                    lengths[first + here].tolist(),
                    strict=True,
                )
                # A slice a document: three times as fast as one gather over all tokens.
                for to, begin, length in spans_of:
                    ids[to : to + length] = column.tokens[begin : begin + length]
                    if column.byte_lengths is not None:
                        sizes[to : to + length] = column.byte_lengths[begin : begin + length]
        if byte_lengths is not None:
            sizes = byte_lengths[ids].astype(np.int32)
        bytes_before = np.zeros(len(ids) + 1, np.int32)
        np.cumsum(sizes, out=bytes_before[1:], dtype=np.int32)
        return Excerpt(documents=wanted, starts=starts, tokens=ids, bytes_before=bytes_before)


def spans(starts: Ints, lengths: Ints) -> Ints:
    """The positions of several spans, one behind the other."""
    ends = np.cumsum(lengths)
    shift = np.repeat(starts - ends + lengths, lengths)
    shift += np.arange(len(shift), dtype=np.int64)
    return shift


class _Column(NamedTuple):
    """The ids of one side of one part, mapped into memory."""

    offsets: Ints
    """[rows + 1] where each row begins in ``tokens``."""
    tokens: npt.NDArray[np.int32]
    byte_lengths: npt.NDArray[np.int32] | None


def _part_paths(folder: Path, replay: Path | None) -> Iterator[tuple[str, Path]]:
    """Kind and path of every part in the order of the documents' numbers."""
    for kind in COLUMNS:
        for path in part_files(folder / kind, "arrow"):
            yield kind, path
    if replay is not None:
        for path in part_files(replay / "documents", "arrow"):
            yield REPLAY, path


def _id_columns(kind: str) -> list[str]:
    return list(COLUMNS["documents" if kind == REPLAY else kind].values())


def _columns(kind: str, path: Path) -> list[_Column]:
    """The sides of one part; the file stays open as long as they are referred to."""
    table = map_arrow(path)
    columns = []
    for name in _id_columns(kind):
        ids, spelt = one_array(table[name]), None
        if name + BYTES in table.column_names:
            spelt = one_array(table[name + BYTES]).values.to_numpy()
        offsets = ids.offsets.to_numpy().astype(np.int64)
        columns.append(_Column(offsets, ids.values.to_numpy(), spelt))
    return columns
