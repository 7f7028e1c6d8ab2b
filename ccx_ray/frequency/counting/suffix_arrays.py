"""One shard of a corpus's normalised text, with the suffix array that finds any string in it.

The rows stand one behind the other in UTF-8, each closed by a line feed, which normalised text
never holds, so that no string that is looked for can reach from one row into the next. Invariants:
the files of a shard depend on its rows alone; the array holds where *characters* begin, because a
string can begin nowhere else: 4 bytes a character, where one entry a byte would take 12 in Tibetan.

Arrays are made by libdivsufsort (package pydivsufsort): bytes in, array out, 17 MB/s of a core on
English and Tibetan. The package infini-gram keeps to tokens of a tokenizer that it knows (or to
bytes of raw JSON lines), runs a program of its own and answers with counts of its own engine; here
the text must be normalised first and the places of all occurrences are wanted.
"""

import mmap
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccx_ray.storage.publishing import publish_bytes, writing_aside

Ints = NDArray[np.int64]

TEXT, SUFFIXES, STARTS = "text", "suffixes.npy", "starts.npy"
_CLOSING = b"\n"
_MOST_BYTES = 2**31 - 1


def write_shard(folder: Path, normalized: Iterable[str]) -> dict[str, int]:
    """Write the shard of some rows; how many ``rows``, and their ``bytes`` with the closing ones.

    Memory: 5 bytes a byte of text, and 4 a character while they are chosen.
    """
    from pydivsufsort import divsufsort

    folder.mkdir(parents=True, exist_ok=True)
    rows = [text.encode() + _CLOSING for text in normalized]
    starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    text = b"".join(rows)
    assert 0 < len(text) <= _MOST_BYTES, "a shard holds a bounded number of bytes, and some row"
    suffixes = divsufsort(text)
    # The bytes of a character after its first are 0b10xxxxxx.
    begins = (np.frombuffer(text, np.uint8) & 0xC0) != 0x80
    publish_bytes(folder / TEXT, text)
    _publish_array(folder / SUFFIXES, suffixes[begins[suffixes]])
    _publish_array(folder / STARTS, starts)
    return {"rows": len(rows), "bytes": len(text)}


def _publish_array(path: Path, array: NDArray[np.generic]) -> None:
    with writing_aside(path) as made, made.open("wb") as file:
        np.save(file, array)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A shard that was written, mapped into memory."""

    first_row: int
    """Of the corpus."""
    text: mmap.mmap
    suffixes: NDArray[np.int32]
    """[characters] where each begins, in the order of what follows there."""
    starts: Ints
    """[rows + 1] where each row begins in ``text``."""

    @classmethod
    def open(cls, folder: Path, *, first_row: int) -> "Shard":
        """Map the files; nothing is read yet."""
        with (folder / TEXT).open("rb") as file:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(
            first_row=first_row,
            text=text,
            suffixes=np.load(folder / SUFFIXES, mmap_mode="r"),
            starts=np.load(folder / STARTS, mmap_mode="r"),
        )

    @property
    def rows(self) -> int:
        return len(self.starts) - 1

    def count(self, normalized: str) -> int:
        """How often a string stands in the shard, overlapping ones too; 0 for an empty one."""
        first, last = self._range(normalized.encode())
        return last - first

    def find(self, normalized: str) -> Ints:
        """[occurrences] where it begins in ``text``, rising."""
        first, last = self._range(normalized.encode())
        return np.sort(self.suffixes[first:last]).astype(np.int64)

    def rows_at(self, positions: Ints) -> Ints:
        """[positions] the rows of the shard, from 0, that these places of ``text`` are in."""
        return np.searchsorted(self.starts, positions, side="right") - 1

    def normalized(self, row: int) -> str:
        """The text of a row of the shard."""
        return self.text[self.starts[row] : self.starts[row + 1] - 1].decode()

    def excerpt(self, position: int, *, before: int, after: int) -> tuple[str, int]:
        """What stands around a place within its row, and how many characters of it stand before.

        So many bytes ``before`` the place and ``after`` it begins; characters that are not wholly
        in them are left out.
        """
        row = int(np.searchsorted(self.starts, position, side="right")) - 1
        begin = max(int(self.starts[row]), position - before)
        end = min(int(self.starts[row + 1]) - 1, position + after)
        left = self.text[begin:position].decode(errors="ignore")
        return left + self.text[position:end].decode(errors="ignore"), len(left)

    def around(self, position: int) -> str:
        """What stands between the two blanks around a place within its row: no term crosses one."""
        row = int(np.searchsorted(self.starts, position, side="right")) - 1
        first, last = int(self.starts[row]), int(self.starts[row + 1]) - 1
        begin = self.text.rfind(b" ", first, position) + 1
        end = self.text.find(b" ", position, last)
        return self.text[begin or first : last if end < 0 else end].decode()

    def _range(self, wanted: bytes) -> tuple[int, int]:
        if not wanted:
            return 0, 0

        def prefix(place: int) -> bytes:
            start = int(self.suffixes[place])
            return self.text[start : start + len(wanted)]

        places = range(len(self.suffixes))
        first = bisect_left(places, wanted, key=prefix)
        return first, bisect_right(places, wanted, lo=first, key=prefix)
