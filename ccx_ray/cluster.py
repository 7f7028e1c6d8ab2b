"""The Ray cluster that a job runs on: the one it was submitted to, or a local one of its own.

This is the only place that decides worker environments, so a laptop and a cluster agree on them.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Read by libraries when they are imported in a worker, so they must be there before the worker is.
WORKER_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}


@contextmanager
def connected_cluster() -> Iterator[None]:
    """Attach to the cluster of this Ray job or of ``RAY_ADDRESS``, else start a local one."""
    if "RAY_ADDRESS" in os.environ or "RAY_JOB_ID" in os.environ:
        import ray

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


@contextmanager
def local_cluster(processors: int | None = None) -> Iterator[None]:
    """A cluster of this machine alone, on loopback, that ends with the body."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without accelerators Ray 2.60 warns at every start that it will change this default.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.update({k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ})
    import ray

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
