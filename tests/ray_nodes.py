"""A real Ray cluster of several nodes on this machine, whose nodes can be killed, drained, added.

Every node is a raylet of its own; drivers attach to it from other processes by ``RAY_ADDRESS``, so
that a test may kill them, and a node's GPUs may be a mere number.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[1]
# A killed raylet is noticed after 3 missed checks instead of 5 that are 3 s apart.
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 3,
}


class RayNodes:
    """The head and the nodes added to it; the head has no room for workers unless given."""

    def __init__(self, **head: float) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "_system_config": HEALTH,
                **head,
            },
        )
        self.address: str = self._cluster.address
        self.nodes: list[Any] = []
        self._resources: dict[str, dict[str, float]] = {}

    def add(self, **resources: float) -> Any:
        """A further node with ``num_cpus``, ``num_gpus``."""
        node = self._cluster.add_node(**resources)
        self.nodes.append(node)
        self._resources[node.node_id] = resources
        return node

    def replace(self, node: Any) -> None:
        """A new node of the same resources for one whose raylet has been killed."""
        (info,) = node.all_processes["raylet"]
        info.process.wait(timeout=10)
        self.remove(node)
        self.add(**self._resources[node.node_id])

    def remove(self, node: Any) -> None:
        """Take the node away at once, with all its processes."""
        self.nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def drain(self, node: Any, *, seconds: int) -> None:
        """Announce, as a cloud does, that the node will be taken away after ``seconds``."""
        subprocess.run(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "drain-node"),
                *("--address", self.address, "--node-id", node.node_id),
                *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"),
                *("--deadline-remaining-seconds", str(seconds)),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def raylet(self, node: Any) -> psutil.Process:
        (info,) = node.all_processes["raylet"]
        return psutil.Process(info.process.pid)

    def workers(self, run_name: str) -> list[psutil.Process]:
        """Processes of Ray Train workers of the run, told by the directory that Ray gives them."""
        return [
            process
            for process in self._processes("RayTrainWorker")
            if run_name in Path(_directory(process)).parts
        ]

    def controllers(self) -> list[psutil.Process]:
        """Processes of Ray Train controllers, whatever their run."""
        return self._processes("TrainController")

    def _processes(self, title: str) -> list[psutil.Process]:
        return [
            process
            for node in [self._cluster.head_node, *self.nodes]
            if self._is_alive(node)
            for process in self.raylet(node).children(recursive=True)
            if title in _title(process)
        ]

    def _is_alive(self, node: Any) -> bool:
        (info,) = node.all_processes["raylet"]
        return info.process.poll() is None

    def shutdown(self) -> None:
        self._cluster.shutdown()


@contextmanager
def ray_nodes(*nodes: dict[str, float], **head: float) -> Iterator[RayNodes]:
    """A cluster of a head and ``nodes``, that ends with the body."""
    cluster = RayNodes(**head)
    try:
        for resources in nodes:
            cluster.add(**resources)
        yield cluster
    finally:
        cluster.shutdown()


def start_driver(
    cluster: RayNodes, script: Sequence[str], log: Path, **environment: str
) -> "subprocess.Popen[bytes]":
    """Start a Python program attached to the cluster; its output is appended to ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *script],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=PROJECT,
            env={**os.environ, "RAY_ADDRESS": cluster.address, **environment},
        )


def kill(process: psutil.Process) -> bool:
    """SIGKILL; whether the process was still there."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def wait_until(condition: Any, *, seconds: float, what: str) -> None:
    """Poll until ``condition()`` is true; an assertion naming ``what`` otherwise."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def _title(process: psutil.Process) -> str:
    try:
        return "".join(process.cmdline())
    except psutil.Error:
        return ""


def _directory(process: psutil.Process) -> str:
    try:
        return str(process.cwd())
    except psutil.Error:
        return ""
