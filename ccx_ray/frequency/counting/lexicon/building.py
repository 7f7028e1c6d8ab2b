"""The lexicon of a corpus: its normalised text in shards with their suffix arrays, and its terms.

Plain functions over independent tasks, as in the corpus stage: a result does not depend on how the
tasks were run, and what is finished when a driver is killed is not done again. Shards are planned
from the footers of the Parquet files, in bytes of text, so that no task holds more than one.

    lexicon.json                      what is there; written last
    <part>/shard-00000/               see ``suffix_arrays``
    terms/part-00000.arrow            see ``term_counts``; of the part ``documents`` alone
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ccx_ray.frequency.counting.lexicon.suffix_arrays import write_shard
from ccx_ray.frequency.counting.lexicon.term_counts import merge_partition, write_shard_counts
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.terms import terms_of
from ccx_ray.frequency.text.text_parts import COLUMNS, DOCUMENTS, text_files
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_json

DESCRIPTION = "lexicon.json"
TERMS = "terms"
SHARD_BYTES = 64 * 2**20
"""Of text. Making such a shard took 22 s of a core and 0.9 GB at its peak, and 220 MB on disk."""


@dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """Consecutive row groups of one column."""

    part: str
    number: int
    """Within the part."""
    groups: tuple[tuple[Path, int], ...]
    """File and row group."""

    def texts(self) -> Iterator[str]:
        """The texts of its rows, as they stand in the corpus."""
        _, column = COLUMNS[self.part]
        for path, group in self.groups:
            table = pq.ParquetFile(path).read_row_group(group, columns=[column])
            yield from (str(value.as_py()) for value in table[column])


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
    partitions = max(1, sum(shard.part == DOCUMENTS for shard in shards))
    log = WorkLog(folder, "suffixes")

    def counts_of(shard: PlannedShard) -> Path:
        return log.scratch / "term-counts" / f"shard-{shard.number:05d}.arrow"

    def write(number: int) -> dict[str, Any]:
        shard = shards[number]
        texts = list(map(normalize, shard.texts()))
        if shard.part == DOCUMENTS:
            terms = Counter(term for text in texts for term in set(terms_of(text)))
            write_shard_counts(counts_of(shard), terms, partitions=partitions)
        return write_shard(shard_folder(folder, shard.part, shard.number), texts)

    written = run_tasks(log, len(shards), write)
    counted = [counts_of(shard) for shard in shards if shard.part == DOCUMENTS]

    def merge(number: int) -> dict[str, Any]:
        return {"terms": merge_partition(counted, folder / TERMS, number)}

    merged = run_tasks(WorkLog(folder, TERMS), partitions, merge)
    of_part = {
        part: [result for shard, result in zip(shards, written, strict=True) if shard.part == part]
        for part in parts
    }
    description = {
        "parts": {part: [result["rows"] for result in own] for part, own in of_part.items()},
        "partitions": partitions,
    }
    publish_json(folder / DESCRIPTION, description)
    return {
        **{
            part: {
                "rows": sum(result["rows"] for result in own),
                "bytes": sum(result["bytes"] - result["rows"] for result in own),
                "shards": len(own),
            }
            for part, own in of_part.items()
        },
        "terms": sum(result["terms"] for result in merged),
    }


def shard_folder(folder: Path, part: str, number: int) -> Path:
    """Where a shard of a lexicon stands."""
    return folder / part / f"shard-{number:05d}"


def _plan(text_folder: Path, part: str, shard_bytes: int) -> list[PlannedShard]:
    _, column = COLUMNS[part]
    planned: list[list[tuple[Path, int]]] = []
    filled = 0
    for path in text_files(text_folder, part):
        metadata = pq.read_metadata(path)
        place = metadata.schema.names.index(column)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            size = group.column(place).total_uncompressed_size
            if not group.num_rows:
                continue
            if not planned or filled + size > shard_bytes:
                planned.append([])
                filled = 0
            planned[-1].append((path, number))
            filled += size
    return [
        PlannedShard(part=part, number=number, groups=tuple(groups))
        for number, groups in enumerate(planned)
    ]
