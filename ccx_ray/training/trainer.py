"""Training under Ray Train V2: one independent ``TorchTrainer`` a run, restarted when it dies.

This module and ``elasticity.py`` are this folder's seam to Ray. What a checkpoint is and which
state to resume from is decided by the run's folder alone (``checkpoints.py``). Ray Train is told of
no checkpoint: its own register would be a second truth, and it would move or copy folders that
evaluators are reading.

Invariant: what a dead process leaves behind (a controller's placement groups, an older group of
workers) is gone, or has no effect, before the next group writes into the run's folder.
"""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train.torch import TorchConfig
from ray.util.metrics import Gauge

from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.errors import UserError
from ccx_ray.orchestration.cluster import is_attached
from ccx_ray.orchestration.ray_internals import (
    PolicyTrainer,
    TorchBackend,
    is_preemption_announced,
    remove_placement_groups,
)
from ccx_ray.training.capacity import sharing_the_cluster
from ccx_ray.training.checkpoints import SUMMARY, find_resume_point, prune_resume_states
from ccx_ray.training.elasticity import (
    FailureBudgetPolicy,
    FairSharePolicy,
    NodeLeavingError,
    describe_cause,
    first_cause,
)
from ccx_ray.training.history import StartupClock
from ccx_ray.training.metrics import GAUGES, MetricFollower, metric_writer
from ccx_ray.training.run import TrainingRun, check_runtime
from ccx_ray.training.run_time_files import (
    GROUPS,
    FailureBudget,
    NoticeBoard,
    RunFailedError,
    log_restart,
    run_time_folder,
)

__all__ = ["RunFailedError", "train"]

logger = logging.getLogger(__name__)

# Ray Train's controller looks at its workers this often, and a run ends only when it has looked.
# The default of 2 s would be a tenth of a laptop's trial.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
WATCHER_IS_CHOSEN = WATCHER in os.environ


def train(run: TrainingRun, *, reserved: Sequence[Mapping[str, float]] = ()) -> dict[str, Any]:
    """Train a model to its last step, going on from what an earlier attempt left.

    Blocks; may be called from several threads of one driver, whose trainings then share the
    cluster. Ray is connected already.

    Args:
        reserved: demands of what runs beside the trainings, one by one, such as the evaluators.

    Returns:
        The counts of ``summary.json``.

    Raises:
        UserError: the runtime cannot be had, the folder was trained on another stream, or the
            initial model has another vocabulary.
        RunFailedError: ``runtime.max_failures`` or ``max_preemptions`` are used up.
    """
    run = replace(  # Ray Train gives every worker a working directory of its own
        run,
        folder=run.folder.resolve(),
        stream_folder=run.stream_folder.resolve(),
        tokenizer_folder=run.tokenizer_folder.resolve(),
        initial_model=run.initial_model and run.initial_model.resolve(),
    )
    summary = run.folder / SUMMARY
    # Mistakes that would fail in every worker at every restart.
    check_runtime(run)
    find_resume_point(
        run.folder,
        fingerprint=run.fingerprint,
        stream_fingerprint=Stream.open(run.stream_folder).fingerprint,
        verify=False,
    )
    # Also where nothing is left to do: workers may have finished after their driver died.
    with ExitStack() as stack:
        if run.mlflow_run_id is not None:
            follower = MetricFollower(
                run.folder, tracking_uri=run.tracking_uri, mlflow_run_id=run.mlflow_run_id
            )
            stack.enter_context(follower)
        if not summary.is_file():
            stack.enter_context(sharing_the_cluster(run_time_folder(run.folder)))
            _fit_until_done(run, reserved)
    counts: dict[str, Any] = json.loads(summary.read_text("utf-8"))
    prune_resume_states(run.folder)
    return counts


def _fit_until_done(run: TrainingRun, reserved: Sequence[Mapping[str, float]]) -> None:
    budget = FailureBudget(run.runtime, run.folder)
    while not (run.folder / SUMMARY).is_file():
        try:
            _trainer(run, budget, reserved).fit()
        except ray.train.TrainingFailedError as error:
            cause = first_cause(error)
            if isinstance(cause, UserError):
                raise cause from error
            raise budget.exhausted(run.name) from error
        except RayActorError as error:
            # The controller died. Its workers die with it, but what it had reserved for them
            # stays reserved for as long as the driver lives.
            remove_placement_groups(error.actor_id)
            if not budget.charge("failure", f"the controller failed: {describe_cause(error)}"):
                raise budget.exhausted(run.name) from error


