"""What is counted in every text: the scripts that it is written in, a seeded sample to read, what
was rejected, and texts that stand in more than one corpus.

Text is counted as arrays of code points, whole batches at once. Invariant: which texts are drawn
depends on the seed and the ids alone, not on their order, nor on the parts in which they stand. A
digest of a text has 64 bits: among 10 million texts two different ones agree once in 400,000
audits.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import is_normalized

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.figures import (
    OverlapFigures,
    RejectedFigures,
    RejectionFigures,
    ScriptFigures,
    SharedFigures,
)
from ccx_ray.corpus.audit.inputs import AuditedLanguage, AuditInputs, Column, Findings, Hashes
from ccx_ray.corpus.cleaning.scripts import CODE_POINTS, SCRIPTS, UNKNOWN_SCRIPT, script_ranges
from ccx_ray.corpus.parts import part_files

Points = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]

BATCH_BYTES = 2**19
"""Text of one batch, whose arrays stay within a core's caches."""
ROWS_PER_READ = 4096
SCRIPT_NAMES: tuple[str, ...] = tuple(sorted(SCRIPTS | {UNKNOWN_SCRIPT}))
"""Script of each number in ``script_numbers``."""
WORST_TEXTS = 20
WORST_CHARACTERS = 120
SAMPLE_CHARACTERS = 4_000
"""Of each text of a sample, so that a page can be opened in a browser."""
REJECTED_EXAMPLES = 3
"""Of each reason; drawn by seed as the sample is."""
REJECTED_CHARACTERS = 240
REJECTED_COLUMNS = ["reason", "id", "text", "file", "position", "duplicate_of"]
EXAMPLE_FIELDS = ("id", "place", "text", "duplicate_of")
SHARED_EXAMPLES = 5
SHARED_CHARACTERS = 160


class Batch(NamedTuple):
    """Some texts as code points, one behind the other with nothing between them."""

    texts: Sequence[str]
    points: Points
    starts: Ints
    """[texts] where each begins in ``points``."""
    ends: Ints


def batch_of(texts: Sequence[str]) -> Batch:
    """Texts as code points."""
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
    return Batch(texts, points_of("".join(texts)), starts, ends)


def points_of(text: str) -> Points:
    """The code points of a string."""
    return np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)


def as_text(points: Points) -> str:
    """Code points as a string."""
    return points.astype("<u4").tobytes().decode("utf-32-le")


