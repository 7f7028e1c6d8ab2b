"""SHA-256 of files: of the whole content, or of a sample where reading it all takes too long."""

import hashlib
from pathlib import Path
from typing import BinaryIO

SAMPLED_BLOCKS, BLOCK_BYTES = 16, 2**20


def file_sha256(path: Path) -> str:
    """Of the whole content, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
