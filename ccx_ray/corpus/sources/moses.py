"""Line pairs: two files, the lines of one the translations of the lines of the other.

Where one line of a pair is blank, its half is missing; where both are, there is no pair. Uneven
files are read to the end of the longer one, every line of its rest a fault: somewhere before, the
halves may have slipped against each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import cast

from ccx_ray.corpus.sources import faults
from ccx_ray.corpus.sources.lines import read_lines, shown
from ccx_ray.corpus.sources.record import Fault, Record, Shard
from ccx_ray.errors import UserError
from ccx_ray.input_files import InputFile, find_files
from ccx_ray.study.text_spec import SourceSpec


@dataclass(frozen=True, kw_only=True)
class LinePairs(InputFile):
    """The English file, and the one with the other halves."""

    counterpart: InputFile


def find_line_pairs(source: SourceSpec, *, root: Path, field: str) -> list[InputFile]:
    """The files of both languages, matched in the order of their names.

    Raises:
        UserError: one is missing, or there are more of one language than of the other.
    """
    english = find_files(source.path, root=root, field=field)
    target = find_files(source.target_path or "", root=root, field=f"{field}.target_path")
    if len(english) != len(target):
        raise UserError(
            f"{field}: {source.path!r} finds {len(english)} files and target_path "
            f"{source.target_path!r} {len(target)}; every file needs one counterpart"
        )
    return [
        LinePairs(uri=one.uri, name=one.name, size=one.size, counterpart=other)
        for one, other in zip(english, target, strict=True)
    ]


def read_moses(shard: Shard, record_bytes: int) -> Iterator[Record | Fault]:
    """The pairs of two files, called by the name of the first and their line."""
    assert isinstance(shard.file, LinePairs)
    file = shard.file.name
    both = zip_longest(
        _each_line(shard, record_bytes), _each_line(Shard(shard.file.counterpart), record_bytes)
    )
    for position, pair in enumerate(both, 1):
        # A line is its bytes; what is no line is a fault; None is behind the end of a file.
        wrong = [half for half in pair if isinstance(half, Fault)]
        if wrong:
            worst = max(wrong, key=lambda fault: fault.ends_file)
            yield worst._replace(position=position)
            if worst.ends_file:
                return
            continue
        halves = [None if half is None else cast("bytes", half).strip() for half in pair]
        if not any(halves):
            continue
        together = b"\n".join(half or b"" for half in halves)
        if None in halves:
            yield Fault("", position, faults.UNEVEN_FILES, shown(together).strip())
        elif not all(halves):
            yield Fault("", position, faults.MISSING_SIDE, shown(together).strip())
        else:
            try:
                texts = tuple(half.decode("utf-8") for half in halves if half)
            except UnicodeDecodeError:
                yield Fault("", position, faults.NOT_UTF8, shown(together))
                continue
            yield Record(f"{file}:{position}", file, position, texts)


def _each_line(shard: Shard, record_bytes: int) -> Iterator[bytes | Fault]:
    for batch in read_lines(shard, record_bytes):
        if batch.fault:
            yield batch.as_fault()
        else:
            yield from batch.lines
