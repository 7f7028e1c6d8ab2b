"""Evidence in bytes of documents, as streams count, where a judge points at characters.

Invariant: both count in the text as it stands in the corpus, isolated and in NFC, which is what the
tokens of a stream spell. A verdict without evidence stands for the whole text.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from ccx_ray.frequency.text.documents import CorpusRows

EVIDENCE = pa.schema(
    [
        ("question", pa.int64()),
        ("document", pa.string()),
        ("start", pa.int64()),
        ("length", pa.int64()),
    ]
)
"""Of the questions of one culture in one part of a text folder; start and length in bytes."""


def evidence_bytes(rows: pa.Table, text_folder: Path, part: str) -> pa.Table:
    """``EVIDENCE`` of rows of ``exhaustive.parquet``, or accepted ones of ``retrieved.parquet``.

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
    for row, document in CorpusRows(text_folder, part).documents(sorted(places)):
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
    columns = [rows["question"].cast(pa.int64()), names, starts, lengths]
    return pa.table(dict(zip(EVIDENCE.names, columns, strict=True)), schema=EVIDENCE)
