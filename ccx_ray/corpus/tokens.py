"""The tokens folder: the text folder's documents and pairs as token ids, part for part.

Documents have one number in everything that follows: first the monolingual ones in order, then the
English and the target half of each pair in turn. Invariant: that number depends on the text folder
alone.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.parts import part_files, write_part
from ccx_ray.corpus.tokenizer import Encoder
from ccx_ray.storage import publish_json

Ints = npt.NDArray[np.int64]

COLUMNS = {
    "documents": {"text": "input_ids"},
    "pairs": {"english": "english_ids", "target": "target_ids"},
}
"""Kind of part -> column of text -> its column of token ids."""

ENGLISH = "en"


def write_language(folder: Path, code: str) -> None:
    """Note whose text a text folder or a tokens folder holds."""
    publish_json(folder / "language.json", {"language": code})


def read_language(folder: Path) -> str:
    """The language code of a text folder or a tokens folder."""
    code: str = json.loads((folder / "language.json").read_text("utf-8"))["language"]
    return code


def tokenize_part(text_part: Path, encoder: Encoder, folder: Path, number: int) -> dict[str, int]:
    """Write the tokens of one part of ``documents`` or ``pairs``; counts of rows and tokens."""
    kind = text_part.parent.name
    table = pq.read_table(text_part)
    columns = {name: table[name] for name in ("id", "source")}
    for text, ids in COLUMNS[kind].items():
        columns[ids] = pa.chunked_array([encoder.encode(table[text].to_pylist())])
    write_part(folder, number, pa.table(columns))
    sizes = {f"{text}_tokens": columns[ids] for text, ids in COLUMNS[kind].items()}
    return {kind: table.num_rows, **{k: len(pc.list_flatten(v)) for k, v in sizes.items()}}


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The ids of some documents, one behind the other."""

    documents: Ints
    """Their numbers, rising."""
    starts: Ints
    """[documents]: where each begins in ``tokens``."""
    tokens: npt.NDArray[np.int32]
    bytes_before: Ints
    """[tokens + 1] bytes that the tokens before each spell."""


@dataclass(frozen=True, kw_only=True)
class TokenCorpus:
    """A tokens folder as a planner sees it: how long every document is; the ids stay on disk."""

    folder: Path
    lengths: Ints
    """[documents], in tokens, by document number."""
    monolingual: int
    """How many of them are monolingual."""

    @property
    def pairs(self) -> int:
        return (len(self.lengths) - self.monolingual) // 2

    @classmethod
    def open(cls, folder: Path) -> "TokenCorpus":
        """Read the lengths of a tokens folder."""
        lengths = {kind: [np.zeros(0, np.int64)] for kind in COLUMNS}
        for kind, block in _blocks(folder):
            lengths[kind].append(block.lengths)
        documents, halves = (np.concatenate(lengths[kind]) for kind in COLUMNS)
        return cls(
            folder=folder,
            lengths=np.concatenate([documents, halves]),
            monolingual=len(documents),
        )

    def half(self, pairs: Ints, side: int | Ints) -> Ints:
        """Document numbers of the English (side 0) or target (side 1) halves of pairs."""
        return self.monolingual + 2 * pairs + side

    def half_keys(self) -> list[bytes]:
        """The ids of every half as bytes, pair by pair: equal keys mean equal text."""
        return [
            block.tokens[start : start + length].tobytes()
            for kind, block in _blocks(self.folder)
            if kind == "pairs"
            for start, length in zip(block.starts, block.lengths, strict=True)
        ]

    def read(self, documents: Ints, byte_lengths: Ints) -> Excerpt:
        """The ids of some documents; memory holds them and one part at a time.

        Args:
            byte_lengths: [vocabulary] bytes that each token spells.
        """
        wanted = np.unique(documents)
        found, first = [np.zeros(0, np.int32)], 0
        for _, block in _blocks(self.folder):
            here = wanted[(wanted >= first) & (wanted < first + len(block.lengths))] - first
            found.append(block.tokens[spans(block.starts[here], block.lengths[here])])
            first += len(block.lengths)
        lengths, tokens = self.lengths[wanted], np.concatenate(found)
        return Excerpt(
            documents=wanted,
            starts=np.cumsum(lengths) - lengths,
            tokens=tokens,
            bytes_before=np.concatenate([[0], np.cumsum(byte_lengths[tokens])]),
        )

    def table(self) -> pa.Table:
        """One row a document in the order of their numbers: index, id, language, source, part."""
        language = read_language(self.folder)
        sides = {
            "documents": [(language, "monolingual")],
            "pairs": [(ENGLISH, "english"), (language, "target")],
        }
        columns: dict[str, list[str]] = {"id": [], "language": [], "source": [], "part": []}
        for kind, rows in sides.items():
            for part in part_files(self.folder / kind):
                table = pq.read_table(part, columns=["id", "source"])
                for name in ("id", "source"):
                    columns[name] += [value for value in table[name].to_pylist() for _ in rows]
                columns["language"] += [code for code, _ in rows] * table.num_rows
                columns["part"] += [part_name for _, part_name in rows] * table.num_rows
        index = pa.array(np.arange(len(columns["id"]), dtype=np.int64))
        return pa.table({"index": index, **columns})


def spans(starts: Ints, lengths: Ints) -> Ints:
    """The positions of several spans, one behind the other."""
    ends = np.cumsum(lengths)
    shift = np.repeat(starts - ends + lengths, lengths)
    return np.arange(len(shift), dtype=np.int64) + shift


@dataclass(frozen=True, kw_only=True)
class _Block:
    """One part: all its tokens, and the span of every document in the order of their numbers."""

    tokens: npt.NDArray[np.int32]
    starts: Ints
    lengths: Ints


def _blocks(folder: Path) -> Iterator[tuple[str, _Block]]:
    for kind, names in COLUMNS.items():
        for part in part_files(folder / kind):
            table = pq.read_table(part, columns=list(names.values()))
            starts, lengths, tokens, first = [], [], [], 0
            for name in names.values():
                ids = pc.list_flatten(table[name]).to_numpy()
                length = pc.list_value_length(table[name]).to_numpy().astype(np.int64)
                starts.append(first + np.cumsum(length) - length)
                lengths.append(length)
                tokens.append(ids)
                first += len(ids)
            yield (
                kind,
                _Block(
                    tokens=np.concatenate(tokens).astype(np.int32, copy=False),
                    starts=np.stack(starts, axis=1).ravel(),
                    lengths=np.stack(lengths, axis=1).ravel(),
                ),
            )
