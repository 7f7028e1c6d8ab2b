"""The audit's tasks, each by itself, and how their findings are put together.

Invariant: a task reads one part or some rows and nothing else that grows with the corpus; findings
can be merged in any order, as they come in.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ccx_ray.corpus.audit.code_points import Hashes, batch_of, read_batches, text_bytes
from ccx_ray.corpus.audit.composition import Composition, compose
from ccx_ray.corpus.audit.contamination import Contamination, merge_hits, scan
from ccx_ray.corpus.audit.halves import pair_halves
from ccx_ray.corpus.audit.inputs import AuditInputs, Column, ProbeSide, TextTable
from ccx_ray.corpus.audit.probe_index import probe_index
from ccx_ray.corpus.audit.rejected import Rejections, count_rejected
from ccx_ray.corpus.audit.rows import count_rows
from ccx_ray.corpus.audit.sampling import Sampled, draw, merge_drawn
from ccx_ray.corpus.audit.shared_texts import text_digests
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.tokenizing.tokens import TokenCorpus
from ccx_ray.study.text_spec import AuditSpec

TOKENS_PER_TASK = 2**25
HALVES = ".halves-{language}.npy"


class TextTask(NamedTuple):
    """One part of documents or pairs."""

    table: TextTable
    part: Path
    number: int
    probes: tuple[ProbeSide, ...]
    """In the languages of the table's columns."""
    sample: int
    seed: int


class RejectedTask(NamedTuple):
    """One part of the rejected text of a language."""

    language: str
    part: Path
    seed: int


class RowsTask(NamedTuple):
    """Some rows of the two streams of a language and seed."""

    name: str
    folder: Path
    halves: Path
    first: int
    last: int


PartTask = TextTask | RejectedTask | RowsTask


@dataclass(kw_only=True)
class ColumnAudit:
    """What was found in one column of text."""

    composition: Composition = field(default_factory=Composition)
    contamination: Contamination = field(default_factory=dict)
    digests: dict[int, Hashes] = field(default_factory=dict)
    """By part: [rows]."""

    def add(self, other: "ColumnAudit") -> None:
        self.composition.add(other.composition)
        merge_hits(self.contamination, other.contamination)
        self.digests |= other.digests


@dataclass(kw_only=True)
class PartAudit:
    """What one task found, or several together."""

    sample: int
    """Texts that are drawn of every table."""
    columns: dict[str, ColumnAudit] = field(default_factory=dict)
    """By the column's corpus."""
    drawn: dict[str, list[Sampled]] = field(default_factory=dict)
    """By the table's name."""
    rejections: dict[str, Rejections] = field(default_factory=dict)
    """By language."""
    rows: dict[str, Counter[str]] = field(default_factory=dict)
    """By the stream's name."""

    def add(self, other: "PartAudit") -> None:
        """Take over what another task found; the other must not be used any more."""
        for corpus, column in other.columns.items():
            self.columns.setdefault(corpus, ColumnAudit()).add(column)
        for table, drawn in other.drawn.items():
            self.drawn[table] = merge_drawn(self.drawn.get(table, []), drawn, self.sample)
        for language, rejections in other.rejections.items():
            self.rejections.setdefault(language, Rejections()).add(rejections)
        for stream, counts in other.rows.items():
            self.rows.setdefault(stream, Counter()).update(counts)


def audit_tasks(inputs: AuditInputs, spec: AuditSpec, folder: Path) -> list[PartTask]:
    """Everything that is to be done, each task by itself.

    Args:
        folder: the audit's own, which every task must be able to read; the tables of pair halves
            are put there and removed by ``write_audit``.
    """
    tasks: list[PartTask] = []
    for table in inputs.tables:
        languages = {column.language for column in table.columns}
        probes = tuple(side for side in inputs.probes if side.language in languages)
        tasks += [
            TextTask(table, part, number, probes, spec.sample_documents, spec.seed)
            for number, part in enumerate(part_files(table.folder))
        ]
    for language in inputs.languages:
        parts = part_files(language.folder / "rejected")
        tasks += [RejectedTask(language.code, part, spec.seed) for part in parts]
    return tasks + _rows_tasks(inputs, folder)


def _rows_tasks(inputs: AuditInputs, folder: Path) -> list[PartTask]:
    tasks: list[PartTask] = []
    for stream in inputs.streams:
        bridge = Stream.open(stream.folder / "bridge")
        path = folder / HALVES.format(language=stream.language)
        if not path.exists():
            pairs = part_files(inputs.language(stream.language).folder / "pairs")
            lengths = TokenCorpus.open(stream.tokens).lengths
            aside = path.with_name(f"{path.name}.aside.npy")
            np.save(aside, pair_halves(bridge.folder, pairs, lengths))
            aside.replace(path)  # a killed audit leaves no half of a table
        rows = max(bridge.rows, Stream.open(stream.folder / "nobridge").rows)
        step = max(1, TOKENS_PER_TASK // bridge.sequence_length)
        tasks += [
            RowsTask(stream.name, stream.folder, path, first, min(rows, first + step))
            for first in range(0, rows, step)
        ]
    return tasks


def audit_part(task: PartTask) -> PartAudit:
    """Do one task; what is found can be pickled."""
    if isinstance(task, TextTask):
        return _audit_text(task)
    if isinstance(task, RejectedTask):
        rejections = count_rejected(task.part, seed=task.seed)
        return PartAudit(sample=0, rejections={task.language: rejections})
    halves = np.load(task.halves, mmap_mode="r")
    counts = count_rows(task.folder, halves, task.first, task.last)
    return PartAudit(sample=0, rows={task.name: counts})


def merge_parts(found: Iterable[PartAudit], spec: AuditSpec) -> PartAudit:
    """What all tasks found, in whatever order they come in; one at a time is held."""
    merged = PartAudit(sample=spec.sample_documents)
    for part in found:
        merged.add(part)
    return merged


def _audit_text(task: TextTask) -> PartAudit:
    names = [column.name for column in task.table.columns]
    found = PartAudit(sample=task.sample)
    drawn: list[Sampled] = []
    digests: dict[str, list[Hashes]] = {column.corpus: [] for column in task.table.columns}
    for column in task.table.columns:
        found.columns[column.corpus] = ColumnAudit()
    for rows in read_batches(task.part, ["id", "source", *names]):
        drawn = draw(drawn, rows, names, size=task.sample, seed=task.seed)
        ids = rows["id"].to_pylist()
        for column in task.table.columns:
            texts = rows[column.name]
            audit, batch = found.columns[column.corpus], batch_of(texts)
            size = len(text_bytes(texts))
            audit.composition.add(compose(batch, ids, column, size=size))
            index = probe_index(sides_of(column, task.probes), column.isolation)
            merge_hits(audit.contamination, scan(batch, ids, index))
            digests[column.corpus].append(text_digests(texts))
    for corpus, parts in digests.items():
        found.columns[corpus].digests[task.number] = np.concatenate(
            [np.zeros(0, np.uint64), *parts]
        )
    found.drawn[task.table.name] = drawn
    return found


def sides_of(column: Column, probes: Iterable[ProbeSide]) -> tuple[ProbeSide, ...]:
    """The questions that could stand in a column."""
    return tuple(side for side in probes if side.language == column.language)
