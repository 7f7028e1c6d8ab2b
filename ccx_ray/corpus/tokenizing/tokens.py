"""The tokens folder: the text folder's documents and pairs as token ids, part for part.

Documents have one number in everything that follows: first the monolingual ones in order, then the
English and the target half of each pair in turn, then, where they are replayed, the documents of
the base language. Invariants: that number depends on the text folders alone; the parts are
uncompressed Arrow files, mapped into memory, so that lengths are known without reading ids, and ids
are read document by document.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.parts import part_files, write_arrow_part
from ccx_ray.corpus.reading.text_sources import ENGLISH
from ccx_ray.corpus.tokenizing.encoding import Encoder
from ccx_ray.storage.publishing import publish_json

Ints = npt.NDArray[np.int64]

COLUMNS = {
    "documents": {"text": "input_ids"},
    "pairs": {"english": "english_ids", "target": "target_ids"},
}
"""Kind of part -> column of text -> its column of token ids."""
BYTES = "_bytes"
"""Ending of the column that tells how many bytes each token spells, where it is needed."""

REPLAY = "replay"
"""Kind of the base language's documents in a trial's stream."""


def write_language(folder: Path, code: str) -> None:
    """Note whose text a text folder or a tokens folder holds."""
    publish_json(folder / "language.json", {"language": code})


def read_language(folder: Path) -> str:
    """The language code of a text folder or a tokens folder."""
    code: str = json.loads((folder / "language.json").read_text("utf-8"))["language"]
    return code


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
    replay: Path | None = None
    """The base language's tokens folder, whose documents come last."""
    held_out: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Numbers of the documents that no stream draws, of either folder."""

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        replay: Path | None = None,
        held_out: Ints | None = None,
        replay_held_out: Ints | None = None,
    ) -> "TokenCorpus":
        """Read the lengths of a tokens folder, and of the documents of another one behind it.

        Args:
            held_out: numbers of the folder's held-out documents; ``replay_held_out`` those of the
                other one, counted in it.
        """
        lengths = {kind: [np.zeros(0, np.int64)] for kind in (*COLUMNS, REPLAY)}
        for column in _columns(folder, replay):
            sizes = np.diff(column.offsets)
            if column.side == 0:
                lengths[column.kind].append(np.empty(len(sizes) * column.sides, np.int64))
            lengths[column.kind][-1][column.side :: column.sides] = sizes
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
            replay=replay,
            held_out=np.concatenate([own, len(documents) + len(halves) + theirs]),
        )

    @property
    def drawn(self) -> Ints:
        """The numbers of the monolingual documents that a stream may show."""
        return np.setdiff1d(np.arange(self.monolingual, dtype=np.int64), self.held_out)

    @property
    def replayed(self) -> Ints:
        """The numbers of the documents that can be replayed."""
        first = self.monolingual + 2 * self.pairs
        return np.setdiff1d(np.arange(first, len(self.lengths), dtype=np.int64), self.held_out)

    def half(self, pairs: Ints, side: int | Ints) -> Ints:
        """Document numbers of the English (side 0) or target (side 1) halves of pairs."""
        return self.monolingual + 2 * pairs + side

    def half_keys(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """[pairs] digests of the English and of the target halves, by their ids."""
        keys = (bytearray(), bytearray())
        for column in _columns(self.folder, None):
            if column.kind == "pairs":
                for begin, end in pairwise(column.offsets.tolist()):
                    ids = column.tokens[begin:end].tobytes()
                    keys[column.side].extend(blake2b(ids, digest_size=8).digest())
        english, target = (np.frombuffer(bytes(side), np.uint64) for side in keys)
        return english, target

    def read(self, documents: Ints, byte_lengths: npt.NDArray[np.uint16] | None) -> Excerpt:
        """The ids of some documents; memory holds them alone.

        Args:
            byte_lengths: [vocabulary] bytes that each token spells; None where the folder notes
                them token by token.
        """
        wanted = np.unique(documents)
        lengths = self.lengths[wanted]
        tokens = [np.zeros(0, np.int32)] * (len(wanted) + 1)
        spelt = [np.zeros(0, np.int32)] * (len(wanted) + 1)
        for column in _columns(self.folder, self.replay):
            numbers = self._numbers(column)
            first, last = np.searchsorted(wanted, (numbers.start, numbers.stop))
            here = np.arange(first, last)
            here = here[(wanted[here] - numbers.start) % numbers.step == 0]
            begins = column.offsets[(wanted[here] - numbers.start) // numbers.step]
            # A slice a document: three times as fast as one gather over all tokens.
            bounds = zip(here.tolist(), begins.tolist(), lengths[here].tolist(), strict=True)
            for place, begin, length in bounds:
                tokens[place] = column.tokens[begin : begin + length]
                if column.byte_lengths is not None:
                    spelt[place] = column.byte_lengths[begin : begin + length]
        ids = np.concatenate(tokens)
        sizes = np.concatenate(spelt) if byte_lengths is None else byte_lengths[ids]
        bytes_before = np.zeros(len(ids) + 1, np.int32)
        np.cumsum(sizes, out=bytes_before[1:], dtype=np.int32)
        return Excerpt(
            documents=wanted,
            starts=np.cumsum(lengths) - lengths,
            tokens=ids,
            bytes_before=bytes_before,
        )

    def table(self) -> pa.Table:
        """One row a document in the order of their numbers: index, id, language, source, part."""
        language = read_language(self.folder)
        folders = [
            (self.folder / "documents", [(language, "monolingual")]),
            (self.folder / "pairs", [(ENGLISH, "english"), (language, "target")]),
        ]
        if self.replay is not None:
            folders.append((self.replay / "documents", [(read_language(self.replay), REPLAY)]))
        schema = pa.schema([(n, pa.string()) for n in ("id", "language", "source", "part")])
        tables = [schema.empty_table()]
        for folder, rows in folders:
            for part in part_files(folder, "arrow"):
                table = _open(part)
                origin = pa.array(np.repeat(np.arange(table.num_rows), len(rows)))
                cycle = pa.array(np.tile(np.arange(len(rows)), table.num_rows))
                columns = {name: table[name].take(origin) for name in ("id", "source")}
                for name, position in (("language", 0), ("part", 1)):
                    columns[name] = pa.array([row[position] for row in rows]).take(cycle)
                tables.append(pa.table(columns).select(schema.names))
        whole = pa.concat_tables(tables)
        index = pa.array(np.arange(whole.num_rows, dtype=np.int64))
        return whole.add_column(0, "index", index)

    def _numbers(self, column: "_Column") -> range:
        """The document numbers of a column's rows."""
        begin = self._firsts[column.kind, column.part] + column.side
        rows = len(column.offsets) - 1
        return range(begin, begin + rows * column.sides, column.sides)

    @cached_property
    def _firsts(self) -> dict[tuple[str, int], int]:
        """(kind, part) -> number of its first document."""
        firsts, next_number = {}, 0
        for column in _columns(self.folder, self.replay):
            if column.side == 0:
                firsts[column.kind, column.part] = next_number
                next_number += (len(column.offsets) - 1) * column.sides
        return firsts


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; Arrow gives a chunked one back where there is not one chunk."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def spans(starts: Ints, lengths: Ints) -> Ints:
    """The positions of several spans, one behind the other."""
    ends = np.cumsum(lengths)
    shift = np.repeat(starts - ends + lengths, lengths)
    shift += np.arange(len(shift), dtype=np.int64)
    return shift


@dataclass(frozen=True, kw_only=True)
class _Column:
    """The ids of one side of one part, mapped into memory."""

    kind: str
    part: int
    side: int
    sides: int
    offsets: Ints
    """[rows + 1] where each row begins in ``tokens``."""
    tokens: npt.NDArray[np.int32]
    byte_lengths: npt.NDArray[np.int32] | None


def _columns(folder: Path, replay: Path | None) -> Iterator[_Column]:
    places = [(kind, folder / kind, names) for kind, names in COLUMNS.items()]
    if replay is not None:
        places.append((REPLAY, replay / "documents", COLUMNS["documents"]))
    for kind, parts, names in places:
        for part, path in enumerate(part_files(parts, "arrow")):
            table = _open(path)
            for side, name in enumerate(names.values()):
                ids = one_array(table[name])
                spelt = name + BYTES
                yield _Column(
                    kind=kind,
                    part=part,
                    side=side,
                    sides=len(names),
                    offsets=ids.offsets.to_numpy().astype(np.int64),
                    tokens=ids.values.to_numpy(),
                    byte_lengths=(
                        one_array(table[spelt]).values.to_numpy()
                        if spelt in table.column_names
                        else None
                    ),
                )


def _open(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
