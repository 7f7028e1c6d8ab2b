"""Training under Ray Train V2: one independent ``TorchTrainer`` a run, restarted when it dies.

The only module of this folder that touches Ray. What a checkpoint is and which state to resume from
is decided by the run's folder alone (``checkpoints.py``). Ray Train is told metrics and gets its
barrier, but no checkpoint: its own register would be a second truth, and it would move or copy
folders that evaluators are reading.
"""

import json
import os
import time
from dataclasses import replace
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.metrics import Gauge

from ccx_ray.corpus.stream import Stream
from ccx_ray.errors import UserError
from ccx_ray.training.checkpoints import SUMMARY, find_resume_point, prune_resume_states
from ccx_ray.training.history import StartupClock
from ccx_ray.training.observer import Observer
from ccx_ray.training.run import TrainingRun, check_runtime

RAY_FOLDER = ".ray"
"""Ray Train's own files; names with a dot are no part of a step's outputs."""

# Ray Train's controller looks at its workers this often, and a run ends only when it has looked.
# The default of 2 s would be a tenth of a laptop's trial.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


class RunFailedError(RuntimeError):
    """A training that failed more often than its runtime allows."""


def train(run: TrainingRun) -> dict[str, Any]:
    """Train a model to its last step, going on from what an earlier attempt left.

    Blocks; may be called from several threads of one driver. Ray is connected already.

    Returns:
        The counts of ``summary.json``.

    Raises:
        UserError: the runtime cannot be had, the folder was trained on another stream, or the
            initial model has another vocabulary.
        RunFailedError: the workers failed more than ``runtime.max_failures`` times.
    """
    run = _resolved(run)
    _check(run)
    summary = run.folder / SUMMARY
    if not summary.is_file():
        _fit(run)
    counts: dict[str, Any] = json.loads(summary.read_text("utf-8"))
    prune_resume_states(run.folder)
    return counts


def _resolved(run: TrainingRun) -> TrainingRun:
    """Absolute folders, because Ray Train gives every worker a working directory of its own."""
    return replace(
        run,
        folder=run.folder.resolve(),
        stream_folder=run.stream_folder.resolve(),
        tokenizer_folder=run.tokenizer_folder.resolve(),
        initial_model=run.initial_model and run.initial_model.resolve(),
    )


def _check(run: TrainingRun) -> None:
    """Find in the driver what would fail in every worker, once for each restart."""
    check_runtime(run)
    find_resume_point(
        run.folder,
        fingerprint=run.fingerprint,
        stream_fingerprint=Stream.open(run.stream_folder).fingerprint,
    )


def _fit(run: TrainingRun) -> None:
    runtime = run.runtime
    one_node = len(ray.nodes()) == 1
    if one_node:
        # Waits for the cloud to take nodes away.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    resources = {"CPU": runtime.cpus_per_worker}
    if runtime.gpus_per_worker:
        resources["GPU"] = runtime.gpus_per_worker
    trainer = (_OneNodeTrainer if one_node else TorchTrainer)(
        _train_worker,
        train_loop_config={"run": run, "began": time.time()},
        torch_config=TorchConfig(backend="nccl" if runtime.gpus_per_worker else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=runtime.workers,
            use_gpu=runtime.gpus_per_worker > 0,
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name=run.name,
            storage_path=str(run.folder / RAY_FOLDER),
            failure_config=ray.train.FailureConfig(max_failures=runtime.max_failures),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        cause = _cause(error)
        if isinstance(cause, UserError):
            raise cause from error
        last_line = str(cause).strip().splitlines()[-1]
        raise RunFailedError(
            f"{run.name}: training failed for good: {type(cause).__name__}: {last_line}"
        ) from error


class _OneNodeTrainer(TorchTrainer):  # type: ignore[misc]
    """Ray Train without two processes a run that have nothing to do on a single machine.

    One serves Ray Data shards, of which no run has any; one frees the placement group of a
    controller that died on another node. Each takes 3 s of a core to import its libraries, and
    the workers wait for both.
    """

    def _create_default_callbacks(self) -> list[Any]:
        idle = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
        return [c for c in super()._create_default_callbacks() if type(c).__name__ not in idle]


def _cause(error: Exception) -> Exception:
    """The first worker's own exception, or Ray's about the whole group."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    return next(iter(failures.values()), error)


def _train_worker(config: dict[str, Any]) -> None:
    """What Ray runs on every worker, in a process group of them all."""
    run: TrainingRun = config["run"]
    clock = StartupClock(began=config["began"])
    import torch

    from ccx_ray.training.worker import Worker

    clock.mark("processes")
    context = ray.train.get_context()
    device = ray.train.torch.get_device() if run.runtime.gpus_per_worker else torch.device("cpu")
    worker = Worker(
        run,
        rank=context.get_world_rank(),
        workers=context.get_world_size(),
        device=device,
        clock=clock,
    )

    def rendezvous() -> None:
        last = worker.history[-1]
        ray.train.report({"step": last.step, "loss": last.loss})

    if worker.rank == 0:
        gauges = _gauges()
        with Observer(
            run, worker, lambda name, value: gauges[name].set(value, {"run": run.name})
        ) as observer:
            worker.train(observer.observe, rendezvous)
    else:
        worker.train(lambda record: None, rendezvous)


def _gauges() -> dict[str, Gauge]:
    """What Prometheus scrapes from rank 0, as ``ray_ccx_train_...`` with the tag ``run``."""
    descriptions = {
        "loss": "Mean next-token cross-entropy of the last step, in nats",
        "tokens_per_second": "Throughput of the last step over all workers",
        "step": "Optimizer steps done",
    }
    return {
        name: Gauge(f"ccx_train_{name}", description, tag_keys=("run",))
        for name, description in descriptions.items()
    }
