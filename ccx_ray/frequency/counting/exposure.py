"""Exposure: how much of the evidence for every question a checkpoint had consumed.

Evidence is a span of a document: where a judge found the knowledge, or the whole text where it
pointed at nothing. It is looked for in the streams as the bytes that the consumed rows' tokens
spell, so that a document that was held out, cut, drawn twice or not reached yet counts as what it
was. Invariants: characters and bytes count in the text as it stands in the corpus, isolated and in
NFC, which is what the tokens of a stream spell; a number is the sum over evidence of bytes consumed
/ bytes of the evidence: 1.0 is one piece of evidence, read whole, once.

Rows of a step that a training skipped count as consumed, as in the ledger: they were read, though
not learnt from. ``applied`` in ``losses.parquet`` tells which these are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.corpus.packing.exposure import ExposureLedger, PartIds
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.frequency.text.documents import DOCUMENTS, ENGLISH, TARGET, CorpusRows
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.storage.publishing import publish_parquet, writing_aside

_INT = pa.int64()
EVIDENCE = pa.schema(
    [("question", _INT), ("document", pa.string()), ("start", _INT), ("length", _INT)]
)
"""Of the questions of one culture in one part of a text folder; start and length in bytes."""


def evidence_bytes(rows: pa.Table, text_folder: Path, part: str) -> pa.Table:
    """``EVIDENCE`` of rows of ``exhaustive.parquet``, or accepted ones of ``retrieved.parquet``.

    Raises:
        ValueError: the text folder has another text in such a row.
    """
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, row in enumerate(rows["row"].to_pylist()):
        places[row].append(place)
    names = rows["document"].to_pylist()
    starts, lengths = (
        rows[name].to_numpy().astype(np.int64) for name in ("evidence_start", "evidence_length")
    )
    for row, document in CorpusRows(text_folder, part).documents(sorted(places)):
        for place in places.pop(row):
            if names[place] != document.id:
                raise ValueError(
                    f"{text_folder}: row {row} of {part} is {document.id!r}, and not "
                    f"{names[place]!r} as the evidence says"
                )
            start, end = starts[place], starts[place] + lengths[place]
            if not lengths[place]:
                start, end = 0, len(document.text)
            starts[place] = len(document.text[:start].encode())
            lengths[place] = len(document.text[start:end].encode())
    if places:
        raise ValueError(f"{text_folder}: {part} has no row {min(places)}")
    return pa.table([rows["question"].cast(_INT), names, starts, lengths], schema=EVIDENCE)


Ints = NDArray[np.int64]
Times = NDArray[np.float64]

SCHEMA = pa.schema(
    [
        ("trial", pa.string()),
        ("step", pa.int32()),
        ("question", pa.int32()),
        ("language", pa.string()),
        *((name, pa.float64()) for name in ("judged", "base", "monolingual", "parallel", "replay")),
        ("exposure", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A stream and how it is consumed."""

    stream: Path
    rows_per_step: int


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """The trials of a language and their bases, and the checkpoints that are asked about."""

    bases: Mapping[str, Training]
    base_steps: int
    """After which the trials begin."""
    trials: Mapping[str, tuple[str, Training]]
    """By name, each with the name of its base."""
    steps: Sequence[int]
    """Checkpoints of every trial, from 1; 0 is added."""


