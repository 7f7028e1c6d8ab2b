"""What the numbers in a stream's segments mean, as one array that every task can map.

Made from the text and the tokens, not from the stream's plan, so that the audit of a stream does
not lean on what it audits.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.code_points import Hashes, Ints
from ccx_ray.corpus.audit.shared_texts import text_digests
from ccx_ray.corpus.packing.bridges import pair_groups
from ccx_ray.corpus.packing.stream import Stream

KINDS = ("monolingual", "english", "target", "replay")
ENGLISH, TARGET = 1, 2

HALF = np.dtype(
    [
        ("kind", np.int8),  # of KINDS
        ("pair", np.int64),  # -1 where the document is no half of a pair
        ("group", np.int64),  # pairs that share an English or a target text, directly or not
        ("tokens", np.int64),
        ("bytes", np.int64),  # of halves; 0 of other documents
    ]
)
Halves = npt.NDArray[np.void]


def pair_halves(stream: Path, pairs: Sequence[Path], token_lengths: Ints) -> Halves:
    """[documents] every document of a language's streams.

    Args:
        stream: one of its streams; all of them number documents alike.
        pairs: the parts of the language's pairs.
        token_lengths: [documents] tokens of each.

    Raises:
        ValueError: the stream's halves are not those of the text.
    """
    part = Stream.open(stream).documents()["part"]
    table = np.zeros(len(part), HALF)
    kinds = pc.index_in(part, pa.array(KINDS)).fill_null(0).to_numpy().astype(np.int8)
    table["kind"], table["pair"], table["group"] = kinds, -1, -1
    # Replayed documents, which come last, may have no length here; they are counted by tokens.
    known = min(len(table), len(token_lengths))
    table["tokens"][:known] = token_lengths[:known]
    sides = [_side(pairs, column) for column in ("english", "target")]
    groups = pair_groups(*(digests for digests, _ in sides))
    for kind, (digests, sizes) in zip((ENGLISH, TARGET), sides, strict=True):
        documents = np.flatnonzero(kinds == kind)
        if len(documents) != len(digests):
            raise ValueError(
                f"{stream}: {len(documents)} {KINDS[kind]} halves, {len(digests)} in the text"
            )
        table["pair"][documents] = np.arange(len(documents))
        table["group"][documents], table["bytes"][documents] = groups, sizes
    return table


def _side(pairs: Sequence[Path], column: str) -> tuple[Hashes, Ints]:
    """[pairs] digests and bytes of one side."""
    digests, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for part in pairs:
        for rows in pq.ParquetFile(part).iter_batches(columns=[column]):
            digests.append(text_digests(rows[column]))
            sizes.append(pc.binary_length(rows[column]).to_numpy().astype(np.int64))
    return np.concatenate(digests), np.concatenate(sizes)
