"""Exposure to planted documents: how often a checkpoint had read each sentence of an intervention.

Read off the streams, as exposure to any evidence is, and not off their plan: so it is a measurement
that the doses were given. Invariant: a planted document that was read whole, once, counts 1.0.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ccx_ray.corpus.interventions import planted_texts
from ccx_ray.frequency.counting.exposure import EVIDENCE, Trainings, consumed
from ccx_ray.orchestration.tasks import RunTasks, WorkLog

PLANTED_EXPOSURE = "planted.parquet"
SCHEMA = pa.schema(
    [
        ("trial", pa.string()),
        ("text", pa.string()),
        ("step", pa.int32()),
        ("question", pa.int32()),
        ("dose", pa.int32()),
        ("exposure", pa.float64()),
    ]
)


def planted_exposure(
    interventions: pa.Table,
    *,
    base_language: str,
    trainings: Trainings,
    folder: Path,
    run_tasks: RunTasks,
) -> pa.Table:
    """What every trial of a culture's language, its base included, had read of planted documents.

    Args:
        interventions: rows of ``interventions.parquet`` of this culture, of one or two texts.
        folder: of the step; what is finished of it is not done again.
        run_tasks: runs a task a stream.

    Returns:
        a row for every trial, text, step and item.
    """
    rows = interventions.to_pylist()
    texts = list(dict.fromkeys(row["text"] for row in rows))
    evidence = {text: _evidence([row for row in rows if row["text"] == text]) for text in texts}
    at_steps = [0, *trainings.steps]
    bases, trials = trainings.bases, trainings.trials
    tasks = [
        (is_base, name, text)
        for text in texts
        for is_base, names in ((True, bases), (False, trials))
        for name in names
        if text == base_language or not is_base
    ]

    def read(number: int) -> dict[str, Any]:
        is_base, name, text = tasks[number]
        training = bases[name] if is_base else trials[name][1]
        part = "replay" if text == base_language and not is_base else "monolingual"
        found = consumed(
            training,
            {"planted": (part, evidence[text])},
            steps=np.array([trainings.base_steps] if is_base else at_steps),
            questions=1 + max(row["question"] for row in rows),
        )
        return {"times": found["planted"].T.tolist()}

    results = run_tasks(WorkLog(folder, "planted"), len(tasks), read)
    times = {task: np.array(found["times"]) for task, found in zip(tasks, results, strict=True)}
    tables = [SCHEMA.empty_table()]
    for trial, (base, _) in trials.items():
        for text in texts:
            exposure = times[False, trial, text]
            if text == base_language:
                exposure = exposure + times[True, base, text]
            own = [row for row in rows if row["text"] == text]
            questions = np.array([row["question"] for row in own])
            size = len(own) * len(at_steps)
            tables.append(
                pa.table(
                    {
                        "trial": pa.array([trial] * size, pa.string()),
                        "text": pa.array([text] * size, pa.string()),
                        "step": np.repeat(at_steps, len(own)),
                        "question": np.tile(questions, len(at_steps)),
                        "dose": np.tile([row["dose"] for row in own], len(at_steps)),
                        "exposure": exposure[:, questions].ravel(),
                    }
                ).cast(SCHEMA)
            )
    return pa.concat_tables(tables)


def _evidence(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The whole of every planted document as evidence of its item."""
    planted = [
        (row["question"], name, 0, len(text.encode()))
        for row in rows
        for name, text in zip(row["documents"], planted_texts(row), strict=True)
    ]
    columns = zip(*planted, strict=True) if planted else ([],) * len(EVIDENCE)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, EVIDENCE, strict=True)], EVIDENCE)
