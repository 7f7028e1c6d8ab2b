"""Evidence as a stream knows it: bytes of documents, where a judge points at characters.

Invariant: both count in the text as it stands in the corpus, isolated and in NFC, which is what the
tokens of a stream spell. A verdict without evidence stands for the whole text.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ccx_ray.corpus.packing.exposure import PartIds
from ccx_ray.frequency.text.text_parts import read_texts

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """For the questions of one culture, in one part of a text folder."""

    questions: Ints
    """[evidence] which question it is of."""
    documents: tuple[str, ...]
    """[evidence] ids."""
    starts: Ints
    """[evidence] in bytes."""
    lengths: Ints
    """[evidence] in bytes."""

    @classmethod
    def of(cls, rows: pa.Table, text_folder: Path, part: str) -> "Evidence":
        """Of rows of ``exhaustive.parquet``, or accepted ones of ``retrieved.parquet``.

        Args:
            rows: question, row (of the part), document, evidence_start, evidence_length.

        Raises:
            ValueError: the text folder has another text in such a row.
        """
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(rows["row"].to_pylist()):
            places[row].append(place)
        names = rows["document"].to_pylist()
        starts, lengths = (
            rows[name].to_numpy().astype(np.int64) for name in ("evidence_start", "evidence_length")
        )
        for row, document in read_texts(text_folder, part, sorted(places)):
            for place in places.pop(row):
                if names[place] != document.id:
                    raise ValueError(
                        f"{text_folder}: row {row} of {part} is {document.id!r}, and not "
                        f"{names[place]!r} as the evidence says"
                    )
                start, end = starts[place], starts[place] + lengths[place]
                if not lengths[place]:
                    start, end = 0, len(document.text)
                starts[place] = len(document.text[:start].encode())
                lengths[place] = len(document.text[start:end].encode())
        if places:
            raise ValueError(f"{text_folder}: {part} has no row {min(places)}")
        questions = rows["question"].to_numpy().astype(np.int64)
        return cls(questions=questions, documents=tuple(names), starts=starts, lengths=lengths)

    def numbers(self, index: Callable[[str], PartIds], part: str) -> Ints:
        """[evidence] the documents' numbers in a part of a stream; -1 of one that it lacks.

        Args:
            index: of the ids of a part of the stream; not asked for where there is no evidence.
        """
        if not self.documents:
            return np.zeros(0, np.int64)
        return index(part).find(self.documents)
