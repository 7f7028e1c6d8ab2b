"""What every reader yields, and the units in which files are read.

Invariant: everything that stands in a file comes out of its reader, as a record or as a fault that
still shows the text; nothing is skipped in silence but blank lines.
"""

from typing import NamedTuple

from ccx_ray.storage.input_files import InputFile

SHOWN_CHARACTERS = 4096
"""Of a faulty record that are kept to be read; its file and position tell where the rest is."""


class Record(NamedTuple):
    """One document, or one pair of parallel sentences."""

    id: str
    source: str
    """Where the text says that it comes from; the file's name where it does not."""
    position: int
    """Number of the line, row or page in its shard, from 1."""
    texts: tuple[str, ...]
    """Of a document its text; of a pair the English half and the target half."""


class Fault(NamedTuple):
    """What stands in a file and is no record."""

    id: str
    """Empty where none could be read."""
    position: int
    reason: str
    """One of the constants of ``faults``."""
    text: str
    """At most ``SHOWN_CHARACTERS`` of it."""
    ends_file: bool = False
    """Nothing behind it could be read; it is the last thing that the reader yields."""


class Shard(NamedTuple):
    """What one task reads: a whole file, or a piece of one that can be read by itself."""

    file: InputFile
    start: int = 0
    """Where it begins, in the reader's own unit: bytes, row groups, streams."""
    stop: int | None = None
    """Where the next one begins; None at the end of the file."""
    unit: str = "line"
    """What ``position`` counts."""

    def place(self, position: int) -> str:
        """Where a record stands, for a person: ``line 17``, or ``line 17 from byte 67108864``."""
        where = f"{self.unit} {position}"
        return f"{where} from {self.start}" if self.start else where
