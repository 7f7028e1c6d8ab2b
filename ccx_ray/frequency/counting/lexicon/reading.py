"""A built lexicon: exact counts and places of strings and terms.

Invariant: rows are those of the text folder, over its files in the order of their names; nothing
is read but what a query needs, and at most ``OPEN_SHARDS`` shards are mapped at a time.
"""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from ccx_ray.frequency.counting.lexicon.building import DESCRIPTION, TERMS, shard_folder
from ccx_ray.frequency.counting.lexicon.suffix_arrays import Shard
from ccx_ray.frequency.counting.lexicon.term_counts import read_counts
from ccx_ray.frequency.text.documents import DOCUMENTS

OPEN_SHARDS = 128
"""Each holds three open files, of which a process may often have 1,024."""


class Lexicon:
    """Of one corpus."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: as ``building.build_lexicon`` wrote it.
        """
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
        return self.rows(DOCUMENTS)

    @property
    def parts(self) -> tuple[str, ...]:
        """``documents`` and, of a target language, ``english`` and ``target``, halves of pairs."""
        return tuple(self._first_rows)

    def rows(self, part: str) -> int:
        """How many texts a part has."""
        return self._first_rows[part][-1]

    def characters(self, part: str) -> int:
        """Of a part's normalised texts, closings included."""
        return sum(len(shard.suffixes) for shard in self.shards(part))

    def document_frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """Term -> in how many documents it occurs, 0 included; of the part ``documents``."""
        return read_counts(self._folder / TERMS, terms, partitions=self._partitions)

    def count_strings(self, part: str, normalized: str) -> int:
        """How often a string stands in a part, inside other words too; 0 for an empty one."""
        return sum(shard.count(normalized) for shard in self.shards(part))

    def shards(self, part: str) -> Iterator[Shard]:
        """The shards of a part, in order."""
        for number in range(self.shard_count(part)):
            yield self.shard(part, number)

    def shard_count(self, part: str) -> int:
        """How many shards a part has."""
        return len(self._first_rows[part]) - 1

    def _map(self, part: str, number: int) -> Shard:
        first_row = self._first_rows[part][number]
        return Shard.open(shard_folder(self._folder, part, number), first_row=first_row)
