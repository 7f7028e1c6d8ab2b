"""Small files have the hash that other programs print; large ones a sample."""

import hashlib
from pathlib import Path

from ccx_ray.storage.hashing import BLOCK_BYTES, SAMPLED_BLOCKS, file_sha256, sampled_sha256


def sampled(path: Path) -> str:
    with path.open("rb") as file:
        return sampled_sha256(file, path.stat().st_size)


def test_a_whole_file_has_its_plain_hash(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"content")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()


def test_a_sample_reads_the_size_the_beginning_and_the_end(tmp_path: Path):
    path, size = tmp_path / "a", 3 * SAMPLED_BLOCKS * BLOCK_BYTES
    with path.open("wb") as file:
        file.truncate(size)
    first = sampled(path)
    assert first.startswith("sampled:")
    for place in (0, size - 1):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        changed = sampled(path)
        assert changed != first
        first = changed
    with path.open("r+b") as file:
        file.truncate(size + BLOCK_BYTES)
    assert sampled(path) != first


def test_a_sample_of_a_small_file_sees_every_byte(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = sampled(path)
    path.write_bytes(b"own")
    assert sampled(path) != first
