"""The Ray cluster that a job runs on: the one it was submitted to, or a local one of its own.

This is the only place that decides worker environments, so a laptop and a cluster agree on them.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ccx_ray.errors import UserError
from ccx_ray.study.spec import EvaluationRuntime, RuntimeSpec

# Read by libraries when they are imported in a worker, so they must be there before the worker is.
WORKER_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}


def quiet_ray() -> None:
    """Keep Ray's narration out of the terminal; its warnings and its own log files stay."""
    import ray.data  # noqa: F401  (sets its logger up, which the loop below changes)

    for name in ("ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Ray Data sets its logger up when it is imported; one handler writes the session's log files.
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            handler.setLevel(logging.WARNING)
    # Said for every dataset that runs beside another one.
    logging.getLogger("ray.data._internal.logging").setLevel(logging.WARNING)


@contextmanager
def connected_cluster() -> Iterator[None]:
    """Attach to the cluster of this Ray job or of ``RAY_ADDRESS``, else start a local one."""
    if _attached():
        import ray

        quiet_ray()
        ray.init(
            address="auto",
            runtime_env={"env_vars": WORKER_ENVIRONMENT},
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        try:
            yield
        finally:
            ray.shutdown()
    else:
        with local_cluster():
            yield


def _attached() -> bool:
    """Whether a cluster is named, as it is inside a Ray job."""
    return "RAY_ADDRESS" in os.environ


@contextmanager
def local_cluster(processors: int | None = None) -> Iterator[None]:
    """A cluster of this machine alone, on loopback, that ends with the body."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without accelerators Ray 2.60 warns at every start that it will change this default.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.update({k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ})
    import ray

    quiet_ray()
    ray.init(
        address="local",
        num_cpus=processors,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        runtime_env={"env_vars": WORKER_ENVIRONMENT},
    )
    try:
        yield
    finally:
        ray.shutdown()


def evaluator_demands(runtime: EvaluationRuntime) -> list[dict[str, float]]:
    """What each evaluator takes of a node; it is not there for trainings."""
    demand = {"CPU": runtime.cpus_per_evaluator, "GPU": runtime.gpus_per_evaluator}
    return [demand] * runtime.evaluators


def check_evaluators(runtime: RuntimeSpec) -> None:
    """Find evaluators that no node could ever hold, or that would leave no room for a trial.

    They keep what they were given as long as the study runs, so a trial that finds no room beside
    them would wait for good, and so would they for a room that there is not.

    Raises:
        UserError: the cluster is this machine, which does not grow; elsewhere it is a warning.
    """
    import ray

    from ccx_ray.training.capacity import workers_that_fit

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    evaluators = evaluator_demands(runtime.evaluation)
    (demand,) = evaluators[:1]
    trial = runtime.trials
    worker = {"CPU": trial.cpus_per_worker, "GPU": trial.gpus_per_worker}
    room = workers_that_fit(nodes, worker, reserved=evaluators)
    if not workers_that_fit(nodes, demand):
        problem = (
            f"an evaluator takes {_amount(demand)}, and the largest node has {_largest(nodes)}"
        )
    elif room < trial.min_workers:
        problem = (
            f"{len(evaluators)} of {_amount(demand)} leave room for {room} workers of a trial "
            f"({_amount(worker)} each, at least {trial.min_workers}) on nodes of {_largest(nodes)}"
        )
    else:
        return
    if not _attached():
        raise UserError(f"runtime.evaluation: {problem}; lower what evaluators or workers take")
    logging.getLogger(__name__).warning(
        "runtime.evaluation: %s; the study waits for nodes that are large enough", problem
    )


def _amount(demand: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in demand.items() if amount)


def _largest(nodes: Sequence[Mapping[str, float]]) -> str:
    return _amount({name: max(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")})


def training_slots(runtime: RuntimeSpec) -> int:
    """How many trials the cluster holds now beside the evaluators, at least one.

    Each is counted with its fewest workers; what is left over makes groups larger. On a cluster
    that may grow two more are let through: Ray's autoscaler adds nodes for what waits, and this
    function is asked again. Each waiting trial costs a controller process, so not all of them are.
    """
    import ray

    from ccx_ray.training.capacity import workers_that_fit

    trial = runtime.trials
    workers = workers_that_fit(
        [node["Resources"] for node in ray.nodes() if node["Alive"]],
        {"CPU": trial.cpus_per_worker, "GPU": trial.gpus_per_worker},
        reserved=evaluator_demands(runtime.evaluation),
    )
    return max(1, workers // trial.min_workers) + (2 if _attached() else 0)
