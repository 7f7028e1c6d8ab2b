"""The lexicon of a corpus: its normalised text in shards with suffix arrays, and its terms.

Plain functions over independent tasks, as in the corpus stage: a result does not depend on how the
tasks were run, and what is finished when a driver is killed is not done again. Shards are planned
from the footers of the Parquet files, in bytes of text, so that no task holds more than one. Terms
are counted shard by shard; each shard leaves its counts in partitions by a hash of the term, and
every partition is added up over the shards: memory is bounded by the counts of one shard and by one
partition of all, never by the vocabulary of the corpus.

Invariant: rows are those of the text folder, over its files in the order of their names; nothing is
read but what a query needs, and at most ``OPEN_SHARDS`` shards are mapped at a time.

    lexicon.json                      what is there; written last
    <part>/shard-00000/               see ``suffix_arrays``
    terms/part-00000.arrow            terms in order, and in how many ``documents`` each occurs
"""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import pyarrow as pa

from ccx_ray.corpus.parts import part_path, write_arrow_part
from ccx_ray.frequency.counting.suffix_arrays import Shard, write_shard
from ccx_ray.frequency.text.documents import COLUMNS, DOCUMENTS, CorpusRows, text_files
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.terms import terms_of
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_json, writing_aside

DESCRIPTION = "lexicon.json"
TERMS = "terms"
SHARD_BYTES = 64 * 2**20
"""Of text. Making such a shard took 22 s of a core and 0.9 GB at its peak, and 220 MB on disk."""
OPEN_SHARDS = 128
"""Each holds three open files, of which a process may often have 1,024."""
_COUNTS = pa.schema([("term", pa.string()), ("documents", pa.int64())])


class _Shard(NamedTuple):
    part: str
    number: int
    """Within the part."""
    first: int
    end: int
    """Rows, without the end; whole row groups."""


def build_lexicon(
    text_folder: Path, folder: Path, *, run_tasks: RunTasks, shard_bytes: int = SHARD_BYTES
) -> dict[str, Any]:
    """Write the lexicon of a text folder's documents, and of the halves of its pairs.

    Args:
        text_folder: holds ``documents/*.parquet`` and, of a target language, ``pairs/*.parquet``.
        shard_bytes: text of one shard, at most, but for a row group that is larger alone.

    Returns:
        of every part ``rows``, ``bytes`` of normalised text and ``shards``; distinct ``terms``.
    """
    parts = [part for part in COLUMNS if part == DOCUMENTS or text_files(text_folder, part)]
    shards = [shard for part in parts for shard in _plan(text_folder, part, shard_bytes)]
    log = WorkLog(folder, "suffixes")
    counted = {
        shard: log.scratch / "term-counts" / f"shard-{shard.number:05d}.arrow"
        for shard in shards
        if shard.part == DOCUMENTS
    }
    partitions = max(1, len(counted))

    def write(number: int) -> dict[str, Any]:
        shard = shards[number]
        rows = CorpusRows(text_folder, shard.part).texts(shard.first, shard.end)
        texts = [normalize(text) for _, text in rows]
        if shard in counted:
            terms = Counter(term for text in texts for term in set(terms_of(text)))
            _write_counts(counted[shard], terms, partitions)
        return write_shard(shard_folder(folder, shard.part, shard.number), texts)

    written = run_tasks(log, len(shards), write)

    def merge(number: int) -> dict[str, Any]:
        return {"terms": _merge_partition(list(counted.values()), folder / TERMS, number)}

    merged = run_tasks(WorkLog(folder, TERMS), partitions, merge)
    results: dict[str, list[dict[str, int]]] = {part: [] for part in parts}
    for shard, result in zip(shards, written, strict=True):
        results[shard.part].append(result)
    rows = {part: [result["rows"] for result in own] for part, own in results.items()}
    publish_json(folder / DESCRIPTION, {"parts": rows, "partitions": partitions})
    return {
        **{
            part: {
                "rows": sum(rows[part]),
                "bytes": sum(result["bytes"] - result["rows"] for result in own),
                "shards": len(own),
            }
            for part, own in results.items()
        },
        "terms": sum(result["terms"] for result in merged),
    }


def shard_folder(folder: Path, part: str, number: int) -> Path:
    """Where a shard of a lexicon stands."""
    return folder / part / f"shard-{number:05d}"


