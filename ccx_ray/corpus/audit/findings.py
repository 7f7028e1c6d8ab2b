"""What the tasks of an audit find, as numbers and lists that are merged in any order.

Invariant: ``add`` is commutative and associative, so that the figures depend neither on how the
text is cut into parts, nor on the order of the tasks.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Key = tuple[str | int, ...]
"""What is counted or kept, such as ``("script", "ko documents", "Hangul")``."""


@dataclass(kw_only=True)
class Findings:
    """What one task found, or several together; the module that writes a key also reads it."""

    counts: Counter[Key] = field(default_factory=Counter)
    smallest: dict[Key, tuple[int, list[Any]]] = field(default_factory=dict)
    """A limit, and the smallest of the tuples that were found: at most as many, rising."""
    digests: dict[str, dict[int, Hashes]] = field(default_factory=dict)
    """Corpus -> part -> [rows] digests of the texts."""

    def keep(self, key: Key, found: Iterable[tuple[Any, ...]], limit: int) -> None:
        """Keep the smallest of these tuples and of those that were found before."""
        self.smallest[key] = limit, sorted([*self.kept(key), *found])[:limit]

    def kept(self, key: Key) -> list[Any]:
        """The smallest tuples of a key, rising."""
        return self.smallest.get(key, (0, []))[1]

    def texts(self, corpus: str) -> Hashes:
        """[texts] the digests of a corpus, in the order of its parts."""
        parts = self.digests.get(corpus, {})
        return np.concatenate([np.zeros(0, np.uint64), *(parts[part] for part in sorted(parts))])

    def add(self, other: "Findings") -> None:
        """Merge what another task found."""
        self.counts.update(other.counts)
        for key, (limit, found) in other.smallest.items():
            self.keep(key, found, limit)
        for corpus, parts in other.digests.items():
            self.digests.setdefault(corpus, {}).update(parts)
