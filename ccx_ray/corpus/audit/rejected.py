"""What was rejected and why, counted from the side files themselves, with a few to read."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.figures import Example, RejectedFigures, RejectionFigures
from ccx_ray.corpus.audit.findings import Findings
from ccx_ray.corpus.audit.inputs import AuditedLanguage
from ccx_ray.corpus.audit.sampling import sample_key
from ccx_ray.corpus.parts import part_files

EXAMPLES = 3
"""Of each reason; drawn by seed as the sample is."""
EXCERPT_CHARACTERS = 240
EXAMPLE_FIELDS = ("id", "place", "text", "duplicate_of")
COLUMNS = ["reason", "id", "text", "file", "position", "duplicate_of"]


def count_rejected(language: str, part: Path, *, seed: int) -> Findings:
    """Count one part of ``rejected`` by reason."""
    found = Findings()
    for rows in pq.ParquetFile(part).iter_batches(columns=COLUMNS):
        drawn: dict[str, list[tuple[bytes, str, str, str, str]]] = {}
        texts = pc.utf8_slice_codeunits(rows["text"], 0, EXCERPT_CHARACTERS).to_pylist()
        for row, text in zip(rows.drop_columns(["text"]).to_pylist(), texts, strict=True):
            place = f"{row['file']}, {row['position']}"
            key = sample_key(seed, f"{place}:{row['id']}")
            example = (key, row["id"] or "", place, text or "", row["duplicate_of"] or "")
            drawn.setdefault(row["reason"], []).append(example)
        for reason, examples in drawn.items():
            found.counts["rejected", language, reason] += len(examples)
            found.keep(("rejected", language, reason), examples, EXAMPLES)
    return found


def rejection_figures(language: AuditedLanguage) -> Iterator[RejectionFigures]:
    """What the text step counted, of documents and of pairs."""
    for table in language.tables:
        if counts := language.counts.get(table.kind):
            parts = part_files(table.folder)
            yield RejectionFigures(
                corpus=table.name,
                read=counts["read"],
                kept=counts["kept"],
                rejected=dict(Counter(counts["rejected"]).most_common()),
                standing=sum(pq.read_metadata(part).num_rows for part in parts),
            )


def rejected_figures(found: Findings, language: AuditedLanguage) -> RejectedFigures:
    """What stands in the side files, and whether the text step counted the same."""
    noted: Counter[str] = Counter()
    for table in language.tables:
        noted.update(language.counts.get(table.kind, {}).get("rejected", {}))
    counted = Counter(
        {str(r): n for (*of, r), n in found.counts.items() if of == ["rejected", language.code]}
    )
    return RejectedFigures(
        language=language.code,
        counted=dict(counted.most_common()),
        adds_up=not language.counts or +noted == counted,
        examples={reason: _examples(found, language.code, reason) for reason in sorted(counted)},
    )


def _examples(found: Findings, language: str, reason: str) -> list[Example]:
    kept = found.kept(("rejected", language, reason))
    return [dict(zip(EXAMPLE_FIELDS, example, strict=True)) for _, *example in kept]
