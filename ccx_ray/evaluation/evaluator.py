"""One evaluation: a checkpoint, the probe files, the queue in which it waits, and its results file.

The queue is plain, without Ray: what was begun before comes first, then by priority, then by
arrival.

Invariants: every submitted evaluation's future is resolved exactly once, whatever dies; an
evaluation is given out to one evaluator at a time; a lost node counts against
``max_preemptions``, any other death of an evaluator against ``max_failures``. An evaluation whose
results are published is never computed again; of two evaluators that work on the same one, as an
orphan of a dead driver and its successor may, the first to publish wins and the other changes
nothing; while others compute, no thread of an evaluator weighs more on a core than the evaluator's
CPUs divided by its threads.
"""

import json
import math
import os
import socket
import threading
import uuid
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ccx_ray.evaluation.models import WarmModels
from ccx_ray.orchestration.provenance import now
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import EvaluationRuntime

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


Death = Literal["failure", "preemption"]
"""Of an evaluator at work: by itself, or with its node."""


@dataclass(kw_only=True)
class _Open:
    """An evaluation that waits or runs."""

    arrival: int
    future: Future[None] = field(default_factory=Future)
    deaths: Counter[Death] = field(default_factory=Counter)
    begun: bool = False
    running: bool = False


class WaitingEvaluations:
    """Every method may be called by any thread."""

    def __init__(self, runtime: EvaluationRuntime) -> None:
        self._limits: dict[Death, int] = {
            "failure": runtime.max_failures,
            "preemption": runtime.max_preemptions,
        }
        self._changed = threading.Condition()
        self._open: dict[Evaluation, _Open] = {}
        self._ended: Counter[str] = Counter()
        self._arrived = 0
        self._closed = False
        self._end: RuntimeError | None = None

    def put(self, evaluation: Evaluation) -> Future[None]:
        """Let it wait, unless it does or runs already; its future."""
        with self._changed:
            if self._end is not None:
                raise RuntimeError(str(self._end)) from self._end.__cause__
            assert not self._closed, "submit after close"
            if evaluation not in self._open:
                self._open[evaluation] = _Open(arrival=self._arrived)
                self._arrived += 1
                self._changed.notify_all()
            return self._open[evaluation].future

    def wait(self) -> None:
        """Until something waits or runs, or nothing ever will."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._open))

    def take(self) -> Evaluation | None:
        """The next one, which runs from now on; None when none waits."""
        with self._changed:
            waiting = [(one, mine) for one, mine in self._open.items() if not mine.running]
            waiting.sort(key=lambda each: (not each[1].begun, each[0].priority, each[1].arrival))
            for evaluation, mine in waiting:
                if mine.begun or mine.future.set_running_or_notify_cancel():
                    mine.begun = mine.running = True
                    return evaluation
                del self._open[evaluation]  # its future was cancelled
            return None

    def resolve(self, evaluation: Evaluation, error: BaseException | None) -> None:
        """It has been done, or will never be."""
        with self._changed:
            future = self._open.pop(evaluation).future
            self._ended["failed" if error else "done"] += 1
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def died(self, evaluation: Evaluation, death: Death, cause: str) -> None:
        """Its evaluator is gone: it is the next to be done, unless that has happened too often."""
        with self._changed:
            mine = self._open[evaluation]
            mine.running = False
            mine.deaths[death] += 1
            spent = mine.deaths[death] > self._limits[death]
        if spent:
            self.resolve(evaluation, _spent(evaluation, death, self._limits[death], cause))

    def requeue_running(self) -> bool:
        """Let what runs wait again, because nothing is left to run it; whether anything waits."""
        with self._changed:
            for mine in self._open.values():
                mine.running = False
            return bool(self._open)

    def close(self) -> None:
        """Cancel what has never begun."""
        with self._changed:
            self._closed = True
            unbegun = [one for one, mine in self._open.items() if not mine.begun]
            cancelled = [self._open.pop(evaluation).future for evaluation in unbegun]
            self._changed.notify_all()
        for future in cancelled:
            future.cancel()

    def states(self) -> dict[str, int]:
        """How many are ``waiting``, ``running``, ``done`` and ``failed``."""
        with self._changed:
            running = sum(mine.running for mine in self._open.values())
            waiting = len(self._open) - running
            ended = {state: self._ended[state] for state in ("done", "failed")}
        return {"waiting": waiting, "running": running, **ended}

    @property
    def finished(self) -> bool:
        """Closed, and nothing is left: what runs may still come back by ``died``."""
        with self._changed:
            return self._closed and not self._open

    def abandon(self, cause: BaseException | None) -> None:
        """Nothing that is still open will ever be done, and nothing more is taken."""
        end = RuntimeError("the evaluators ended before this evaluation")
        end.__cause__ = cause
        with self._changed:
            self._end = end
            left = [mine.future for mine in self._open.values()]
            self._open.clear()
        for future in left:
            future.set_exception(end)


def _spent(evaluation: Evaluation, death: Death, limit: int, cause: str) -> RuntimeError:
    if death == "preemption":
        advice = f"its node was lost each time (runtime.evaluation.max_preemptions: {limit})"
    else:
        advice = (
            f"a likely cause is a lack of memory: lower runtime.evaluation.tokens_per_batch "
            f"(max_failures: {limit})"
        )
    times = "once" if limit == 0 else f"{limit + 1} times"
    return RuntimeError(
        f"the evaluator of {evaluation.run}, step {evaluation.step}, died {times}; "
        f"{advice}: {cause}"
    )


def evaluate_checkpoint(
    evaluation: Evaluation, models: WarmModels, *, tokens_per_batch: int
) -> None:
    """Score a checkpoint on held-out text and on its probes, and publish the rows.

    Raises:
        UserError: the model, a probe or a held-out text cannot be scored.
    """
    from ccx_ray.evaluation.perplexity import held_out_rows, publish_perplexity
    from ccx_ray.evaluation.results import probe_results, publish_results
    from ccx_ray.evaluation.scoring import encode_probe_file, score_encoded

    if evaluation.result.is_file():
        return
    attempt = Attempt(evaluation.result)
    model = models.load(evaluation.model_folder)
    if evaluation.perplexity is not None and not evaluation.perplexity.is_file():
        rows = [
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
        publish_perplexity(evaluation.perplexity, rows)
    tables = []
    for name, file in evaluation.probes:
        encoded = encode_probe_file(model, name, file)
        scored = score_encoded(model, encoded, tokens_per_batch=tokens_per_batch)
        tables.append(probe_results(evaluation.run, evaluation.step, name, scored))
    attempt.scored()
    publish_results(evaluation.result, tables)


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
