"""The queue of checkpoints to be scored and the actors that score them: one long Ray Tune run.

Tune asks the searcher below for a next trial whenever an actor is free; it answers "none yet" while
no checkpoint waits. Actors are reused (``reset_config``), so torch and Transformers are imported
once per actor and not once per checkpoint, which costs seconds.

Invariants: an actor that dies is replaced and its evaluation done again, before others; a Tune run
that ends too early is followed by another, ``TUNE_RUNS`` in all; nothing is computed whose results
are published. This is the only module of the stage that touches Ray.
"""

import logging
import os
import threading
import traceback
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from ccx_ray.evaluation.evaluator import (
    Death,
    Evaluation,
    WaitingEvaluations,
    evaluate_checkpoint,
    limit_process,
)
from ccx_ray.evaluation.models import WarmModels
from ccx_ray.study.spec import EvaluationRuntime

TUNE_RUNS = 4
logger = logging.getLogger(__name__)

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
        self._waiting = WaitingEvaluations(runtime)
        self._found = 0
        """Evaluations that an earlier run of the driver has done."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def submit(self, evaluation: Evaluation) -> Future[None]:
        """Queue an evaluation; the future resolves when its results are published.

        The future raises what the evaluator raised. The first submission starts the evaluators.
        Submitting what is waiting or running already gives the same future.
        """
        if evaluation.result.is_file():
            self._found += 1
            done: Future[None] = Future()
            done.set_result(None)
            return done
        future = self._waiting.put(evaluation)
        with self._starting:  # two trials may publish their first checkpoints at once
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="evaluation", daemon=True)
                self._thread.start()
        return future

    def states(self) -> dict[str, int]:
        """How many of what was submitted are ``waiting``, ``running``, ``done`` and ``failed``."""
        states = self._waiting.states()
        return {**states, "done": states["done"] + self._found}

    def close(self) -> None:
        """Cancel what has not begun, wait for what has, and let the evaluators go."""
        self._waiting.close()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        """Body of the thread in which Tune runs until the queue is closed and empty."""
        failure: BaseException | None = None
        for number in range(TUNE_RUNS):
            try:
                self._tuner(number).fit()
            except Exception as error:
                failure = error
                logger.warning("Ray Tune ended with %r; what is left is begun anew", error)
            except BaseException as error:  # SystemExit: whoever waits must learn of it
                failure = error
                break
            self._waiting.requeue_running()
            if self._waiting.finished:
                return
        self._waiting.abandon(failure)

    def _tuner(self, number: int) -> tune.Tuner:
        runtime = self._runtime
        for name, value in TUNE_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        resources = {"cpu": runtime.cpus_per_evaluator, "gpu": runtime.gpus_per_evaluator}
        return tune.Tuner(
            tune.with_resources(Evaluator, resources),
            param_space={"runtime": runtime},
            tune_config=tune.TuneConfig(
                search_alg=Suggestions(self._waiting),
                num_samples=-1,
                max_concurrent_trials=runtime.evaluators,
                reuse_actors=True,
                trial_name_creator=lambda trial: (
                    f"{trial.config['evaluation'].run}-step-{trial.config['evaluation'].step}"
                ),
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=f"evaluations-{number}",
                storage_path=str(self._scratch),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                # The queue retries. Tune would, but an actor that dies between two trials is told
                # to it twice, and it takes the second telling for the last failure.
                failure_config=tune.FailureConfig(max_failures=0),
                callbacks=[_Outcomes(self._waiting)],
            ),
        )


class Suggestions(Searcher):  # type: ignore[misc]
    """What waits, in the form in which Tune asks for trials."""

    def __init__(self, waiting: WaitingEvaluations) -> None:
        super().__init__()
        self._waiting = waiting

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        # With nothing to run Tune does nothing but ask again, and it sleeps a second after every
        # answer, also after one that it was waiting for. So it is kept waiting here.
        self._waiting.wait()
        evaluation = self._waiting.take()
        if evaluation is not None:
            return {"evaluation": evaluation}
        # FINISHED cannot be taken back.
        return Searcher.FINISHED if self._waiting.finished else None

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
    """Hands the outcome of each trial to the queue, and what the actor warned of to the log."""

    def __init__(self, waiting: WaitingEvaluations) -> None:
        self._waiting = waiting
        self._logged: set[str] = set()

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        for warning in trial.last_result["warnings"]:
            if warning not in self._logged:
                logger.warning("evaluator: %s", warning)
            self._logged.add(warning)
        self._waiting.resolve(trial.config["evaluation"], trial.last_result["error"])

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        # Tune's own get_pickled_error looks where it is not copied to yet.
        error: Exception = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        cause = str(error).strip().splitlines()[-1]
        self._waiting.died(trial.config["evaluation"], _death(error), cause)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Evaluator(tune.Trainable):  # type: ignore[misc]
    """An actor that does one evaluation a trial, and stays for the next.

    What the evaluation raises is returned, not raised: every retry would raise it again, whereas
    the death of the process (memory, a lost node) may not come twice.
    """

    def setup(self, config: dict[str, Any]) -> None:
        runtime: EvaluationRuntime = config["runtime"]
        limit_process(
            cpus=runtime.cpus_per_evaluator,
            gpus=runtime.gpus_per_evaluator,
            threads=runtime.threads_per_evaluator,
        )
        self._models = WarmModels("cuda" if runtime.gpus_per_evaluator else "cpu")
        self._settings = config
        self._warnings = _Warnings()
        logging.getLogger("ccx_ray").addHandler(self._warnings)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._settings = new_config
        return True

    def step(self) -> dict[str, Any]:
        runtime: EvaluationRuntime = self._settings["runtime"]
        found: Exception | None = None
        self._warnings.messages = []
        try:
            evaluate_checkpoint(
                self._settings["evaluation"],
                self._models,
                tokens_per_batch=runtime.tokens_per_batch,
            )
        except Exception as error:
            error.add_note(f"in the evaluator:\n{traceback.format_exc()}")
            found = error
        return {"done": True, "error": found, "warnings": self._warnings.messages}


class _Warnings(logging.Handler):
    """Keeps what an actor logs, as its own log is seen by nobody."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _death(error: Exception) -> Death:
    """Whether an evaluator died by itself or with its node.

    Ray's error says so where the node's death is known by then; one that has just gone is asked.
    """
    from ccx_ray.orchestration.ray_internals import is_any_lost, node_of_actor

    if not isinstance(error, RayActorError):
        return "failure"
    node = node_of_actor(error.actor_id) if error.actor_id else None
    gone = node is not None and is_any_lost({node})
    return "preemption" if gone or error.preempted else "failure"
