"""Which scripts a column of text is written in, exact over every character, and where it is not.

Invariant: the figures do not depend on how the column is cut into parts, nor on their order.
"""

from dataclasses import dataclass, field
from typing import NamedTuple
from unicodedata import is_normalized

import numpy as np

from ccx_ray.corpus.audit.code_points import (
    SCRIPT_NAMES,
    Batch,
    Ints,
    as_text,
    script_numbers,
    scripts_among,
)
from ccx_ray.corpus.audit.inputs import Column

WORST_TEXTS = 20
EXCERPT_CHARACTERS = 120


class WorstText(NamedTuple):
    """A text with many characters of scripts that are not its language's."""

    share: float
    """Of its characters."""
    characters: int
    """How many of them."""
    id: str
    script: str
    """The most frequent one of them."""
    excerpt: str
    """Around the first of them."""

    @property
    def rank(self) -> tuple[float, int, str]:
        """Worst first; the id decides between equals, so that the order of parts does not."""
        return (-self.share, -self.characters, self.id)


@dataclass(kw_only=True)
class Composition:
    """What is counted of one column."""

    texts: int = 0
    bytes: int = 0
    scripts: Ints = field(default_factory=lambda: np.zeros(len(SCRIPT_NAMES), np.int64))
    """[scripts] characters."""
    not_normalized: int = 0
    """Texts that are not NFC."""
    not_normalized_ids: list[str] = field(default_factory=list)
    worst: list[WorstText] = field(default_factory=list)

    def add(self, other: "Composition") -> None:
        """Count another part of the column too."""
        self.texts += other.texts
        self.bytes += other.bytes
        self.scripts = self.scripts + other.scripts
        self.not_normalized += other.not_normalized
        ids = sorted(self.not_normalized_ids + other.not_normalized_ids)
        self.not_normalized_ids = ids[:WORST_TEXTS]
        self.worst = sorted(self.worst + other.worst, key=lambda text: text.rank)[:WORST_TEXTS]


def compose(batch: Batch, ids: list[str], column: Column, *, size: int) -> Composition:
    """Count one batch.

    Args:
        size: bytes of its UTF-8.
    """
    scripts = script_numbers()[batch.points]
    counts = np.bincount(scripts, minlength=len(SCRIPT_NAMES)).astype(np.int64)
    found = Composition(texts=len(ids), bytes=size, scripts=counts)
    # Every piece of a text in NFC is in NFC (UAX #15), so only a whole that is not is looked into.
    if not is_normalized("NFC", as_text(batch.points)):
        wrong = [ids[i] for i in range(len(ids)) if not is_normalized("NFC", batch.text(i))]
        found.not_normalized = len(wrong)
        found.not_normalized_ids = sorted(wrong)[:WORST_TEXTS]
    surprising = ~scripts_among(column.expected)
    if column.expected and counts[surprising].any():
        found.worst = _worst(batch, ids, scripts, surprising)
    return found


def _worst(
    batch: Batch, ids: list[str], scripts: np.ndarray, surprising: np.ndarray
) -> list[WorstText]:
    odd = surprising[scripts]
    before = np.concatenate([[0], np.cumsum(odd)])
    count = before[batch.ends] - before[batch.starts]
    share = count / np.maximum(batch.ends - batch.starts, 1)
    least = np.sort(share)[-WORST_TEXTS:][0]
    worst = []
    for i in np.flatnonzero((count > 0) & (share >= least)).tolist():
        start, end = batch.starts[i], batch.ends[i]
        places = start + np.flatnonzero(odd[start:end])
        script = SCRIPT_NAMES[np.bincount(scripts[places]).argmax()]
        first = max(start, places[0] - EXCERPT_CHARACTERS // 3)
        excerpt = as_text(batch.points[first : min(end, first + EXCERPT_CHARACTERS)])
        worst.append(WorstText(float(share[i]), int(count[i]), ids[i], script, excerpt))
    return sorted(worst, key=lambda text: text.rank)[:WORST_TEXTS]
