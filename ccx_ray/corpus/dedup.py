"""Exact deduplication by a digest of the isolated text.

Invariant: of equal texts the first in the order of the source files is kept, so the result does
not depend on how the work was spread.
"""

import hashlib
from collections.abc import Iterable

DIGEST_BYTES = 16
"""2**64 texts before two different ones are likely to collide."""


def text_digest(*texts: str) -> bytes:
    """The digest of one text, or of the sides of a pair."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


class FirstSeen:
    """Remembers keys; 100 to 150 bytes of memory a key."""

    def __init__(self) -> None:
        self._seen: set[bytes | str] = set()

    def admit(self, keys: Iterable[bytes | str]) -> list[bool]:
        """Whether each key is seen for the first time, in order."""
        fresh = []
        for key in keys:
            fresh.append(key not in self._seen)
            self._seen.add(key)
        return fresh
