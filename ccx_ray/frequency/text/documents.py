"""The texts of a corpus by their rows: documents, and the halves of pairs; and their passages.

Invariants: a row counts over the Parquet files of its folder in the order of their names, here as
in everything that is made of a text folder; it does not depend on which range it is read with. The
passages of a document cover it without gap or overlap, so nothing is unsearchable.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.frequency.text.normalization import normalize, origins
from ccx_ray.frequency.text.terms import terms_of

DOCUMENTS, ENGLISH, TARGET = "documents", "english", "target"
COLUMNS = {
    DOCUMENTS: ("documents", "text"),
    ENGLISH: ("pairs", "english"),
    TARGET: ("pairs", "target"),
}
"""Part -> its folder and its column there. The halves of pairs exist in target languages alone."""
# A sentence ends at a line break, at the stops of the study's scripts, or at "." before a blank.
_SENTENCE_END = re.compile(r"\n+|[。！？；།༎༏༐༑᠃᠉]+\s*|[.!?]+['\")\]]*\s+")
_WORD_END = re.compile(r"\s+|\u0f0b")


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text in NFC, normalised once, with the way back to its own characters."""

    id: str
    """Of a half of a pair the pair's."""
    text: str

    @cached_property
    def normalized(self) -> str:
        return normalize(self.text)

    @cached_property
    def terms(self) -> frozenset[str]:
        return frozenset(terms_of(self.normalized))

    @cached_property
    def _origins(self) -> NDArray[np.int32]:
        return origins(self.text)

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Start and length in ``text`` of ``normalized[start:end]``."""
        first, last = int(self._origins[start]), int(self._origins[end - 1])
        return first, last + 1 - first


class RowGroup(NamedTuple):
    """Some consecutive rows of a part that lie together: ``first`` to ``end``, without the end."""

    file: Path
    number: int
    first: int
    end: int
    bytes: int
    """Of text, as Parquet counts them before compression."""


class CorpusRows:
    """The texts of a part of a text folder."""

    def __init__(self, text_folder: Path, part: str = DOCUMENTS) -> None:
        self._files = text_files(text_folder, part)
        self._column = COLUMNS[part][1]

    @cached_property
    def groups(self) -> list[RowGroup]:
        """All row groups, in order."""
        groups: list[RowGroup] = []
        end = 0
        for file in self._files:
            metadata = pq.read_metadata(file)
            text = metadata.schema.names.index(self._column)
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                first, end = end, end + group.num_rows
                size = group.column(text).total_uncompressed_size
                groups.append(RowGroup(file, number, first, end, size))
        return groups

    def texts(self, first: int, end: int) -> Iterator[tuple[int, str]]:
        """Row and text of the rows ``first`` to ``end``, without the end."""
        groups = [group for group in self.groups if group.end > first and group.first < end]
        for group, table in self._read(groups, [self._column]):
            begin = max(0, first - group.first)
            texts = table[self._column].slice(begin, min(end, group.end) - group.first - begin)
            yield from enumerate(texts.to_pylist(), group.first + begin)

    def documents(self, rows: Sequence[int]) -> Iterator[tuple[int, Document]]:
        """Row and text of some rows, which rise; one row group is in memory at a time."""
        wanted = np.asarray(rows, np.int64)
        ends = np.array([(group.first, group.end) for group in self.groups], np.int64)
        bounds = np.searchsorted(wanted, ends.reshape(-1, 2))
        own = {
            group: wanted[begin:stop]
            for group, (begin, stop) in zip(self.groups, bounds, strict=True)
            if stop > begin
        }
        for group, table in self._read(own, ["id", self._column]):
            chosen = table.take(pa.array(own[group] - group.first))
            found = (chosen[name].to_pylist() for name in ("id", self._column))
            for row, name, text in zip(own[group].tolist(), *found, strict=True):
                yield row, Document(id=name, text=text)

    @staticmethod
    def _read(
        groups: Iterable[RowGroup], columns: list[str]
    ) -> Iterator[tuple[RowGroup, pa.Table]]:
        """Each file is opened once."""
        for path, of_file in groupby(groups, lambda group: group.file):
            file = pq.ParquetFile(path)
            for group in of_file:
                yield group, file.read_row_group(group.number, columns=columns)


def text_files(text_folder: Path, part: str) -> list[Path]:
    """The files that hold a part; none where a language has no such part."""
    return sorted((text_folder / COLUMNS[part][0]).glob("*.parquet"))


def read_documents(text_folder: Path, rows: Iterable[int]) -> dict[int, Document]:
    """The documents in some rows, each with its row."""
    return dict(CorpusRows(text_folder).documents(sorted(rows)))


def cut_passages(text: str, limit: int) -> list[tuple[int, int]]:
    """Start and length of every passage, each at most ``limit`` characters.

    A cut falls after the last sentence that ends in the second half of the limit, else after the
    last word or syllable there, else, in a text without borders, at the limit itself.
    """
    passages = []
    start = 0
    while len(text) - start > limit:
        end = _last_border(text, start + limit // 2, start + limit)
        passages.append((start, end - start))
        start = end
    if start < len(text):
        passages.append((start, len(text) - start))
    return passages


def _last_border(text: str, earliest: int, latest: int) -> int:
    for border in (_SENTENCE_END, _WORD_END):
        ends = [match.end() for match in border.finditer(text, earliest, latest)]
        if ends:
            return ends[-1]
    return latest
