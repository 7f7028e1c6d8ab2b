"""Line pairs: two files, the lines of one the translations of the lines of the other.

Where one line of a pair is blank, its half is missing; where both are, there is no pair. Uneven
files are read to the end of the longer one, every line of its rest a fault: somewhere before, the
halves may have slipped against each other.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from ccx_ray.corpus.reading.lines import read_lines, shown
from ccx_ray.corpus.reading.record import Fault, Fields, Reason, Record, Shard
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile, find_files
from ccx_ray.study.text_spec import SourceSpec

_WORD = re.compile(r"[^\W\d_]+|\d+")
_PACKED = re.compile(r"\.(?:gz|bz2|xz|zstd?)\Z", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LinePairs(InputFile):
    """The English file, and the one with the other halves."""

    counterpart: InputFile


def find_line_pairs(source: SourceSpec, *, root: Path, field: str) -> list[InputFile]:
    """The files of both languages, matched in the order of their names.

    Raises:
        UserError: one is missing, there are more of one language than of the other, a file stands
            on both sides, or the names of the files that come together tell otherwise.
    """
    english = find_files(source.path, root=root, field=field)
    target = find_files(source.target_path or "", root=root, field=f"{field}.target_path")
    if len(english) != len(target):
        raise UserError(
            f"{field}: {source.path!r} matches {len(english)} files, but target_path "
            f"{source.target_path!r} {len(target)}; every file needs one counterpart"
        )
    pairs = list(zip(english, target, strict=True))
    both = {one.uri for one in english} & {other.uri for other in target}
    differing = [_differing(*pair) for pair in pairs]
    if both or any(one != differing[0] for one in differing):
        sizes = [words.total() + others.total() for words, others in differing]
        one, other = pairs[sizes.index(max(sizes))]
        first, second = (min(both),) * 2 if both else (one.uri, other.uri)
        raise UserError(
            f"{field}: {first!r} comes together with {second!r}; give files whose names differ in "
            "the language alone, or a source for each pair"
        )
    return [
        LinePairs(uri=one.uri, name=one.name, size=one.size, counterpart=other)
        for one, other in pairs
    ]


def _differing(one: InputFile, other: InputFile) -> tuple[Counter[str], Counter[str]]:
    """The words of two paths, but for a compression's ending, that only the one has, and only the
    other; a number is a word of its own, without the zeros that it begins with."""
    words = [
        Counter(word.lstrip("0") for word in _WORD.findall(_PACKED.sub("", file.uri)))
        for file in (one, other)
    ]
    return words[0] - words[1], words[1] - words[0]


def read_moses(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The pairs of two files, called by the name of the first and their line."""
    assert isinstance(shard.file, LinePairs)
    file = shard.file.name
    both = zip_longest(
        _each_line(shard, record_bytes), _each_line(Shard(shard.file.counterpart), record_bytes)
    )
    for position, (one, other) in enumerate(both, 1):
        if one.__class__ is other.__class__ is bytes:
            try:
                texts = (one.decode("utf-8").strip(), other.decode("utf-8").strip())
            except UnicodeDecodeError:
                yield Fault("", position, Reason.NOT_UTF8, shown(one + b"\n" + other))
                continue
            if all(texts):
                yield Record(f"{file}:{position}", file, position, texts)
                continue
        found = _no_pair(one, other, position)
        if found is not None:
            yield found
            if found.ends_file:
                return


def _no_pair(one: bytes | Fault | None, other: bytes | Fault | None, position: int) -> Fault | None:
    """Why two lines are no pair; None where both are blank. Behind the end of its file a line is
    None."""
    wrong = [half for half in (one, other) if isinstance(half, Fault)]
    if wrong:
        return max(wrong, key=lambda fault: fault.ends_file)._replace(position=position)
    halves = [half.strip() for half in (one, other) if isinstance(half, bytes)]
    together = shown(b"\n".join(halves)).strip()
    if not together:
        return None
    reason = Reason.MISSING_SIDE if len(halves) == 2 else Reason.UNEVEN_FILES
    return Fault("", position, reason, together)


def _each_line(shard: Shard, record_bytes: int) -> Iterator[bytes | Fault]:
    for batch in read_lines(shard, record_bytes):
        if batch.fault:
            yield batch.as_fault()
        else:
            yield from batch.lines