def _plan(text_folder: Path, part: str, shard_bytes: int) -> list[_Shard]:
    shards: list[_Shard] = []
    filled = 0
    for group in CorpusRows(text_folder, part).groups:
        if group.first == group.end:
            continue
        if not shards or filled + group.bytes > shard_bytes:
            shards.append(_Shard(part, len(shards), group.first, group.end))
            filled = 0
        shards[-1] = shards[-1]._replace(end=group.end)
        filled += group.bytes
    return shards


def _write_counts(path: Path, counts: Mapping[str, int], partitions: int) -> None:
    """Leave a shard's counts: an Arrow file of one batch a partition."""
    for_partition = _partitioned(counts, partitions)
    with (
        writing_aside(path) as made,
        pa.OSFile(str(made), "wb") as file,
        pa.ipc.new_file(file, _COUNTS) as writer,
    ):
        for partition in range(partitions):
            own = for_partition[partition]
            writer.write_batch(pa.record_batch([own, [counts[t] for t in own]], schema=_COUNTS))


def _merge_partition(shards: Sequence[Path], folder: Path, partition: int) -> int:
    """Add up one partition of all shards into its part of ``folder``; how many terms it holds."""
    tables = [_COUNTS.empty_table()]
    for path in shards:
        with pa.memory_map(str(path)) as file:
            tables.append(pa.Table.from_batches([pa.ipc.open_file(file).get_batch(partition)]))
    summed = pa.concat_tables(tables).group_by("term").aggregate([("documents", "sum")])
    merged = summed.rename_columns({"documents_sum": "documents"}).select(_COUNTS.names)
    folder.mkdir(parents=True, exist_ok=True)
    write_arrow_part(folder, partition, merged.sort_by("term").cast(_COUNTS))
    return int(merged.num_rows)


def _partitioned(terms: Iterable[str], partitions: int) -> Mapping[int, list[str]]:
    found: defaultdict[int, list[str]] = defaultdict(list)
    for term in terms:
        found[crc32(term.encode()) % partitions].append(term)
    return found


class Lexicon:
    """Exact counts and places of strings and terms in one corpus, of a folder once built."""

    def __init__(self, folder: Path) -> None:
        description = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        self._folder = folder
        self._partitions: int = description["partitions"]
        self._first_rows: dict[str, list[int]] = {
            part: list(accumulate(rows, initial=0)) for part, rows in description["parts"].items()
        }
        self.shard = lru_cache(OPEN_SHARDS)(self._map)

    @property
    def documents(self) -> int:
        """Monolingual ones."""
        return self._first_rows[DOCUMENTS][-1]

    def characters(self, part: str) -> int:
        """Of a part's normalised texts, closings included."""
        return sum(len(shard.suffixes) for shard in self.shards(part))

    def document_frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """Term -> in how many documents it occurs, 0 included; of the part ``documents``.

        The parts are mapped, and a term is found by bisection: 20 microseconds each.
        """
        found: dict[str, int] = {}
        for partition, own in _partitioned(dict.fromkeys(terms), self._partitions).items():
            path = part_path(self._folder / TERMS, partition, "arrow")
            with pa.memory_map(str(path)) as file:
                table = pa.ipc.open_file(file).read_all()
                found |= {term: _count(table, term) for term in own}
        return found

    def count_strings(self, part: str, normalized: str) -> int:
        """How often a string stands in a part, inside other words too; 0 for an empty one."""
        return sum(shard.count(normalized) for shard in self.shards(part))

    def shards(self, part: str) -> Iterator[Shard]:
        """The shards of a part, in order."""
        return (self.shard(part, number) for number in range(self.shard_count(part)))

    def shard_count(self, part: str) -> int:
        """How many shards a part has."""
        return len(self._first_rows[part]) - 1

    def _map(self, part: str, number: int) -> Shard:
        first_row = self._first_rows[part][number]
        return Shard.open(shard_folder(self._folder, part, number), first_row=first_row)


def _count(table: pa.Table, term: str) -> int:
    if not table.num_rows:
        return 0
    # One batch, so one chunk. Arrow sorts by bytes, Python by code points: the same order.
    known, numbers = table["term"].chunk(0), table["documents"].chunk(0)
    place = bisect_left(range(len(known)), term, key=lambda i: str(known[i].as_py()))
    if place < len(known) and known[place].as_py() == term:
        return int(numbers[place].as_py())
    return 0
