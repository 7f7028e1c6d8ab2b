"""Scores the checkpoints of one training as they appear, and logs their accuracies to MLflow.

The queue between the two is the training's folder itself: what is published there and has no
results yet is what waits. So nothing has to be restored after a crash.

Of several checkpoints that wait, those are scored first that show the outline of the curve. Trials
may publish faster than the evaluators score; in order of arrival every curve would grow from the
left, and its end, which the study is about, would come last.

Invariants: every checkpoint is scored once in the results, whoever was killed; what can be scored
is, also when the training fails later; MLflow is told of results only when they are published; the
steps of one priority and those of all before it divide the run as evenly as whole steps allow.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.errors import TrackingError
from ccx_ray.evaluation.checkpoint_log import CheckpointLog
from ccx_ray.evaluation.evaluator import Evaluation, count_attempts
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.tracking.runs import Tracking
from ccx_ray.training.checkpoints import checkpoint_folder, published_steps

if TYPE_CHECKING:
    from ccx_ray.evaluation.scheduler import EvaluationScheduler

CHECKPOINT_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class FollowedRun:
    """A training, and what its checkpoints are asked."""

    name: str
    """Of the trial, or ``base``."""
    kind: str
    """Of its MLflow run."""
    fingerprint: str
    folder: Path
    steps: tuple[int, ...]
    """Of its checkpoints, rising."""
    probes: tuple[tuple[str, Path], ...]
    held_out: tuple[tuple[str, Path], ...]
    """``(language, file)``."""
    sequence_length: int

    def evaluations(self, folder: Path) -> dict[int, Evaluation]:
        """Step -> its evaluation, whose results go into ``folder``; the most urgent first.

        The base is scored before every trial: all of them are compared with it.
        """
        priorities = coarse_first(self.steps)
        ahead = len(self.steps) if self.kind == "base" else 0
        return {
            step: Evaluation(
                run=self.name,
                step=step,
                model_folder=checkpoint_folder(self.folder, step),
                probes=self.probes,
                result=folder / f"step-{step:06d}.parquet",
                held_out=self.held_out,
                perplexity=folder / f"perplexity-{step:06d}.parquet" if self.held_out else None,
                sequence_length=self.sequence_length,
                priority=priorities[step] - ahead,
            )
            for step in sorted(self.steps, key=lambda step: (priorities[step], step))
        }


def coarse_first(steps: Sequence[int]) -> dict[int, int]:
    """Step -> priority, lower first: 0 the last one, 1 the middle one, 2 the quarters, and so on.

    It goes by place in ``steps``, not by step: where a study sets its checkpoints closer, because
    the curve bends there, it is filled in evenly too.

    Args:
        steps: of one run's checkpoints, rising.
    """
    if not steps:
        return {}
    priorities = {steps[-1]: 0}
    stretches, priority = [(0, len(steps))], 0
    while stretches:
        priority += 1
        halves: list[tuple[int, int]] = []
        for low, high in stretches:
            middle = (low + high + 1) // 2
            if middle < high:
                priorities[steps[middle - 1]] = priority
                halves += [(low, middle), (middle, high)]
        stretches = halves
    return priorities


def evaluate_run(
    run: FollowedRun, work: StepWork, scheduler: "EvaluationScheduler", tracking: Tracking
) -> Mapping[str, Any]:
    """Score every checkpoint of a training, while it goes on or afterwards.

    Returns:
        Counts for the marker.

    Raises:
        UserError: a checkpoint cannot be scored.
        TrackingError: all are scored, and MLflow does not take what was found.
        RuntimeError: the training failed, or an evaluator died too often.
    """
    training = work.step.follows
    assert training is not None
    waiting = run.evaluations(work.folder)
    running: dict[Future[None], Evaluation] = {}
    summaries: dict[int, dict[str, Any]] = {}
    work.watch(lambda: (len(summaries), len(run.steps), "checkpoints scored"))
    log = CheckpointLog(
        tracking,
        name=run.name,
        kind=run.kind,
        fingerprint=run.fingerprint,
        folder=run.folder,
        probes=run.probes,
        held_out=run.held_out,
    )
    while waiting or running:
        failed = work.state_of(training) == "failed"  # asked before its last checkpoints are seen
        published = set(published_steps(run.folder))
        for step in [step for step in waiting if step in published]:
            evaluation = waiting.pop(step)
            running[scheduler.submit(evaluation)] = evaluation
        for future in [future for future in running if future.done()]:
            evaluation = running.pop(future)
            future.result()
            summary = summaries[evaluation.step] = _summary(evaluation)
            with suppress(TrackingError):  # what MLflow does not take now is logged again below
                log.log(evaluation.step, summary)
        if failed and waiting and not running:
            raise RuntimeError(f"{training.name} failed before checkpoint {min(waiting)}")
        if waiting or running:
            time.sleep(CHECKPOINT_POLL_SECONDS)
    for step, summary in summaries.items():
        log.log(step, summary)
    log.close()
    for left_aside in work.folder.glob(".*.parquet.*"):  # by evaluators that were killed
        left_aside.unlink(missing_ok=True)
    attempts = count_attempts(work.folder).values()
    return {
        "checkpoints": len(summaries),
        "probes": len(run.probes),
        # More than there are checkpoints where an evaluator or the driver died.
        **{name: sum(attempt[name] for attempt in attempts) for name in ("begun", "scored")},
        **{
            name: {str(step): summaries[step][name] for step in sorted(summaries)}
            for name in ("accuracy", "perplexity")
        },
    }


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    from ccx_ray.evaluation.perplexity import read_perplexity, summarize_perplexity
    from ccx_ray.evaluation.results import SCORE_TYPES, read_results, summarize

    columns = ("probe", "gold", "right", "cluster", *SCORE_TYPES)
    perplexity = {}
    if evaluation.perplexity is not None:
        perplexity = summarize_perplexity(read_perplexity(evaluation.perplexity))
    return {
        "accuracy": summarize(read_results(evaluation.result, columns)),
        "perplexity": perplexity,
    }
