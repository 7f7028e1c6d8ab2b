"""The audit of what a study will train on: every document, every row, nothing sampled.

It reads finished text and stream folders and knows nothing of how they were made.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unicodedata import is_normalized

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.conditions import ConditionsDifferError, check_conditions
from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.scripts import count_by_script, isolate
from ccx_ray.corpus.stream import Stream
from ccx_ray.corpus.tokens import TokenCorpus
from ccx_ray.study.spec import IsolationSpec


@dataclass(frozen=True, kw_only=True)
class TextAudit:
    """One column of text: what is in it, and what should not be."""

    corpus: str
    texts: int
    characters: int
    forbidden: int
    """Characters of scripts that the isolation excludes; must be 0."""
    not_normalized: int
    """Texts that are not NFC; must be 0."""
    scripts: Mapping[str, int]
    """Characters by script."""

    @property
    def clean(self) -> bool:
        return not self.forbidden and not self.not_normalized


@dataclass(frozen=True, kw_only=True)
class StreamAudit:
    """The two streams of one language and seed."""

    stream: str
    rows: int
    token_difference: int
    """Tokens but padding in bridge minus those in no-bridge."""
    defect: str
    """What makes the two incomparable; empty when nothing does."""

    @property
    def clean(self) -> bool:
        return not self.defect


def audit_texts(
    name: str, folder: Path, columns: Mapping[str, IsolationSpec], part: str
) -> Iterator[TextAudit]:
    """Audit the text columns of ``documents`` or ``pairs`` of a text folder."""
    for column, isolation in columns.items():
        texts = characters = forbidden = not_normalized = 0
        distinct: Counter[str] = Counter()
        for file in part_files(folder / part):
            values = pq.read_table(file, columns=[column])[column].combine_chunks()
            values = values if isinstance(values, pa.Array) else values.chunk(0)
            texts += len(values)
            characters += pc.sum(pc.utf8_length(values)).as_py() or 0
            forbidden += pc.sum(pc.utf8_length(isolate(values, isolation).excluded)).as_py() or 0
            for text in values.to_pylist():
                not_normalized += not is_normalized("NFC", text)
                distinct.update(text)
        yield TextAudit(
            corpus=f"{name} {part} {column}",
            texts=texts,
            characters=characters,
            forbidden=forbidden,
            not_normalized=not_normalized,
            scripts=count_by_script(distinct),
        )


def audit_streams(name: str, folder: Path, tokens_folder: Path) -> StreamAudit:
    """Compare the two conditions of a stream folder, row by row."""
    bridge, nobridge = folder / "bridge", folder / "nobridge"
    try:
        check_conditions(bridge, nobridge, TokenCorpus.open(tokens_folder))
        defect = ""
    except ConditionsDifferError as error:
        defect = str(error)
    used = [_tokens(Stream.open(path)) for path in (bridge, nobridge)]
    return StreamAudit(
        stream=name,
        rows=Stream.open(bridge).rows,
        token_difference=used[0] - used[1],
        defect=defect,
    )


def audit_content(audits: list[TextAudit | StreamAudit]) -> list[dict[str, Any]]:
    """The audits as JSON-able records."""
    return [{**asdict(audit), "clean": audit.clean} for audit in audits]


def _tokens(stream: Stream) -> int:
    counts: Mapping[str, int] = stream.counts["tokens"]
    return sum(count for part, count in counts.items() if part != "padding")
