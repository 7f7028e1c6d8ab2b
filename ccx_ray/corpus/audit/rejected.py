"""What was rejected and why, counted from the side files themselves, with a few to read."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from ccx_ray.corpus.audit.sampling import sample_key

EXAMPLES = 3
EXCERPT_CHARACTERS = 240
COLUMNS = ("reason", "id", "text", "source", "file", "position", "duplicate_of")


class RejectedText(NamedTuple):
    """One rejected record, to be read."""

    key: bytes
    id: str
    place: str
    """File and position."""
    text: str
    """Its beginning."""
    duplicate_of: str


@dataclass(kw_only=True)
class Rejections:
    """What was rejected of one language."""

    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[RejectedText]] = field(default_factory=dict)
    """By reason; drawn by seed as the sample is."""

    def add(self, other: "Rejections") -> None:
        """Count another part too."""
        self.reasons.update(other.reasons)
        for reason, examples in other.examples.items():
            both = [*self.examples.get(reason, ()), *examples]
            self.examples[reason] = sorted(both)[:EXAMPLES]


def count_rejected(part: Path, *, seed: int) -> Rejections:
    """Count one part of ``rejected``."""
    found = Rejections()
    for rows in pq.ParquetFile(part).iter_batches(columns=list(COLUMNS)):
        reasons, ids = rows["reason"].to_pylist(), rows["id"].to_pylist()
        places = [
            f"{file}, {position}"
            for file, position in zip(
                rows["file"].to_pylist(), rows["position"].to_pylist(), strict=True
            )
        ]
        keys = [sample_key(seed, f"{place}:{id_}") for place, id_ in zip(places, ids, strict=True)]
        by_reason: dict[str, list[int]] = {}
        for i, reason in enumerate(reasons):
            by_reason.setdefault(reason, []).append(i)
        for reason, members in by_reason.items():
            drawn = [
                RejectedText(
                    keys[i],
                    ids[i] or "",
                    places[i],
                    (rows["text"][i].as_py() or "")[:EXCERPT_CHARACTERS],
                    rows["duplicate_of"][i].as_py() or "",
                )
                for i in heapq.nsmallest(EXAMPLES, members, key=keys.__getitem__)
            ]
            found.add(Rejections(reasons=Counter({reason: len(members)}), examples={reason: drawn}))
    return found
