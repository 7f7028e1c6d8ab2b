"""The Ray cluster that a job runs on: the one it was submitted to, or a local one of its own.

This is the only place that decides worker environments, so a laptop and a cluster agree on them.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.orchestration.environment import check_address, check_home, close_token_file
from ccx_ray.orchestration.gauges import Gauge, Gauges
from ccx_ray.orchestration.private_names import RAY_NAMES, RAY_TESTED, check_private_names
from ccx_ray.storage.object_stores import one_line

# Read by libraries when they are imported in a worker, so they must be there before the worker is.
WORKER_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}


def _import_ray() -> None:
    """Import Ray's libraries, check that the private parts that are used have not moved, and keep
    Ray's narration out of the terminal; its warnings and its own log files stay.

    Here and not in the steps: two threads that import Ray Tune at once find it half imported.
    """
    import ray.data
    import ray.train
    import ray.tune  # noqa: F401

    check_private_names("ray", tested=RAY_TESTED, names=RAY_NAMES)
    for name in ("ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Ray Data sets its logger up when it is imported; one handler writes the session's log files.
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            handler.setLevel(logging.WARNING)
    # Said for every dataset that runs beside another one.
    logging.getLogger("ray.data._internal.logging").setLevel(logging.WARNING)
    # Advice on what is meant to be so: no bars of Ray's, and a token (see local_cluster).
    for name in (
        "ray.data._internal.progress",
        "ray._private.authentication.authentication_token_setup",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def connected_cluster() -> Iterator[None]:
    """Attach to the cluster of this Ray job or of ``RAY_ADDRESS``, else start a local one.

    After a ``KeyboardInterrupt`` the connection ends with the process: steps still run in threads,
    and would start a cluster of their own when this one is gone.

    Raises:
        UserError: ``RAY_ADDRESS`` is not of a head node that answers, or there is no home folder
            for Ray's token.
    """
    check_home()
    if is_attached():
        check_address(os.environ["RAY_ADDRESS"])
    with _cluster(address="auto") if is_attached() else local_cluster():
        yield


def is_attached() -> bool:
    """Whether a cluster is named, as it is inside a Ray job; such a one may grow."""
    return bool(os.environ.get("RAY_ADDRESS"))


def node_resources() -> list[Mapping[str, float]]:
    """The resources of every node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@contextmanager
def exported_gauges(gauges: Gauges, study: str) -> Iterator[None]:
    """Have the cluster's metrics endpoints show the driver's gauges while the body runs.

    A local cluster has no such endpoint, and nothing is read there.
    """
    from ray.util.metrics import Gauge as RayGauge

    made: dict[Gauge, RayGauge] = {}

    def set_gauge(gauge: Gauge, tags: tuple[str, ...], value: float) -> None:
        if gauge not in made:
            keys = ("study", *gauge.tags)
            made[gauge] = RayGauge(f"ccx_{gauge.name}", gauge.description, tag_keys=keys)
        made[gauge].set(value, {"study": study, **dict(zip(gauge.tags, tags, strict=True))})

    with gauges.refreshed(set_gauge) if is_attached() else nullcontext():
        yield


@contextmanager
def local_cluster(processors: int | None = None) -> Iterator[None]:
    """A cluster of this machine alone that ends with the body.

    Some of Ray's ports listen on every interface; whoever connects needs the token, which only this
    user can read. The dashboard is off.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without accelerators Ray 2.60 warns at every start that it will change this default.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.update({k: v for k, v in WORKER_ENVIRONMENT.items() if k not in os.environ})
    close_token_file()
    with _cluster(address="local", num_cpus=processors, include_dashboard=False):
        close_token_file()
        yield


@contextmanager
def _cluster(**settings: Any) -> Iterator[None]:
    import ray

    _import_ray()
    try:
        ray.init(
            **settings,
            runtime_env={"env_vars": WORKER_ENVIRONMENT},
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except ConnectionError as error:
        if settings["address"] != "auto":
            raise
        raise UserError(
            f"RAY_ADDRESS: {os.environ['RAY_ADDRESS']!r} finds no cluster ({one_line(error)}); "
            "give HOST:PORT of a head node, or unset it for a local cluster"
        ) from None
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()
