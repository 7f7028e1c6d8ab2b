"""Scores checkpoints as they appear, on evaluators that stay warm: one long Ray Tune run.

Tune asks the queue below for a next trial whenever an evaluator is free; the queue answers "none
yet" while no checkpoint waits. Evaluators are reused (``reset_config``), so torch and
Transformers are imported once per evaluator and not once per checkpoint, which costs seconds.

Invariants: every submitted evaluation's future is resolved exactly once, whatever dies; an
evaluator that dies is replaced and its evaluation done again, at most ``ATTEMPTS`` times in all;
nothing is computed whose results are published. This is the only module of the stage that touches
Ray.
"""

import logging
import os
import threading
import traceback
from collections import Counter, deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from ccx_ray.evaluation.evaluator import Evaluation, evaluate_checkpoint
from ccx_ray.study.spec import EvaluationRuntime

__all__ = ["Evaluation", "EvaluationScheduler"]

ATTEMPTS = 3

# Results are published by the evaluators and failures reach the futures, so that Tune's own log
# files, its periodic snapshots and its messages would only say the same again.
TUNE_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer output prints tables even at verbose=0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
}


class EvaluationScheduler:
    """A queue of evaluations and the evaluators that work on it beside the trainings."""

    def __init__(self, runtime: EvaluationRuntime, scratch: Path) -> None:
        """
        Args:
            scratch: a folder for Tune's state; it is of no use after ``close``.
        """
        self._runtime = runtime
        self._scratch = scratch
        self._queue = EvaluationQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def submit(self, evaluation: Evaluation) -> Future[None]:
        """Queue an evaluation; the future resolves when its results are published.

        The future raises what the evaluator raised. The first submission starts the evaluators.
        Submitting what is waiting or running already gives the same future.
        """
        if evaluation.result.is_file():
            done: Future[None] = Future()
            done.set_result(None)
            return done
        future = self._queue.put(evaluation)
        with self._starting:  # two trials may publish their first checkpoints at once
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="evaluation", daemon=True)
                self._thread.start()
        return future

    def close(self) -> None:
        """Cancel what has not begun, wait for what has, and let the evaluators go."""
        self._queue.close()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        """Body of the thread in which Tune runs until the queue is closed and empty."""
        failure: BaseException | None = None
        try:
            self._tuner().fit()
        except BaseException as error:  # also SystemExit: whoever waits must learn of it
            failure = error
        self._queue.abandon(failure)

    def _tuner(self) -> tune.Tuner:
        runtime = self._runtime
        for name, value in TUNE_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        resources = {"cpu": runtime.cpus_per_evaluator, "gpu": runtime.gpus_per_evaluator}
        return tune.Tuner(
            tune.with_resources(Evaluator, resources),
            param_space={
                "device": "cuda" if runtime.gpus_per_evaluator else "cpu",
                "threads": runtime.threads_per_evaluator,
                "tokens_per_batch": runtime.tokens_per_batch,
            },
            tune_config=tune.TuneConfig(
                search_alg=self._queue,
                num_samples=-1,
                max_concurrent_trials=runtime.evaluators,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="evaluations",
                storage_path=str(self._scratch),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                # The queue retries. Tune would, but an actor that dies between two trials is told
                # to it twice, and it takes the second telling for the last failure.
                failure_config=tune.FailureConfig(max_failures=0),
                callbacks=[_Outcomes(self._queue)],
            ),
        )


