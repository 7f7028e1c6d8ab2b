"""The audit of a study's text and streams: its tasks, and the files that it writes.

``audit.json``, ``audit.html``, ``contamination.parquet`` and ``samples/``. A task reads one part of
the text or some rows of the streams, and nothing else that grows with the corpus.
"""

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.audit import contamination, texts
from ccx_ray.corpus.audit.figures import AuditFigures, verdicts
from ccx_ray.corpus.audit.inputs import (
    AuditInputs,
    Findings,
    Hashes,
    ProbeSide,
    TextTable,
    sides_of,
)
from ccx_ray.corpus.audit.page import audit_page, sample_page
from ccx_ray.corpus.cleaning.duplicates import digests
from ccx_ray.corpus.packing.conditions import (
    Documents,
    StreamFigures,
    count_rows,
    describe_documents,
    stream_figures,
)
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.tokenizing.tokens import TokenCorpus
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_bytes, publish_json
from ccx_ray.study.spec import Condition
from ccx_ray.study.text_spec import AuditSpec

FIGURES = "audit.json"
PAGE = "audit.html"
CONTAMINATION = "contamination.parquet"
TOKENS_PER_TASK = 2**25


def audit(
    inputs: AuditInputs, spec: AuditSpec, folder: Path, *, title: str, run_tasks: RunTasks
) -> AuditFigures:
    """Audit everything and write what was found into ``folder``."""
    log = WorkLog(folder, "audit")
    log.scratch.mkdir(parents=True, exist_ok=True)
    tasks = audit_tasks(inputs, spec, log.scratch)

    def found_of(number: int) -> Path:
        return log.scratch / f"found-{number:06d}.pickle"

    def run(number: int) -> dict[str, Any]:
        found_of(number).write_bytes(pickle.dumps(tasks[number]()))
        return {}

    run_tasks(log, len(tasks), run)
    found = Findings()
    for number in range(len(tasks)):
        found.add(pickle.loads(found_of(number).read_bytes()))
    figures = write_audit(folder, inputs, found, spec, title=title)
    shutil.rmtree(log.scratch)  # the folder goes to MLflow as it stands
    return figures


