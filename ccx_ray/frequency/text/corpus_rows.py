"""The texts of a range of a corpus's rows, read row group by row group.

Invariant: a row's number does not depend on which range it is read with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ccx_ray.frequency.text.text_parts import DOCUMENTS, text_files


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """Some consecutive rows of a corpus that lie together."""

    file: int
    number: int
    first: int
    rows: int
    bytes: int
    """Of text, as Parquet counts them before compression."""

    @property
    def end(self) -> int:
        return self.first + self.rows


class CorpusRows:
    """The documents of a text folder by their rows."""

    def __init__(self, text_folder: Path) -> None:
        self._files = text_files(text_folder, DOCUMENTS)

    @cached_property
    def groups(self) -> list[RowGroup]:
        """All row groups, in order."""
        import pyarrow.parquet as pq

        groups: list[RowGroup] = []
        first = 0
        for file, path in enumerate(self._files):
            metadata = pq.read_metadata(path)
            text = metadata.schema.names.index("text")
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                size = group.column(text).total_uncompressed_size
                rows = group.num_rows
                groups.append(
                    RowGroup(file=file, number=number, first=first, rows=rows, bytes=size)
                )
                first += rows
        return groups

    @property
    def documents(self) -> int:
        return sum(group.rows for group in self.groups)

    def texts(self, first: int, end: int) -> Iterator[tuple[int, str]]:
        """Row and text of the documents ``first`` to ``end``, without the end."""
        import pyarrow.parquet as pq

        opened: dict[int, Any] = {}
        for group in self.groups:
            if group.end <= first or group.first >= end:
                continue
            if group.file not in opened:
                opened = {group.file: pq.ParquetFile(self._files[group.file])}
            texts = opened[group.file].read_row_group(group.number, columns=["text"])["text"]
            begin = max(0, first - group.first)
            wanted = texts.slice(begin, min(end, group.end) - group.first - begin)
            yield from enumerate(wanted.to_pylist(), group.first + begin)
