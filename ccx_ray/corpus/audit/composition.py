"""Which scripts a column of text is written in, exact over every character, and where it is not.

Invariant: the figures do not depend on how the column is cut into parts, nor on their order.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple
from unicodedata import category, is_normalized

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.audit.code_points import (
    SCRIPT_NAMES,
    Batch,
    Ints,
    as_text,
    script_numbers,
    scripts_among,
)
from ccx_ray.corpus.audit.inputs import Column
from ccx_ray.corpus.cleaning.unicode_scripts import CODE_POINTS

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
    by_point = np.bincount(batch.points)
    distinct = np.flatnonzero(by_point)
    scripts = np.zeros(len(SCRIPT_NAMES), np.int64)
    np.add.at(scripts, script_numbers()[distinct], by_point[distinct])
    found = Composition(texts=len(ids), bytes=size, scripts=scripts)
    # Every piece of a text in NFC is in NFC (UAX #15), so only a whole that is not is looked into.
    if not (_inert()[distinct].all() or is_normalized("NFC", as_text(batch.points))):
        wrong = [ids[i] for i in range(len(ids)) if not is_normalized("NFC", batch.text(i))]
        found.not_normalized = len(wrong)
        found.not_normalized_ids = sorted(wrong)[:WORST_TEXTS]
    surprising = ~scripts_among(column.expected)
    if column.expected and scripts[surprising].any():
        found.worst = _worst(batch, ids, script_numbers()[batch.points], surprising)
    return found


@cache
def _inert() -> npt.NDArray[np.bool_]:
    """[0x110000] characters that are in NFC whatever stands around them.

    What may compose with, or move before, the character in front of it is a mark or a jamo.
    """
    table = np.zeros(CODE_POINTS, bool)
    for code in range(CODE_POINTS):
        character = chr(code)
        table[code] = category(character)[0] not in "MC" and is_normalized("NFC", character)
    table[list(map(ord, "\n\t\r"))] = True
    table[0x1100:0x1200] = False
    return table


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
