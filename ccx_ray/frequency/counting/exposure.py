"""How much of the evidence for every question a checkpoint had really consumed.

Evidence is a span of a document: where a judge found the knowledge. It is looked for in the streams
as the bytes that the consumed rows' tokens spell, so that a document that was held out, cut, drawn
twice or not reached yet counts as what it was. Invariant: a number is the sum over evidence of
bytes consumed / bytes of the evidence; 1.0 is one piece of evidence, read whole, once.

Rows of a step that a training skipped count as consumed, as in the ledger: they were read, though
not learnt from. ``applied`` in ``losses.parquet`` tells which these are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ccx_ray.corpus.packing.exposure import ExposureLedger, PartIds
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.frequency.counting.evidence import Evidence
from ccx_ray.frequency.text.text_parts import DOCUMENTS, ENGLISH, TARGET

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


def exposure_table(
    *,
    culture: str,
    base_language: str,
    questions: int,
    holders: pa.Table,
    retrieved: pa.Table,
    base_text: Path,
    text: Path,
    base: Training,
    base_steps: int,
    trials: Mapping[str, Training],
    steps: Sequence[int],
) -> pa.Table:
    """What every trial of a language had consumed of its questions' evidence.

    Args:
        questions: of the culture.
        holders: ``exhaustive.parquet`` of the culture.
        retrieved: ``retrieved.parquet`` of the culture; refused documents are left out here.
        base_text: text folder of the base language; ``text`` that of the culture's language.
        base_steps: after which the trials begin.
        trials: by name.
        steps: checkpoints of every trial, from 1; 0 is added.

    Returns:
        ``exposure.parquet``: a row for every trial, step, question and language of the text.
    """
    judged = retrieved.filter(retrieved["verdict"])
    judged = judged.append_column("part", pa.array([DOCUMENTS] * judged.num_rows, pa.string()))

    def evidence(table: pa.Table, corpus: str, part: str) -> Evidence:
        own = pc.and_(pc.equal(table["corpus"], corpus), pc.equal(table["part"], part))
        of_base = corpus == base_language and part == DOCUMENTS
        return Evidence.of(table.filter(own), base_text if of_base else text, part)

    english = evidence(holders, base_language, DOCUMENTS)
    english_judged = evidence(judged, base_language, DOCUMENTS)
    at_base = consumed(
        base,
        {"monolingual": ("monolingual", english), "judged": ("monolingual", english_judged)},
        steps=np.array([base_steps]),
        questions=questions,
    )
    sought = {
        "replay": ("replay", english),
        "english": ("english", evidence(holders, base_language, ENGLISH)),
        "monolingual": ("monolingual", evidence(holders, culture, DOCUMENTS)),
        "target": ("target", evidence(holders, culture, TARGET)),
        "judged replay": ("replay", english_judged),
        "judged": ("monolingual", evidence(judged, culture, DOCUMENTS)),
    }
    at_steps = np.array([0, *steps], np.int64)
    nothing = np.zeros((questions, len(at_steps)))
    tables = [SCHEMA.empty_table()]
    for trial, training in trials.items():
        found = consumed(training, sought, steps=at_steps, questions=questions)
        columns = {
            base_language: {
                "judged": at_base["judged"] + found["judged replay"],
                "base": at_base["monolingual"] + nothing,
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
    sought: Mapping[str, tuple[str, Evidence]],
    *,
    steps: Ints,
    questions: int,
) -> dict[str, Times]:
    """Name -> [questions, steps] evidence that had been consumed when each step was complete.

    Args:
        sought: name -> part of the stream, and the evidence that is looked for in it.
        steps: 0 is before the training.
    """
    stream = Stream.open(training.stream)
    index = cache(partial(PartIds.of, stream))
    ledger = ExposureLedger.of_spans(
        stream,
        rows_per_step=training.rows_per_step,
        documents=np.concatenate(
            [evidence.numbers(index, part) for part, evidence in sought.values()]
        ),
        starts=np.concatenate([evidence.starts for _, evidence in sought.values()]),
        lengths=np.concatenate([evidence.lengths for _, evidence in sought.values()]),
    )
    times = ledger.consumed(np.arange(len(ledger.lengths)), steps).times
    found, first = {}, 0
    for name, (_, evidence) in sought.items():
        end = first + len(evidence.questions)
        found[name] = np.zeros((questions, len(steps)))
        np.add.at(found[name], evidence.questions, times[first:end])
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