def exposure_table(
    *,
    culture: str,
    base_language: str,
    questions: int,
    supports: pa.Table,
    retrieved: pa.Table,
    base_text: Path,
    text: Path,
    trainings: Trainings,
    folder: Path,
    run_tasks: RunTasks,
) -> pa.Table:
    """What every trial of a language had consumed of its questions' evidence.

    Args:
        questions: of the culture.
        supports: ``exhaustive.parquet`` of the culture.
        retrieved: ``retrieved.parquet`` of the culture; refused documents are left out here.
        base_text: text folder of the base language; ``text`` that of the culture's language.
        folder: of the step; what is finished of it is not done again.
        run_tasks: runs a task a kind of evidence, then one a stream.

    Returns:
        ``exposure.parquet``: a row for every trial, step, question and language of the text.
    """
    judged = retrieved.filter(retrieved["verdict"])
    judged = judged.append_column("part", pa.array([DOCUMENTS] * judged.num_rows, pa.string()))
    sources = {
        "english documents": (supports, base_language, DOCUMENTS),
        "english halves": (supports, base_language, ENGLISH),
        "documents": (supports, culture, DOCUMENTS),
        "halves": (supports, culture, TARGET),
        "judged english documents": (judged, base_language, DOCUMENTS),
        "judged documents": (judged, culture, DOCUMENTS),
    }
    log = WorkLog(folder, "evidence")
    files = {kind: log.scratch / f"{kind}.parquet" for kind in sources}

    def locate(number: int) -> dict[str, Any]:
        kind = list(sources)[number]
        table, corpus, part = sources[kind]
        own = table.filter(
            pc.and_(pc.equal(table["corpus"], corpus), pc.equal(table["part"], part))
        )
        of_base = corpus == base_language and part == DOCUMENTS
        evidence = evidence_bytes(own, base_text if of_base else text, part)
        publish_parquet(files[kind], evidence)
        return {"evidence": len(evidence)}

    run_tasks(log, len(sources), locate)
    of_base = {
        "base": ("monolingual", "english documents"),
        "judged base": ("monolingual", "judged english documents"),
    }
    of_trial = {
        "replay": ("replay", "english documents"),
        "english": ("english", "english halves"),
        "monolingual": ("monolingual", "documents"),
        "target": ("target", "halves"),
        "judged replay": ("replay", "judged english documents"),
        "judged": ("monolingual", "judged documents"),
    }
    at_steps = np.array([0, *trainings.steps], np.int64)
    bases, trials = trainings.bases, trainings.trials
    log = WorkLog(folder, "streams")

    def times_file(number: int) -> Path:
        return log.scratch / f"times-{number:05d}.npz"

    def consume(number: int) -> dict[str, Any]:
        is_base = number < len(bases)
        training = [*bases.values(), *(trial for _, trial in trials.values())][number]
        parts = of_base if is_base else of_trial
        found = consumed(
            training,
            {name: (part, pq.read_table(files[kind])) for name, (part, kind) in parts.items()},
            steps=np.array([trainings.base_steps]) if is_base else at_steps,
            questions=questions,
        )
        with writing_aside(times_file(number)) as path, path.open("wb") as file:
            np.savez(file, **found)  # type: ignore[arg-type]
        return {}

    run_tasks(log, len(bases) + len(trials), consume)
    at_bases = {name: np.load(times_file(number)) for number, name in enumerate(bases)}
    nothing = np.zeros((questions, len(at_steps)))
    tables = [SCHEMA.empty_table()]
    for number, (trial, (base, _)) in enumerate(trials.items(), start=len(bases)):
        at_base = at_bases[base]
        found = np.load(times_file(number))
        columns = {
            base_language: {
                "judged": at_base["judged base"] + found["judged replay"],
                "base": at_base["base"] + nothing,
                "monolingual": nothing,
                "parallel": found["english"],
                "replay": found["replay"],
            },
            culture: {
                "judged": found["judged"],
                "base": nothing,
                "monolingual": found["monolingual"],
                "parallel": found["target"],
                "replay": nothing,
            },
        }
        tables += [_table(trial, at_steps, language, own) for language, own in columns.items()]
    return pa.concat_tables(tables)


def consumed(
    training: Training,
    sought: Mapping[str, tuple[str, pa.Table]],
    *,
    steps: Ints,
    questions: int,
) -> dict[str, Times]:
    """Name -> [questions, steps] evidence that had been consumed when each step was complete.

    Args:
        sought: name -> part of the stream, and the ``EVIDENCE`` that is looked for in it.
        steps: 0 is before the training.
    """
    stream = Stream.open(training.stream)
    index = cache(partial(PartIds.of, stream))
    numbers = [
        # An index is not made for a part in which nothing is looked for.
        index(part).find(evidence["document"].to_pylist()) if len(evidence) else np.zeros(0, int)
        for part, evidence in sought.values()
    ]
    evidence = pa.concat_tables([table for _, table in sought.values()])
    ledger = ExposureLedger.of_spans(
        stream,
        rows_per_step=training.rows_per_step,
        documents=np.concatenate(numbers),
        starts=evidence["start"].to_numpy(),
        lengths=evidence["length"].to_numpy(),
    )
    times = ledger.consumed(np.arange(len(ledger.lengths)), steps).times
    found, first = {}, 0
    for name, (_, table) in sought.items():
        end = first + len(table)
        found[name] = np.zeros((questions, len(steps)))
        np.add.at(found[name], table["question"].to_numpy(), times[first:end])
        first = end
    return found


def _table(trial: str, steps: Ints, language: str, columns: Mapping[str, Times]) -> pa.Table:
    """By steps, then questions."""
    exposure = np.sum([column for name, column in columns.items() if name != "judged"], axis=0)
    questions, rows = len(exposure), exposure.size
    return pa.table(
        {
            "trial": pa.array([trial] * rows, pa.string()),
            "step": np.repeat(steps, questions),
            "question": np.tile(np.arange(questions), len(steps)),
            "language": pa.array([language] * rows, pa.string()),
            **{name: column.T.ravel() for name, column in columns.items()},
            "exposure": exposure.T.ravel(),
        }
    ).cast(SCHEMA)