def audit_tasks(
    inputs: AuditInputs, spec: AuditSpec, scratch: Path
) -> list[Callable[[], Findings]]:
    """Everything that is to be done, each task by itself; what it finds can be pickled. What the
    documents of the streams are is read from ``scratch`` by every task."""
    tasks: list[Callable[[], Findings]] = [
        partial(_audit_text, inputs.probes, table, part, number, spec)
        for table in inputs.tables
        for number, part in enumerate(part_files(table.folder))
    ]
    for language in inputs.languages:
        for part in part_files(language.folder / "rejected"):
            tasks.append(partial(texts.count_rejected, language.code, part, seed=spec.seed))
    for stream in inputs.streams:
        folders = {condition: stream.folder / condition for condition in stream.conditions}
        streams = [Stream.open(folder) for folder in folders.values()]
        path = scratch / f"documents-{stream.language}.npy"
        if not path.exists():
            pairs = part_files(inputs.language(stream.language).folder / "pairs")
            lengths = TokenCorpus.open(stream.tokens).lengths
            aside = path.with_name(f".{path.name}")
            np.save(aside, _documents(streams[0], pairs, lengths))
            aside.replace(path)  # a killed audit leaves no half of a table
        rows = max(opened.rows for opened in streams)
        step = max(1, TOKENS_PER_TASK // streams[0].sequence_length)
        for first in range(0, rows, step):
            last = min(rows, first + step)
            tasks.append(partial(_audit_rows, stream.name, folders, path, first, last))
    return tasks


def _audit_text(
    probes: Sequence[ProbeSide], table: TextTable, part: Path, number: int, spec: AuditSpec
) -> Findings:
    """Audit one part of documents or pairs."""
    found = Findings()
    indexes = {
        column.corpus: contamination.probe_index(sides_of(column, probes), column.isolation)
        for column in table.columns
    }
    names = [column.name for column in table.columns]
    keys: dict[str, list[Hashes]] = {
        column.corpus: [np.zeros(0, np.uint64)] for column in table.columns
    }
    for rows in texts.read_batches(part, ["id", "source", *names]):
        drawn = texts.draw(rows, names, size=spec.sample_documents, seed=spec.seed)
        found.keep(("sample", table.name), drawn, spec.sample_documents)
        ids = rows["id"].to_pylist()
        for column in table.columns:
            batch = texts.batch_of(rows[column.name].to_pylist())
            found.counts["bytes", column.corpus] += sum(
                pc.binary_length(rows[column.name]).to_pylist()
            )
            texts.count_scripts(found, column, batch, ids)
            contamination.count_questions(found, column.corpus, batch, ids, indexes[column.corpus])
            keys[column.corpus].append(digests([rows[column.name]])[:, 0])
    found.digests = {corpus: {number: np.concatenate(own)} for corpus, own in keys.items()}
    return found


def _audit_rows(
    name: str, folders: Mapping[Condition, Path], documents: Path, first: int, last: int
) -> Findings:
    """Audit some rows of the streams of a language and seed."""
    streams = {condition: Stream.open(folder) for condition, folder in folders.items()}
    counts = count_rows(streams, np.load(documents, mmap_mode="r"), first, last)
    found = Findings()
    found.counts.update({("row", name, what): number for what, number in counts.items()})
    return found


def _documents(stream: Stream, pairs: Sequence[Path], token_lengths: texts.Ints) -> Documents:
    """[documents] every document of a language's streams, whose pairs stand in these parts.

    Taken from the text and the tokens, not from the stream's plan, so that the audit does not lean
    on what it audits.
    """
    (english, english_bytes), (target, target_bytes) = (
        _halves(pairs, column) for column in ("english", "target")
    )
    sizes = (english_bytes, target_bytes)
    return describe_documents(stream, token_lengths, english, target, sizes=sizes)


def _halves(pairs: Sequence[Path], column: str) -> tuple[Hashes, texts.Ints]:
    """[pairs] digests and bytes of one side."""
    keys, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for part in pairs:
        for rows in pq.ParquetFile(part).iter_batches(columns=[column]):
            keys.append(digests([rows[column]])[:, 0])
            sizes.append(pc.binary_length(rows[column]).to_numpy().astype(np.int64))
    return np.concatenate(keys), np.concatenate(sizes)


def _stream_figures(found: Findings, stream: str) -> StreamFigures:
    """The figures of the conditions from the sums over their rows."""
    counted = {str(what): n for (*of, what), n in found.counts.items() if of == ["row", stream]}
    return stream_figures(stream, Counter(counted))


def write_audit(
    folder: Path, inputs: AuditInputs, found: Findings, spec: AuditSpec, *, title: str
) -> AuditFigures:
    """Write what all tasks together found."""
    rows, questions = [pa.Table.from_pylist([], contamination.SCHEMA)], []
    for column in inputs.columns:
        sides = sides_of(column, inputs.probes)
        of_column = contamination.question_rows(
            found, column, sides, contamination.probe_index(sides, column.isolation)
        )
        rows.append(pa.Table.from_pylist(of_column, contamination.SCHEMA))
        for side in sides:
            own = [row for row in of_column if row["culture"] == side.culture]
            questions.append(contamination.contamination_figures(own, side, column.corpus))
    digested = {
        column.corpus: found.texts(column.corpus)
        for column in inputs.columns
        if not column.is_planted
    }
    figures = AuditFigures(
        seed=spec.seed,
        sample_documents=spec.sample_documents,
        scripts=[texts.script_figures(found, column) for column in inputs.columns],
        contamination=questions,
        shared=list(texts.shared_figures(inputs, digested)),
        overlaps=list(texts.overlap_figures(inputs, digested)),
        streams=[_stream_figures(found, name) for name in sorted(s.name for s in inputs.streams)],
        rejections=[
            part for language in inputs.languages for part in texts.rejection_figures(language)
        ],
        rejected=[texts.rejected_figures(found, language) for language in inputs.languages],
        samples={table.name: f"samples/{table.page}" for table in inputs.tables},
    )
    pq.write_table(pa.concat_tables(rows), folder / CONTAMINATION, compression="zstd")
    (folder / "samples").mkdir(exist_ok=True)
    for table in inputs.tables:
        page = sample_page(table, found.kept(("sample", table.name)), figures, title=title)
        publish_bytes(folder / "samples" / table.page, page.encode())
    page = audit_page(figures, verdicts(figures, spec), title=title)
    publish_bytes(folder / PAGE, page.encode())
    publish_json(folder / FIGURES, figures.model_dump(mode="json"))
    return figures


def read_figures(folder: Path) -> AuditFigures:
    """The figures of a finished audit."""
    return AuditFigures.model_validate(json.loads((folder / FIGURES).read_text("utf-8")))