def _trainer(
    run: TrainingRun, budget: FailureBudget, reserved: Sequence[Mapping[str, float]]
) -> PolicyTrainer:
    runtime = run.runtime
    may_change = is_attached() or len(ray.nodes()) > 1
    if not WATCHER_IS_CHOSEN:
        # It waits for the cloud to take nodes away.
        os.environ[WATCHER] = str(int(may_change))
    resources = {"CPU": runtime.cpus_per_worker}
    if runtime.gpus_per_worker:
        resources["GPU"] = runtime.gpus_per_worker
    scaling = ray.train.ScalingConfig(
        num_workers=runtime.workers,
        use_gpu=runtime.gpus_per_worker > 0,
        resources_per_worker=resources,
    )
    failures = ray.train.FailureConfig(max_failures=-1)
    return PolicyTrainer(
        _train_worker,
        train_loop_config={"run": run, "began": time.time()},
        torch_config=_TorchConfig(),
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            name=run.name,
            storage_path=str(run_time_folder(run.folder)),
            failure_config=failures,
        ),
        scaling_policy=FairSharePolicy(
            scaling,
            run_folder=run.folder,
            counts=runtime.worker_counts(run.training.sequences_per_step),
            reserved=reserved,
            asks_for_nodes=is_attached(),
        ),
        failure_policy=FailureBudgetPolicy(failures, budget=budget),
    )


@dataclass
class _TorchConfig(TorchConfig):  # type: ignore[misc]
    @property
    def backend_cls(self) -> type[TorchBackend]:
        return _DeviceBackend


class _DeviceBackend(TorchBackend):  # type: ignore[misc]
    """NCCL where torch sees GPUs, else gloo. The workers are asked, because a rehearsal gives Ray
    GPUs that do not exist: mere numbers, whose type Ray did not find."""

    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        # Read in this process, the controller's, when the group ends: a process group whose peer
        # is dead never shuts down, and the default waits 30 s for it.
        os.environ.setdefault("TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S", "5")
        seen = [False]
        if worker_group.get_resources_per_worker().get("GPU", 0):
            seen = worker_group.execute(torch.cuda.is_available)
            if not all(seen) and (any(seen) or _gpu_types()):
                raise UserError(
                    f"gpus_per_worker: torch finds a GPU on {sum(seen)} of {len(seen)} workers, "
                    f"but Ray counts {', '.join(_gpu_types())}; install torch with CUDA on every "
                    "node"
                )
            if not all(seen):
                logger.warning("the cluster has no real GPUs; training uses its CPUs")
        backend = "nccl" if all(seen) else "gloo"
        super().on_start(worker_group, replace(backend_config, backend=backend))


def _gpu_types() -> list[str]:
    """The accelerators that Ray found on its nodes."""
    names = {name for node in ray.nodes() if node["Alive"] for name in node["Resources"]}
    prefix = "accelerator_type:"
    return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def _train_worker(config: dict[str, Any]) -> None:
    """The function that Ray Train runs on every worker, in a process group of them all."""
    run: TrainingRun = config["run"]
    clock = StartupClock(began=config["began"])
    from ccx_ray.training.worker import Worker

    clock.mark("processes")
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    board = NoticeBoard(run.folder, rank=rank, is_leaving=is_preemption_announced)
    on_gpu = run.runtime.gpus_per_worker and torch.cuda.is_available()
    device = ray.train.torch.get_device() if on_gpu else torch.device("cpu")
    worker = Worker(run, rank=rank, workers=workers, device=device, clock=clock)
    if rank == 0:
        log_restart(run.folder, GROUPS, workers=workers, resumed_from=worker.resumed_from)
        # What Prometheus scrapes, as ``ray_ccx_train_...``.
        tags = {"study": run.folder.parent.name, "run": run.name}
        gauges = {
            name: Gauge(f"ccx_train_{name}", description, tag_keys=tuple(tags))
            for name, description in GAUGES.items()
        }
        with metric_writer(run, worker, lambda name, value: gauges[name].set(value, tags)) as write:
            complete = worker.train(write, board.read)
    else:
        complete = worker.train(lambda record: None, board.read)
    if not complete:
        # Ray ends all workers at the first error, so none is raised before rank 0 has written the
        # state; and it would take workers that return for ones that have finished.
        if workers > 1:
            torch.distributed.barrier()
        raise NodeLeavingError("a node of this training is about to be preempted")
