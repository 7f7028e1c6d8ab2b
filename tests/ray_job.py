"""A real Ray cluster that asks for a token, and ``ray job submit`` to it."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.jobs import PROJECT, environment

RAY = str(Path(sys.executable).with_name("ray"))
METRICS_SECONDS = 3
"""Between two reports of a process's gauges, else 10: the tiny study's trainings last seconds. Ray
forgets a gauge after two, and the driver sets its own every 5 s."""
STARTS = 5
"""Of a head node: Ray gives a start up after 30 s, which a busy machine may need."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def token_cluster() -> Iterator[dict[str, str]]:
    """A head node on loopback that asks for a token; yields a client's environment.

    Every port is its own: a local cluster may be alive beside it, and of two agents on the default
    port the later one does not start ("No available agent to submit job").
    """
    for start in range(1, STARTS + 1):
        with tempfile.TemporaryDirectory(prefix="ray-") as temporary:
            client, head = _start(Path(temporary))
            try:
                log = Path(temporary) / "head.log"
                if _is_up(head, log) or start == STARTS:
                    assert head.poll() is None, log.read_text()
                    yield client
                    return
            finally:
                head.terminate()
                head.wait(60)


def _start(folder: Path) -> tuple[dict[str, str], "subprocess.Popen[bytes]"]:
    """A client's environment, and the process of a head node that is starting."""
    dashboard = free_port()
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    client = {
        **environment(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "AUTOSCALER_METRIC_PORT": str(free_port()),
        "DASHBOARD_METRIC_PORT": str(free_port()),
        "RAY_metrics_report_interval_ms": str(1000 * METRICS_SECONDS),
        "CCX_RAY_PEAK_TFLOPS": "1",
    }
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(
            [
                RAY, "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}",
                "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1",
                f"--dashboard-port={dashboard}",
                f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir={folder}/ray",
            ],
            env=client, stdout=log, stderr=log,
        )  # fmt: skip
    return client, head


def _is_up(head: "subprocess.Popen[bytes]", log: Path) -> bool:
    """Waits until the node has started, or has given up."""
    deadline = time.monotonic() + 180
    while head.poll() is None and time.monotonic() < deadline:
        if "Ray runtime started" in log.read_text():
            return True
        time.sleep(0.2)
    return False


def metrics_addresses(client: dict[str, str]) -> Path:
    """The file in which Ray writes down where a cluster's metrics endpoints are."""
    folder = Path(client["RAY_AUTH_TOKEN_PATH"]).parent / "ray"
    return folder / "prom_metrics_service_discovery.json"


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def submit(client: dict[str, str], command: str) -> subprocess.CompletedProcess[str]:
    """Submit a shell command and wait for its end."""
    return subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--", "sh", "-c", command],
        cwd=PROJECT, env=client, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip


def submit_when_up(client: dict[str, str], command: str) -> subprocess.CompletedProcess[str]:
    """As ``submit``, to a cluster whose agent may not have started yet."""
    deadline = time.monotonic() + 300
    while True:
        done = submit(client, command)
        if "submitted successfully" in done.stdout or time.monotonic() > deadline:
            return done
        time.sleep(1)
