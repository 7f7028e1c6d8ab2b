"""The lexicon of a corpus: its normalised text in shards with their suffix arrays, and its terms.

Plain functions over independent tasks, as in the corpus stage: a result does not depend on how the
tasks were run, and what is finished when a driver is killed is not done again. Shards are planned
from the footers of the Parquet files, in bytes of text, so that no task holds more than one.

    lexicon.json                      what is there; written last
    <part>/shard-00000/               see ``suffix_arrays``
    terms/part-00000.arrow            see ``term_counts``; of the part ``documents`` alone
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccx_ray.frequency.counting.lexicon.suffix_arrays import write_shard
from ccx_ray.frequency.counting.lexicon.term_counts import merge_partition, write_shard_counts
from ccx_ray.frequency.text.documents import COLUMNS, DOCUMENTS, CorpusRows, text_files
from ccx_ray.frequency.text.normalization import normalize
from ccx_ray.frequency.text.terms import terms_of
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_json

DESCRIPTION = "lexicon.json"
TERMS = "terms"
SHARD_BYTES = 64 * 2**20
"""Of text. Making such a shard took 22 s of a core and 0.9 GB at its peak, and 220 MB on disk."""


@dataclass(frozen=True, kw_only=True)
class _Shard:
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
    partitions = max(1, sum(shard.part == DOCUMENTS for shard in shards))
    log = WorkLog(folder, "suffixes")

    def counts_of(shard: _Shard) -> Path:
        return log.scratch / "term-counts" / f"shard-{shard.number:05d}.arrow"

    def write(number: int) -> dict[str, Any]:
        shard = shards[number]
        rows = CorpusRows(text_folder, shard.part).texts(shard.first, shard.end)
        texts = [normalize(text) for _, text in rows]
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


def _plan(text_folder: Path, part: str, shard_bytes: int) -> list[_Shard]:
    planned: list[list[int]] = []
    filled = 0
    for group in CorpusRows(text_folder, part).groups:
        if not group.rows:
            continue
        if not planned or filled + group.bytes > shard_bytes:
            planned.append([group.first, group.end])
            filled = 0
        planned[-1][1] = group.end
        filled += group.bytes
    return [
        _Shard(part=part, number=number, first=first, end=end)
        for number, (first, end) in enumerate(planned)
    ]
