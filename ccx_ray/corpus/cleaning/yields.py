"""What every source and every file of a language yielded, and whether that is too little.

Invariant: no source and no file is lost in silence. A source of which nothing is left ends the
step, unless all of it repeats earlier text; a file of which nothing, or much less than expected, is
left is warned about.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ccx_ray.corpus.cleaning.duplicates import REASONS as REPETITIONS
from ccx_ray.corpus.cleaning.duplicates import REPEATED_ID
from ccx_ray.corpus.reading.record import Reason
from ccx_ray.corpus.reading.sources import TextSource
from ccx_ray.errors import InputError
from ccx_ray.storage.publishing import publish_json

SOURCES = "sources.json"
NO_LOSS = frozenset({*REPETITIONS, Reason.REDIRECT, Reason.NOT_AN_ARTICLE}) - {REPEATED_ID}
"""Reasons for which a good file may lose most of its records; one whose ids are all the same is
none."""
LOST_SHARE = 0.5
"""Of a file's records; as many as ``audit.rejected_share`` allows a whole corpus."""
TEXT_SHARE, TEXT_FROM = 0.05, 2**16
"""Least share of text in a file, and from which size on: TMX is a fifth text, JSON Lines with many
other fields a tenth."""
NAMED = 5
"""Files that a warning names."""


@dataclass(kw_only=True)
class FileYield:
    """What came of one file."""

    name: str
    bytes: int
    """0 where it is not known, of data sets."""
    read: int = 0
    text_bytes: int = 0
    """Of the records that were read, before isolation."""
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first: str = ""
    """Place of the first rejected record."""

    @property
    def reasons(self) -> str:
        counted = [f"{number:,} {reason}" for reason, number in self.rejected.most_common(3)]
        return ", ".join(counted) or "no records"

    @property
    def lost(self) -> int:
        """Records lost for reasons that a good file does not have."""
        return sum(n for reason, n in self.rejected.items() if reason not in NO_LOSS)


@dataclass(kw_only=True)
class SourceYield:
    """What came of one source, file by file."""

    source: TextSource
    files: dict[str, FileYield] = field(default_factory=dict)
    """By the URI of the file."""


def check_sources(yields: Iterable[SourceYield]) -> None:
    """Raises an ``InputError`` for the first source of which nothing is left."""
    for one in yields:
        files = one.files.values()
        repeated = sum(f.rejected[reason] for f in files for reason in REPETITIONS)
        if repeated or any(f.kept for f in files):
            continue
        total = FileYield(name="", bytes=0, rejected=sum((f.rejected for f in files), Counter()))
        first = next((f", first {f.name}, {f.first}" for f in files if f.first), "")
        raise InputError(
            f"{one.source.field}: none of {sum(f.read for f in files)} records of "
            f"{one.source.spec.label!r} is kept ({total.reasons}{first}); give text with the "
            f"fields {' and '.join(one.source.sides)}, or remove the source"
        )


def warnings(yields: Iterable[SourceYield]) -> list[str]:
    """One line a source and kind of loss, naming the files."""
    lines: list[str] = []
    for one in yields:
        files = list(one.files.values())
        nothing = [f for f in files if not f.kept]
        some = [f for f in files if f.kept]
        little = [f for f in some if f.bytes >= TEXT_FROM and f.text_bytes < TEXT_SHARE * f.bytes]
        kinds: list[tuple[str, Sequence[FileYield], Callable[[FileYield], str]]] = [
            ("nothing is kept", nothing, lambda f: f.reasons),
            (
                "more than half of the records are lost",
                [f for f in some if f.lost > LOST_SHARE * f.read],
                lambda f: f"{f.lost:,} of {f.read:,}: {f.reasons}",
            ),
            ("there is little text", little, lambda f: f"{f.text_bytes:,} of {f.bytes:,} bytes"),
        ]
        for what, found, detail in kinds:
            if found:
                named = ", ".join(f"{f.name} ({detail(f)})" for f in found[:NAMED])
                more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
                lines.append(
                    f"{one.source.field}: {what} in {len(found)} of {len(files)} files of "
                    f"{one.source.spec.label!r}: {named}{more}"
                )
    return lines


def write_yields(folder: Path, yields: Iterable[SourceYield]) -> None:
    """Write ``sources.json``: all counts, source by source and file by file."""
    publish_json(
        folder / SOURCES,
        [
            {
                "field": one.source.field,
                "source": one.source.spec.label,
                "kind": one.source.kind,
                "files": [
                    {
                        "file": f.name,
                        "bytes": f.bytes,
                        "read": f.read,
                        "text_bytes": f.text_bytes,
                        "kept": f.kept,
                        "rejected": dict(f.rejected.most_common()),
                    }
                    for f in one.files.values()
                ],
            }
            for one in yields
        ],
    )
