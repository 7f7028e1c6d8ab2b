"""Debian's packages, unpacked beside this environment where the machine lacks a program."""

import subprocess
import sys
import tempfile
from pathlib import Path


def unpacked(name: str, fetch: str) -> Path | None:
    """The folder ``name`` of this environment, with what the packages hold that a shell command
    downloads; they are not installed. None where they cannot be had."""
    place = Path(sys.prefix) / name
    if place.exists():
        return place
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        unpack = 'for file in *.deb; do dpkg -x "$file" unpacked || exit 1; done'
        command = f"({fetch} || (apt-get -qq update && {fetch})) && {unpack}"
        try:
            done = subprocess.run(
                ["sh", "-c", command], cwd=folder, capture_output=True, check=False, timeout=300
            )
        except subprocess.TimeoutExpired:
            return None
        content = Path(folder) / "unpacked"
        if done.returncode == 0 and not place.exists():
            content.rename(place)
    return place if place.exists() else None