def read_batches(part: Path, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a part in batches of about ``BATCH_BYTES`` of text, a longer text by itself."""
    for rows in pq.ParquetFile(part).iter_batches(ROWS_PER_READ, columns=list(columns)):
        size = sum(pc.binary_length(column).fill_null(0).to_numpy() for column in rows.columns)
        batch = (np.cumsum(size) - size) // BATCH_BYTES
        for first, last in pairwise([0, *(np.flatnonzero(np.diff(batch)) + 1), rows.num_rows]):
            yield rows.slice(first, last - first)


@cache
def script_numbers() -> npt.NDArray[np.uint8]:
    """[0x110000] the number of every code point's script in ``SCRIPT_NAMES``."""
    numbers = np.full(CODE_POINTS, SCRIPT_NAMES.index(UNKNOWN_SCRIPT), np.uint8)
    for number, name in enumerate(SCRIPT_NAMES):
        for first, last in script_ranges([name]):
            numbers[first : last + 1] = number
    return numbers


def scripts_among(names: Collection[str]) -> npt.NDArray[np.bool_]:
    """[scripts] which of ``SCRIPT_NAMES`` are among these."""
    return np.array([name in names for name in SCRIPT_NAMES])


def count_scripts(found: Findings, column: Column, batch: Batch, ids: Sequence[str]) -> None:
    """Count the characters of a batch by script, and keep the texts that are least as expected."""
    corpus, by_point = column.corpus, np.bincount(batch.points)
    numbers = np.bincount(script_numbers()[: len(by_point)], by_point, len(SCRIPT_NAMES))
    odd = ~scripts_among(column.expected or SCRIPT_NAMES)
    wrong = [
        id_ for id_, text in zip(ids, batch.texts, strict=True) if not is_normalized("NFC", text)
    ]
    for name, number in zip(SCRIPT_NAMES, numbers.astype(int).tolist(), strict=True):
        found.counts["script", corpus, name] += number
    found.counts["texts", corpus] += len(ids)
    found.counts["not NFC", corpus] += len(wrong)
    found.keep(("not NFC", corpus), ((id_,) for id_ in wrong), WORST_TEXTS)
    if numbers[odd].any():
        found.keep(("worst", corpus), _worst(batch, ids, odd), WORST_TEXTS)


def _worst(
    batch: Batch, ids: Sequence[str], unexpected: npt.NDArray[np.bool_]
) -> Iterator[tuple[Any, ...]]:
    """Texts with the largest share of unexpected scripts, then with most of them, then by id."""
    scripts = script_numbers()[batch.points]
    odd = unexpected[scripts]
    before = np.concatenate([[0], np.cumsum(odd)])
    count = before[batch.ends] - before[batch.starts]
    share = count / np.maximum(batch.ends - batch.starts, 1)
    least = np.sort(share)[-WORST_TEXTS:][0]
    for i in np.flatnonzero((count > 0) & (share >= least)).tolist():
        start, text = int(batch.starts[i]), batch.texts[i]
        places = np.flatnonzero(odd[start : batch.ends[i]])
        script = SCRIPT_NAMES[np.bincount(scripts[start + places]).argmax()]
        first = max(0, int(places[0]) - WORST_CHARACTERS // 3)
        excerpt = text[first : first + WORST_CHARACTERS]
        yield -float(share[i]), -int(count[i]), ids[i], script, excerpt


def script_figures(found: Findings, column: Column) -> ScriptFigures:
    """What a column of text is written in."""
    corpus, (keep, remove) = column.corpus, (column.isolation.keep, column.isolation.remove)
    by_script = Counter({name: found.counts["script", corpus, name] for name in SCRIPT_NAMES})
    excluded = set(SCRIPT_NAMES) - set(keep) if keep else set(remove)
    unexpected = set(SCRIPT_NAMES) - set(column.expected or SCRIPT_NAMES)
    worst = [
        {"id": id_, "share": -share, "characters": -number, "script": script, "excerpt": excerpt}
        for share, number, id_, script, excerpt in found.kept(("worst", corpus))
    ]
    return ScriptFigures(
        corpus=corpus,
        language=column.language,
        texts=found.counts["texts", corpus],
        bytes=found.counts["bytes", corpus],
        characters=by_script.total(),
        scripts={script: number for script, number in by_script.most_common() if number},
        expected=column.expected,
        unexpected=sum(by_script[script] for script in unexpected),
        forbidden=sum(by_script[script] for script in excluded),
        not_normalized=found.counts["not NFC", corpus],
        not_normalized_ids=[id_ for (id_,) in found.kept(("not NFC", corpus))],
        worst=worst,
    )


class Sampled(NamedTuple):
    """One drawn document or pair."""

    key: bytes
    """The hash that decides."""
    id: str
    source: str
    texts: tuple[str, ...]
    """The beginning of each of its sides."""
    characters: tuple[int, ...]
    """The whole length of each."""


def sample_key(seed: int, id_: str) -> bytes:
    """8 bytes that decide who is drawn."""
    return blake2b(f"{seed}:{id_}".encode(), digest_size=8).digest()


def draw(rows: pa.RecordBatch, columns: Sequence[str], *, size: int, seed: int) -> list[Sampled]:
    """At most ``size`` of some rows."""
    ids = rows["id"].to_pylist()
    keys = [sample_key(seed, id_) for id_ in ids]
    drawn = []
    for i in heapq.nsmallest(size, range(len(ids)), key=lambda i: (keys[i], ids[i])):
        texts = [rows[column][i].as_py() for column in columns]
        shown = tuple(text[:SAMPLE_CHARACTERS] for text in texts)
        source = rows["source"][i].as_py() or ""
        drawn.append(Sampled(keys[i], ids[i], source, shown, tuple(map(len, texts))))
    return drawn


def count_rejected(language: str, part: Path, *, seed: int) -> Findings:
    """Count one part of ``rejected`` by reason."""
    found = Findings()
    for rows in pq.ParquetFile(part).iter_batches(columns=REJECTED_COLUMNS):
        drawn: dict[str, list[tuple[bytes, str, str, str, str]]] = {}
        texts = pc.utf8_slice_codeunits(rows["text"], 0, REJECTED_CHARACTERS).to_pylist()
        for row, text in zip(rows.drop_columns(["text"]).to_pylist(), texts, strict=True):
            place = f"{row['file']}, {row['position']}"
            key = sample_key(seed, f"{place}:{row['id']}")
            example = (key, row["id"] or "", place, text or "", row["duplicate_of"] or "")
            drawn.setdefault(row["reason"], []).append(example)
        for reason, examples in drawn.items():
            found.counts["rejected", language, reason] += len(examples)
            found.keep(("rejected", language, reason), examples, REJECTED_EXAMPLES)
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
        examples={
            reason: [
                dict(zip(EXAMPLE_FIELDS, example, strict=True))
                for _, *example in found.kept(("rejected", language.code, reason))
            ]
            for reason in sorted(counted)
        },
    )


def shared_figures(inputs: AuditInputs, digests: Mapping[str, Hashes]) -> Iterator[SharedFigures]:
    """What every two corpora have in common, by the digests of their texts; those that share
    nothing are left out."""
    distinct = {corpus: np.unique(own) for corpus, own in digests.items()}
    for corpus, other in combinations(digests, 2):
        common = np.intersect1d(distinct[corpus], distinct[other], assume_unique=True)
        if not len(common):
            continue
        here, there = (np.isin(digests[name], common) for name in (corpus, other))
        texts, other_texts = int(here.sum()), int(there.sum())
        shown = np.flatnonzero(here)[:SHARED_EXAMPLES].tolist()
        yield SharedFigures(
            corpus=corpus,
            other=other,
            distinct=len(common),
            texts=texts,
            share=texts / len(here),
            other_texts=other_texts,
            other_share=other_texts / len(there),
            examples=list(examples_of(inputs, corpus, shown)),
        )


def overlap_figures(inputs: AuditInputs, digests: Mapping[str, Hashes]) -> Iterator[OverlapFigures]:
    """How much of each corpus stands in those that it must differ from; see the figures."""
    documents = {column.corpus for column in inputs.columns if column.name == "text"}
    for corpus, own in digests.items():
        others = [
            digests[other] for other in digests if other != corpus and documents & {corpus, other}
        ]
        shared = int(np.isin(own, np.concatenate(others)).sum()) if others else 0
        share = shared / len(own) if len(own) else 0.0
        yield OverlapFigures(corpus=corpus, texts=len(own), shared=shared, share=share)


def examples_of(inputs: AuditInputs, corpus: str, rows: Sequence[int]) -> Iterator[dict[str, str]]:
    """Id and beginning of the texts in some rows of a corpus, which are read again."""
    table, column = next(
        (table, column)
        for table in inputs.tables
        for column in table.columns
        if column.corpus == corpus
    )
    first = 0
    for part in part_files(table.folder):
        last = first + pq.read_metadata(part).num_rows
        for row in rows:
            if first <= row < last:
                one = pq.read_table(part, columns=["id", column.name]).slice(row - first, 1)
                id_, text = (name[0].as_py() for name in one.columns)
                yield {"id": id_, "text": text[:SHARED_CHARACTERS]}
        first = last
