"""SHA-256 of files: of the whole content, or of a sample where reading it all takes too long."""

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

from ccx_ray.storage.publishing import publish_json

SAMPLED_BLOCKS, BLOCK_BYTES = 16, 2**20


def file_sha256(path: Path) -> str:
    """Of the whole content, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class KnownHashes:
    """SHA-256 of files, each read once as long as its size and time of change stay.

    Between runs they are kept in a JSON file; a change that keeps both is not seen then.
    """

    def __init__(self, path: Path | None = None) -> None:
        """
        Args:
            path: of the JSON file; None keeps nothing.
        """
        self._path = path
        self._known: dict[str, list[int | str]] = {}
        if path is not None and path.is_file():
            self._known = json.loads(path.read_text("utf-8"))
        self._kept = dict(self._known)

    def sha256(self, file: Path) -> str:
        """Of the whole content of ``file``, an absolute path."""
        state = file.stat()
        known = self._known.get(str(file))
        if known is None or known[:2] != [state.st_size, state.st_mtime_ns]:
            known = [state.st_size, state.st_mtime_ns, file_sha256(file)]
            self._known[str(file)] = known
        return str(known[2])

    def save(self) -> None:
        """Write what is new, into a folder that exists."""
        if self._path is not None and self._known != self._kept:
            publish_json(self._path, self._known)
            self._kept = dict(self._known)


def sampled_sha256(file: BinaryIO, size: int) -> str:
    """Of the size and of 16 evenly spread blocks of 1 MiB, as ``sampled:<digits>``.

    Args:
        file: opened for reading; it is sought.
        size: in bytes.
    """
    digest = hashlib.sha256(str(size).encode())
    last = max(size - BLOCK_BYTES, 0)
    for start in sorted({block * last // (SAMPLED_BLOCKS - 1) for block in range(SAMPLED_BLOCKS)}):
        file.seek(start)
        digest.update(file.read(BLOCK_BYTES))
    return f"sampled:{digest.hexdigest()}"
