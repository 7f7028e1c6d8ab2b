"""One evaluation: a checkpoint, the probe files, and the results file that is made of them.

Invariants: an evaluation whose results are published is never computed again; of two evaluators
that work on the same one, as an orphan of a dead driver and its successor may, the first to
publish wins and the other changes nothing; while others compute, no thread of an evaluator weighs
more on a core than the evaluator's CPUs divided by its threads.
"""

import json
import math
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from ccx_ray.evaluation.models import CausalModel, WarmModels
from ccx_ray.orchestration.provenance import now
from ccx_ray.storage.publishing import publish_json

ATTEMPTS = ".attempts"
"""Beside the results; a name with a dot is no part of a step's outputs."""
HIGHEST_NICENESS = 19
WEIGHT_RATIO = 1.25
"""Of the shares of a core that Linux gives to two threads that differ by 1 in niceness."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is to be scored, and where the results go."""

    run: str
    """Name of the trial, or ``base``."""
    step: int
    model_folder: Path
    probes: tuple[tuple[str, Path], ...]
    """``(name, file)`` of each probe."""
    result: Path
    """Parquet file, in the form of ``results.SCHEMA``; there last, and done when it is."""
    held_out: tuple[tuple[str, Path], ...] = ()
    """``(language, file)`` of each text that no training saw."""
    perplexity: Path | None = None
    """Parquet file of the held-out texts' documents; None where there are no such texts."""
    sequence_length: int = 0
    """The longest window of a held-out document, in tokens."""
    priority: int = 0
    """Lower first; see ``following.coarse_first``."""


def evaluate_checkpoint(
    evaluation: Evaluation, models: WarmModels, *, tokens_per_batch: int
) -> None:
    """Score a checkpoint on held-out text and on its probes, and publish the rows.

    Raises:
        UserError: the model, a probe or a held-out text cannot be scored.
    """
    from ccx_ray.evaluation.results import probe_results, publish_results
    from ccx_ray.evaluation.scoring import score_encoded
    from ccx_ray.evaluation.sentences import encode_probe_file

    if evaluation.result.is_file():
        return
    attempt = Attempt(evaluation.result)
    model = models.load(evaluation.model_folder)
    _publish_perplexity(evaluation, model, tokens_per_batch=tokens_per_batch)
    tables = []
    for name, file in evaluation.probes:
        encoded = encode_probe_file(model, name, file)
        scored = score_encoded(model, encoded, tokens_per_batch=tokens_per_batch)
        tables.append(probe_results(evaluation.run, evaluation.step, name, scored))
    attempt.scored()
    publish_results(evaluation.result, tables)


def _publish_perplexity(
    evaluation: Evaluation, model: CausalModel, *, tokens_per_batch: int
) -> None:
    from ccx_ray.evaluation.perplexity import held_out_rows, publish_perplexity

    if evaluation.perplexity is None or evaluation.perplexity.is_file():
        return
    tables = [
        held_out_rows(
            model,
            evaluation.run,
            evaluation.step,
            language,
            file,
            tokens_per_batch=tokens_per_batch,
            sequence_length=evaluation.sequence_length,
        )
        for language, file in evaluation.held_out
    ]
    publish_perplexity(evaluation.perplexity, tables)


class Attempt:
    """A file that says that an evaluator began on a checkpoint, and whether it was through.

    Nothing rests on it: it tells a reader of a study that was interrupted how much was done twice,
    which the results do not show, because of equal results one is kept. No two processes write one
    file.
    """

    def __init__(self, result: Path) -> None:
        """Note that the evaluation which publishes ``result`` has begun."""
        folder = result.parent / ATTEMPTS
        folder.mkdir(exist_ok=True)
        self._path = folder / f"{result.stem}-{uuid.uuid4().hex[:12]}.json"
        self._note = {"host": socket.gethostname(), "process": os.getpid(), "began": now()}
        publish_json(self._path, {**self._note, "scored": None})

    def scored(self) -> None:
        """Note that everything is computed, and is about to be published."""
        publish_json(self._path, {**self._note, "scored": now()})


def count_attempts(folder: Path) -> dict[str, dict[str, int]]:
    """Name of the results file, without its ending -> how often it was ``begun`` and ``scored``."""
    counts: dict[str, dict[str, int]] = {}
    for path in sorted((folder / ATTEMPTS).glob("[!.]*.json")):
        count = counts.setdefault(path.stem.rpartition("-")[0], {"begun": 0, "scored": 0})
        count["begun"] += 1
        count["scored"] += json.loads(path.read_text("utf-8"))["scored"] is not None
    return counts


def limit_process(*, cpus: float, gpus: float, threads: int) -> None:
    """Bind this process to its resources: threads, their niceness, on a shared GPU its memory.

    Ray counts resources but holds nobody to them: an evaluator of half a CPU that computes in one
    thread would take a whole core from the trainings beside it. Called once, before anything starts
    a thread, because a thread inherits niceness when it starts. A GPU's time cannot be divided so;
    its memory can, and then it is the evaluator that runs out of it and not the training.
    """
    os.nice(niceness(cpus, threads))
    import torch

    torch.set_num_threads(threads)
    if 0 < gpus < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)


def niceness(cpus: float, threads: int) -> int:
    """How nice ``threads`` must be to take no more than ``cpus`` beside threads that are not."""
    if cpus >= threads:
        return 0
    return min(HIGHEST_NICENESS, math.ceil(math.log(threads / cpus) / math.log(WEIGHT_RATIO)))
