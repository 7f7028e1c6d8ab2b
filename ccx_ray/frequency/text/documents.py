"""A text as this stage reads it: normalised once, with the way back to its own characters."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.text.normalization import normalize, origins
from ccx_ray.frequency.text.terms import terms_of


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of a corpus, in NFC."""

    id: str
    text: str

    @cached_property
    def normalized(self) -> str:
        return normalize(self.text)

    @cached_property
    def terms(self) -> frozenset[str]:
        return frozenset(terms_of(self.normalized))

    @cached_property
    def _origins(self) -> NDArray[np.int32]:
        return origins(self.text)

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Start and length in ``text`` of ``normalized[start:end]``."""
        first, last = int(self._origins[start]), int(self._origins[end - 1])
        return first, last + 1 - first
