"""Texts that stand in more than one corpus, to the letter, by a digest of each.

A digest has 64 bits: among 10 million texts two different ones agree once in 400,000 audits.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import combinations

import numpy as np
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.figures import OverlapFigures, SharedFigures
from ccx_ray.corpus.audit.findings import Hashes
from ccx_ray.corpus.audit.inputs import AuditInputs
from ccx_ray.corpus.parts import part_files

EXAMPLES = 5
EXCERPT_CHARACTERS = 160


def text_digests(texts: Sequence[str]) -> Hashes:
    """[texts] a digest of each text's UTF-8."""
    digests = (blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def shared_figures(inputs: AuditInputs, digests: Mapping[str, Hashes]) -> Iterator[SharedFigures]:
    """What every two corpora have in common; those that share nothing are left out.

    Args:
        digests: corpus -> [texts].
    """
    distinct = {corpus: np.unique(own) for corpus, own in digests.items()}
    for corpus, other in combinations(digests, 2):
        common = np.intersect1d(distinct[corpus], distinct[other], assume_unique=True)
        if not len(common):
            continue
        here, there = (np.isin(digests[name], common) for name in (corpus, other))
        texts, other_texts = int(here.sum()), int(there.sum())
        yield SharedFigures(
            corpus=corpus,
            other=other,
            distinct=len(common),
            texts=texts,
            share=texts / len(here),
            other_texts=other_texts,
            other_share=other_texts / len(there),
            examples=list(_examples(inputs, corpus, np.flatnonzero(here)[:EXAMPLES].tolist())),
        )


def overlap_figures(inputs: AuditInputs, digests: Mapping[str, Hashes]) -> Iterator[OverlapFigures]:
    """How much of each corpus stands in those that it must differ from; see the figures."""
    documents = {column.corpus for column in inputs.columns if column.name == "text"}
    for corpus, own in digests.items():
        others = [
            digests[other] for other in digests if other != corpus and documents & {corpus, other}
        ]
        shared = int(np.isin(own, np.concatenate(others)).sum()) if others else 0
        share = shared / len(own) if len(own) else 0.0
        yield OverlapFigures(corpus=corpus, texts=len(own), shared=shared, share=share)


def _examples(inputs: AuditInputs, corpus: str, rows: list[int]) -> Iterator[dict[str, str]]:
    """Id and beginning of the texts in some rows of a corpus, which are read again."""
    table, column = next(
        (table, column)
        for table in inputs.tables
        for column in table.columns
        if column.corpus == corpus
    )
    first = 0
    for part in part_files(table.folder):
        last = first + pq.read_metadata(part).num_rows
        for row in rows:
            if first <= row < last:
                one = pq.read_table(part, columns=["id", column.name]).slice(row - first, 1)
                id_, text = (name[0].as_py() for name in one.columns)
                yield {"id": id_, "text": text[:EXCERPT_CHARACTERS]}
        first = last
