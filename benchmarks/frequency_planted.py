"""Of statements planted in the recombined text, how many documents every retriever finds.

Which of a hundred thousand unrelated documents are most like a question says little of retrieval; a
study asks for documents that state an answer. So 100 filled questions are written into 1, 2, 4, ...
32 documents each, between two of their words.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from frequency_queries import RETRIEVERS, TOP
from frequency_text import questions

from ccx_ray.corpus.parts import write_part
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex

STATEMENTS = 100
FREQUENCIES = (1, 2, 4, 8, 16, 32)


def plant(source: Path, folder: Path, seed: int = 0) -> list[set[int]]:
    """Copy a text folder with the statements in it; the rows that hold each."""
    generator = random.Random(seed)
    files = sorted((source / "documents").glob("*.parquet"))
    documents = sum(pq.read_metadata(path).num_rows for path in files)
    holders = [
        set(generator.sample(range(documents), FREQUENCIES[number % len(FREQUENCIES)]))
        for number in range(STATEMENTS)
    ]
    planted: dict[int, list[str]] = {}
    for statement, rows in zip(questions(STATEMENTS), holders, strict=True):
        for row in rows:
            planted.setdefault(row, []).append(statement)
    (folder / "documents").mkdir(parents=True)
    first = 0
    for number, path in enumerate(files):
        table = pq.read_table(path).to_pydict()
        for place, text in enumerate(table["text"]):
            for statement in planted.get(first + place, ()):
                words = text.split(" ")
                words.insert(generator.randrange(len(words) + 1), statement)
                text = " ".join(words)  # noqa: PLW2901
            table["text"][place] = text
        first += len(table["text"])
        write_part(folder / "documents", number, pa.table(table))
    return holders


def planted_recall(folder: Path, holders: Sequence[set[int]]) -> dict[str, float]:
    """The share of the planted documents among the first 50, by retriever."""
    index = CorpusIndex(folder)
    total = sum(map(len, holders))
    shares: dict[str, float] = {}
    for retriever in RETRIEVERS:
        hits = index.search(questions(STATEMENTS), TOP, retriever)
        found = zip(holders, hits, strict=True)
        shares[retriever] = sum(len(rows & {h.document for h in of}) for rows, of in found) / total
    return shares
