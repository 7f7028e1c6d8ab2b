"""The audit of a study's text and streams: its tasks, and the files that it writes.

``audit.json``, ``audit.html``, ``contamination.parquet`` and ``samples/``. A task reads one part of
the text or some rows of the streams, and nothing else that grows with the corpus.
"""

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.audit import contamination, texts
from ccx_ray.corpus.audit.figures import AuditFigures, Example, TranslationFigures, verdicts
from ccx_ray.corpus.audit.halves import FoundHalves, Units, open_pairs, read_pairs
from ccx_ray.corpus.audit.inputs import (
    SIDES,
    AuditedLanguage,
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
    ENGLISH,
    MONOLINGUAL,
    REPLAY,
    SPAN,
    TARGET,
    Contents,
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
Task = Callable[[], Findings]


def audit(
    inputs: AuditInputs, spec: AuditSpec, folder: Path, *, title: str, run_tasks: RunTasks
) -> AuditFigures:
    """Audit everything and write what was found into ``folder``: every text, then every row, of
    which the texts are known by then."""
    found = Findings()
    scratch = WorkLog(folder, "audit").scratch
    for stage, tasks_of in (("texts", text_tasks), ("rows", row_tasks)):
        log, outcomes = WorkLog(folder, f"audit-{stage}"), scratch / stage
        outcomes.mkdir(parents=True, exist_ok=True)
        _run(log, tasks_of(inputs, spec, found, scratch), outcomes, found, run_tasks)
    figures = write_audit(folder, inputs, found, spec, scratch, title=title)
    shutil.rmtree(scratch)  # the folder goes to MLflow as it stands
    return figures


def _run(
    log: WorkLog, tasks: Sequence[Task], outcomes: Path, found: Findings, run_tasks: RunTasks
) -> None:
    """Run some tasks and add what they find."""

    def outcome_of(number: int) -> Path:
        return outcomes / f"found-{number:06d}.pickle"

    def run(number: int) -> dict[str, Any]:
        outcome_of(number).write_bytes(pickle.dumps(tasks[number]()))
        return {}

    run_tasks(log, len(tasks), run)
    for number in range(len(tasks)):
        found.add(pickle.loads(outcome_of(number).read_bytes()))


def text_tasks(inputs: AuditInputs, spec: AuditSpec, _: Findings, scratch: Path) -> list[Task]:
    """Everything that is to be done with the texts, each task by itself; what it finds can be
    pickled. The pairs by content are written to ``scratch`` first."""
    for language in inputs.paired:
        folder = scratch / f"pairs-{language.code}"
        if not folder.exists():
            _save(folder, read_pairs(language.parts("pairs")).arrays())
    tasks: list[Task] = []
    for language in inputs.languages:
        of = inputs.paired if language.code == language.base else [language]
        pairs = {one.code: scratch / f"pairs-{one.code}" for one in of if one in inputs.paired}
        for table in language.tables:
            sought = pairs if table.kind == "documents" else {}
            for number, part in enumerate(part_files(table.folder)):
                task = partial(_audit_text, inputs.probes, table, part, number)
                tasks.append(partial(task, spec=spec, pairs=sought))
        for part in language.parts("rejected"):
            tasks.append(partial(texts.count_rejected, language.code, part, seed=spec.seed))
    return tasks


def _save(folder: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays into a new folder, of which a killed audit leaves no half."""
    aside = folder.with_name(f".{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(aside / f"{name}.npy", array)
    aside.replace(folder)


def row_tasks(inputs: AuditInputs, _: AuditSpec, found: Findings, scratch: Path) -> list[Task]:
    """Everything that is to be done with the rows of the streams. What their documents are and say
    is read from ``scratch`` by every task.

    Args:
        found: in the texts.
    """
    tasks: list[Task] = []
    for stream in inputs.streams:
        folders = {condition: stream.folder / condition for condition in stream.conditions}
        streams = [Stream.open(folder) for folder in folders.values()]
        path = scratch / f"documents-{stream.language}"
        if not path.exists():
            documents = _documents(streams[0], inputs.language(stream.language), stream.tokens)
            contents = _contents(documents, inputs.language(stream.language), found, scratch)
            _save(path, {"documents": documents, **contents._asdict()})
        rows = max(opened.rows for opened in streams)
        step = max(1, TOKENS_PER_TASK // streams[0].sequence_length)
        for first in range(0, rows, step):
            last = min(rows, first + step)
            tasks.append(partial(_audit_rows, stream.name, folders, path, first, last))
    return tasks


def _audit_text(
    probes: Sequence[ProbeSide],
    table: TextTable,
    part: Path,
    number: int,
    *,
    spec: AuditSpec,
    pairs: Mapping[str, Path],
) -> Findings:
    """Audit one part of documents or pairs.

    Args:
        pairs: language -> the folder of its pairs, whose halves are looked for.
    """
    found, first = Findings(), 0
    halves: dict[str, list[FoundHalves]] = {language: [] for language in pairs}
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
            for language, here in _find_halves(batch.texts, pairs):
                here["text"] += first
                halves[language].append(here)
        first += rows.num_rows
    found.halves = {
        (table.name, language): {number: np.concatenate(own)}
        for language, own in halves.items()
        if own
    }
    found.digests = {corpus: {number: np.concatenate(own)} for corpus, own in keys.items()}
    return found


def _find_halves(
    content: Sequence[str], pairs: Mapping[str, Path]
) -> Iterator[tuple[str, FoundHalves]]:
    """The halves of every language's pairs in some texts."""
    if pairs:
        units = Units.of(content)
        for language, folder in pairs.items():
            yield language, open_pairs(folder).lookup.find(content, units)


def _audit_rows(
    name: str, folders: Mapping[Condition, Path], described: Path, first: int, last: int
) -> Findings:
    """Audit some rows of the streams of a language and seed."""
    streams = {condition: Stream.open(folder) for condition, folder in folders.items()}
    names = ("documents", *Contents._fields)
    documents, groups, spans = (np.load(described / f"{n}.npy", mmap_mode="r") for n in names)
    counts = count_rows(streams, documents, first, last, Contents(groups, spans))
    found = Findings()
    found.counts.update({("row", name, what): number for what, number in counts.items()})
    return found


def _documents(stream: Stream, language: AuditedLanguage, tokens: Path) -> Documents:
    """[documents] every document of a language's streams.

    Taken from the text and the tokens, not from the stream's plan, so that the audit does not lean
    on what it audits.
    """
    (english, english_bytes), (target, target_bytes) = (
        _halves(language.parts("pairs"), column) for column in SIDES
    )
    lengths, sizes = TokenCorpus.open(tokens).lengths, (english_bytes, target_bytes)
    return describe_documents(stream, lengths, english, target, sizes=sizes)


def _contents(
    documents: Documents, language: AuditedLanguage, found: Findings, scratch: Path
) -> Contents:
    """What the documents of a language's streams say of its pairs."""
    of_pair, spans = open_pairs(scratch / f"pairs-{language.code}").groups, [np.zeros(0, SPAN)]
    groups = np.full(len(documents), -1, np.int64)
    halves = np.flatnonzero(documents["pair"] >= 0)
    groups[halves] = of_pair[documents["pair"][halves]]
    for code, kind in ((language.code, MONOLINGUAL), (language.base, REPLAY)):
        numbers = np.flatnonzero(documents["kind"] == kind)
        if not len(numbers):
            continue
        here = found.halves_in(f"{code} documents", language.code)
        span = np.zeros(len(here), SPAN)
        span["document"], span["group"] = numbers[here["text"]], of_pair[here["pair"]]
        span["start"], span["end"] = here["start"], here["end"]
        span["kind"] = np.array([ENGLISH, TARGET])[here["side"]]
        spans.append(span)
    every = np.concatenate(spans)
    return Contents(groups, every[np.argsort(every["document"], kind="stable")])


def _halves(pairs: Sequence[Path], column: str) -> tuple[Hashes, texts.Ints]:
    """[pairs] digests and bytes of one side."""
    keys, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for part in pairs:
        for rows in pq.ParquetFile(part).iter_batches(columns=[column]):
            keys.append(digests([rows[column]])[:, 0])
            sizes.append(pc.binary_length(rows[column]).to_numpy().astype(np.int64))
    return np.concatenate(keys), np.concatenate(sizes)


def _translation_figures(
    inputs: AuditInputs, found: Findings, scratch: Path
) -> Iterator[TranslationFigures]:
    """How many documents of each corpus hold a sentence and its translation."""
    for language in inputs.languages:
        corpus = f"{language.code} documents"
        holding, examples, halves, short = set[int](), list[Example](), 0, 0
        sought = [one for one in inputs.paired if language.code in (one.code, one.base)]
        for one in sought:
            pairs = open_pairs(scratch / f"pairs-{one.code}")
            halves += 2 * len(pairs.groups)
            short += 2 * len(pairs.groups) - len(pairs.lookup.halves)
            both = pairs.documents_with_both(found.halves_in(corpus, one.code))
            holding.update(document for document, _ in both)
            for document, pair in both[: texts.SHARED_EXAMPLES - len(examples)]:
                (text,) = texts.examples_of(inputs, corpus, [document])
                english, target = (
                    next(texts.examples_of(inputs, f"{one.base}-{one.code} pairs {side}", [pair]))
                    for side in SIDES
                )
                examples.append(
                    {"document": text["id"], "pair": english["id"], "english": english["text"],
                     "target": target["text"]}
                )  # fmt: skip
        if sought:
            yield TranslationFigures(
                corpus=corpus, documents=found.counts["texts", corpus], holding=len(holding),
                halves=halves, short_halves=short, examples=examples,
            )  # fmt: skip


def _stream_figures(found: Findings, stream: str) -> StreamFigures:
    """The figures of the conditions from the sums over their rows."""
    counted = {str(what): n for (*of, what), n in found.counts.items() if of == ["row", stream]}
    return stream_figures(stream, Counter(counted))


def write_audit(
    folder: Path,
    inputs: AuditInputs,
    found: Findings,
    spec: AuditSpec,
    scratch: Path,
    *,
    title: str,
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
        translations=list(_translation_figures(inputs, found, scratch)),
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
