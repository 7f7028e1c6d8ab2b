"""The parts of a text folder in which knowledge is looked for, and their texts by row.

Invariant: a row counts over the Parquet files of its folder in the order of their names, here as in
everything that is made of a text folder.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.frequency.text.documents import Document

DOCUMENTS, ENGLISH, TARGET = "documents", "english", "target"
COLUMNS = {
    DOCUMENTS: ("documents", "text"),
    ENGLISH: ("pairs", "english"),
    TARGET: ("pairs", "target"),
}
"""Part -> its folder and its column there. The halves of pairs exist in target languages alone."""


def text_files(text_folder: Path, part: str) -> list[Path]:
    """The files that hold a part; none where a language has no such part."""
    return sorted((text_folder / COLUMNS[part][0]).glob("*.parquet"))


def read_documents(text_folder: Path, rows: Iterable[int]) -> dict[int, Document]:
    """The documents in some rows, each with its row."""
    return dict(read_texts(text_folder, DOCUMENTS, sorted(rows)))


def read_texts(text_folder: Path, part: str, rows: Sequence[int]) -> Iterator[tuple[int, Document]]:
    """The texts in some rows of a part, one row group in memory at a time.

    Args:
        rows: rising.

    Yields:
        row and text, in that order; the id of a half of a pair is the pair's.
    """
    column = COLUMNS[part][1]
    wanted = np.asarray(rows, np.int64)
    first = 0
    for path in text_files(text_folder, part):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            own = wanted[(wanted >= first) & (wanted < end)]
            if len(own):
                table = file.read_row_group(group, columns=["id", column])
                table = table.take(pa.array(own - first))
                for row, name, text in zip(own.tolist(), table["id"], table[column], strict=True):
                    yield row, Document(id=name.as_py(), text=text.as_py())
            first = end
