"""The documents of a corpus as this stage reads them: by row, normalised once.

Invariant: a document's number is its row over the Parquet parts of ``documents/`` in the order of
their names, in the text folder as in every folder that is made of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.normalization import normalize, origins
from ccx_ray.frequency.terms import terms_of

DOCUMENTS = "documents"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of a corpus, in NFC."""

    id: str
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


def document_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder's documents, in order."""
    return sorted((folder / DOCUMENTS).glob("*.parquet"))


def read_documents(folder: Path, rows: Sequence[int]) -> dict[int, Document]:
    """The documents in these rows of the corpus, each with its row."""
    import pyarrow.dataset as ds

    files = [str(path) for path in document_files(folder)]
    table = ds.dataset(files).take(rows, columns=["id", "text"]).to_pydict()
    fields = zip(rows, table["id"], table["text"], strict=True)
    return {row: Document(id=name, text=text) for row, name, text in fields}