class EvaluationQueue(Searcher):  # type: ignore[misc]
    """First in, first out, in the form in which Tune asks for trials.

    Threads: ``put`` and ``close`` are called by the driver's threads, the rest by Tune's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._waiting: deque[Evaluation] = deque()
        self._futures: dict[Evaluation, Future[None]] = {}
        self._deaths: Counter[Evaluation] = Counter()
        self._ended = False
        self._closed = False
        self._failure: BaseException | None = None

    def put(self, evaluation: Evaluation) -> Future[None]:
        with self._changed:
            if self._ended:
                raise RuntimeError("the evaluators have ended") from self._failure
            assert not self._closed, "submit after close"
            if evaluation not in self._futures:
                self._futures[evaluation] = Future()
                self._waiting.append(evaluation)
                self._changed.notify()
            return self._futures[evaluation]

    def close(self) -> None:
        """Cancel what waits; Tune ends when what runs has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            unbegun = [evaluation for evaluation in self._waiting if not self._deaths[evaluation]]
            cancelled = [self._futures.pop(evaluation) for evaluation in unbegun]
            self._waiting = deque(e for e in self._waiting if self._deaths[e])
        for future in cancelled:
            future.cancel()

    def resolve(self, evaluation: Evaluation, error: BaseException | None) -> None:
        with self._changed:
            future = self._futures.pop(evaluation)
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def retry(self, evaluation: Evaluation) -> None:
        """Its evaluator died: it is the next to be done, unless that has happened too often."""
        with self._changed:
            self._deaths[evaluation] += 1
            again = self._deaths[evaluation] < ATTEMPTS
            if again:
                self._waiting.appendleft(evaluation)
        if not again:
            reason = (
                f"the evaluator of {evaluation.run}, step {evaluation.step}, died {ATTEMPTS} "
                "times; a likely cause is a lack of memory: lower "
                "runtime.evaluation.tokens_per_batch"
            )
            self.resolve(evaluation, RuntimeError(reason))

    def abandon(self, failure: BaseException | None) -> None:
        """Tune has ended: nothing that is still open will ever be evaluated."""
        with self._changed:
            self._ended, self._failure = True, failure
            left = list(self._futures.values())
            self._futures.clear()
            self._waiting.clear()
        for future in left:
            error = RuntimeError("the evaluators ended before this evaluation")
            error.__cause__ = failure
            future.set_exception(error)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with self._changed:
            # With nothing to run Tune does nothing but ask again, and it sleeps a second after
            # every answer, also after one that it was waiting for. So it is kept waiting here.
            self._changed.wait_for(lambda: self._closed or bool(self._futures))
            if self._waiting:
                evaluation = self._waiting.popleft()
                begun = self._deaths[evaluation] > 0
                if begun or self._futures[evaluation].set_running_or_notify_cancel():
                    return {"evaluation": evaluation}
                del self._futures[evaluation]  # its future was cancelled
                return None
            # What runs may come back by ``retry``, and FINISHED cannot be taken back.
            return Searcher.FINISHED if self._closed and not self._futures else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing is learnt from a result; ``_Outcomes`` resolves the futures."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing is kept: a study that starts again submits what has no results yet."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("an evaluation run is never restored; its study continues it")

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its settings for a restore that never happens; locks cannot be."""
        return {}


class _Outcomes(tune.Callback):  # type: ignore[misc]
    """Hands the outcome of each trial to the queue."""

    def __init__(self, queue: EvaluationQueue) -> None:
        self._queue = queue

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._queue.resolve(trial.config["evaluation"], trial.last_result["error"])

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._queue.retry(trial.config["evaluation"])

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Evaluator(tune.Trainable):  # type: ignore[misc]
    """An actor that does one evaluation a trial, and stays for the next.

    What the evaluation raises is returned, not raised: every retry would raise it again, whereas
    the death of the process (memory, a lost node) may not come twice.
    """

    def setup(self, config: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(config["threads"])
        self._settings = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._settings = new_config
        return True

    def step(self) -> dict[str, Any]:
        settings = self._settings
        try:
            evaluate_checkpoint(
                settings["evaluation"],
                device=settings["device"],
                tokens_per_batch=settings["tokens_per_batch"],
            )
        except Exception as error:
            error.add_note(f"in the evaluator:\n{traceback.format_exc()}")
            return {"done": True, "error": error}
        return {"done": True, "error": None}


def _trial_name(trial: Trial) -> str:
    evaluation: Evaluation = trial.config["evaluation"]
    return f"{evaluation.run}-step-{evaluation.step}"
