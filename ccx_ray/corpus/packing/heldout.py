"""Held-out documents: which ones no training stream may show, and the check that none does.

They are chosen by a seeded digest of their id and text, so the choice does not depend on how the
files are split or ordered, and moves little when documents are added. A document whose text also
stands as a half of a parallel pair is not eligible, because the pairs would show it; halves of all
languages count against the base language's documents, whichever of them are trained.

Invariants: a held-out document keeps its number in everything that follows and is merely never
drawn; what is held out is never more than the share and never more than the cap. The check reads
the written streams and knows nothing of how they were made.

Texts are read a row group at a time. Measured on one core: 2,000,000 documents of 800 characters
and as many pairs took 15 s and 0.3 GB.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.cleaning.duplicates import digests
from ccx_ray.corpus.packing.stream import ROW_FILES, Stream
from ccx_ray.corpus.parts import read_batches, read_language
from ccx_ray.corpus.tokenizing.tokens import REPLAY, Ints
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import HeldOutSpec

HELD_OUT = "heldout.parquet"
SCHEMA = pa.schema(
    [
        ("document", pa.int64()),  # its place among the documents of the text folder
        ("id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
    ]
)
SIDES = ("english", "target")

Keys = npt.NDArray[np.uint64]


class HeldOutShownError(Exception):
    """A stream shows a held-out document, or does not know it; a defect of the program."""


def hold_out(
    text_folder: Path, pairs_of: Sequence[Path], spec: HeldOutSpec, folder: Path
) -> dict[str, Any]:
    """Choose the held-out documents of a language and write them to ``heldout.parquet``.

    Documents are taken in the order of their digests, each that still fits.

    Args:
        pairs_of: text folders whose pairs are shown to models that are tested on these documents.

    Returns:
        counts of documents, characters and bytes held out; of all documents and their characters;
        of those ``also_in_pairs`` and, among the others, ``longer_than_limit``.

    Raises:
        UserError: no document is short enough.
    """
    order, texts, characters = _candidates(text_folder, spec.seed)
    total = int(characters.sum())
    limit = min(int(spec.share * total), spec.characters)
    in_pairs = np.isin(texts, _halves(pairs_of))
    eligible = np.flatnonzero(~in_pairs & (characters <= limit))
    chosen = np.sort(fitting(eligible[np.argsort(order[eligible])], characters, limit))
    counts = {
        "of_documents": len(order),
        "of_characters": total,
        "limit": limit,
        "also_in_pairs": int(in_pairs.sum()),
        "longer_than_limit": int((~in_pairs & (characters > limit)).sum()),
    }
    if not len(chosen):
        raise UserError(
            f"held_out.share: {spec.share} of {read_language(text_folder)} is {limit} characters, "
            f"but all of its {len(order)} documents are longer or in pairs "
            f"({counts['also_in_pairs']} are in pairs); raise share and characters, or give 0"
        )
    table = _rows(text_folder, chosen)
    pq.write_table(table, folder / HELD_OUT, compression="zstd")
    return {
        "documents": table.num_rows,
        "characters": int(characters[chosen].sum()),
        "bytes": pc.sum(pc.binary_length(table["text"])).as_py(),
        **counts,
    }


def held_out_numbers(file: Path | None) -> Ints:
    """Numbers of the held-out documents in a ``heldout.parquet``; none where there is no file."""
    if file is None:
        return np.zeros(0, np.int64)
    numbers: Ints = pq.read_table(file, columns=["document"])["document"].to_numpy()
    return numbers


def check_held_out(stream_folder: Path, held_out: Mapping[str, Path]) -> None:
    """Check on what was written that a stream shows no held-out document.

    Args:
        held_out: language -> its ``heldout.parquet``, of every language whose monolingual
            documents the stream draws from.

    Raises:
        HeldOutShownError: a row holds a byte of one; or the stream's list of documents lacks one,
            so that their numbers cannot be trusted.
    """
    forbidden = _numbers_in_stream(stream_folder, held_out)
    for path in sorted(stream_folder.glob(ROW_FILES)):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["segments.list.element.document"]):
                shown = pc.struct_field(pc.list_flatten(batch.column(0)), "document").to_numpy()
                met = forbidden[np.isin(forbidden, shown)]
                if len(met):
                    raise HeldOutShownError(f"{path.name}: shows held-out document {met[0]}")


def _candidates(text_folder: Path, seed: int) -> tuple[Keys, Keys, Ints]:
    """Of all documents by their numbers: what decides who comes first; digests of the texts (of two
    texts with one digest, one in 2**64, the second could only be kept from being held out); and
    characters."""
    order, text, characters = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], [np.zeros(0, int)]
    for batch in read_batches(text_folder / "documents", ["id", "text"]):
        names, texts = batch.columns
        seeds = pa.array([str(seed)] * len(texts), pa.string())
        order.append(digests([seeds, names, texts])[:, 0])
        text.append(digests([texts])[:, 0])
        characters.append(pc.utf8_length(texts).to_numpy().astype(np.int64))
    return np.concatenate(order), np.concatenate(text), np.concatenate(characters)


def _halves(text_folders: Sequence[Path]) -> Keys:
    """Digests of both halves of all pairs; equal texts have equal ones, whichever their side."""
    keys = [
        digests([column])[:, 0]
        for folder in text_folders
        for batch in read_batches(folder / "pairs", list(SIDES))
        for column in batch.columns
    ]
    return np.concatenate([np.zeros(0, np.uint64), *keys])


def fitting(ordered: Ints, sizes: Ints, limit: int) -> Ints:
    """Those indices of ``sizes`` that fit into the limit when each that still fits is taken in
    order."""
    chosen, left = [], limit
    least = int(sizes[ordered].min(initial=limit + 1))
    for one in ordered.tolist():
        if left < least:
            break
        if sizes[one] <= left:
            chosen.append(one)
            left -= int(sizes[one])
    return np.array(chosen, np.int64)


def _rows(text_folder: Path, documents: Ints) -> pa.Table:
    """The chosen documents, in the order of their numbers."""
    tables, first = [SCHEMA.empty_table()], 0
    for batch in read_batches(text_folder / "documents", ["id", "text", "source"]):
        here = documents[(documents >= first) & (documents < first + batch.num_rows)]
        if len(here):
            rows = pa.Table.from_batches([batch]).take(pa.array(here - first))
            tables.append(rows.add_column(0, "document", pa.array(here)).cast(SCHEMA))
        first += batch.num_rows
    return pa.concat_tables(tables)


def _numbers_in_stream(stream_folder: Path, held_out: Mapping[str, Path]) -> Ints:
    """The stream's own numbers of the held-out documents, found by their ids."""
    numbers = [np.zeros(0, np.int64)]
    ids = {code: pq.read_table(file, columns=["id"])["id"] for code, file in held_out.items()}
    for batch in Stream.open(stream_folder).document_batches():
        drawn = pc.is_in(batch["part"], pa.array(["monolingual", REPLAY]))
        for code, names in ids.items():
            own = pc.and_(drawn, pc.equal(batch["language"], code))
            met = pc.and_(own, pc.is_in(batch["id"], names.combine_chunks()))
            numbers.append(batch["index"].filter(met).to_numpy())
    found = np.concatenate(numbers)
    expected = sum(map(len, ids.values()))
    if len(found) != expected:
        raise HeldOutShownError(
            f"{stream_folder}: lists {len(found)} of {expected} held-out documents"
        )
    return found
