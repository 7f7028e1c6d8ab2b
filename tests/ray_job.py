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
    dashboard = free_port()
    with tempfile.TemporaryDirectory(prefix="ray-") as temporary:
        token = Path(temporary) / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        client = {
            **environment(),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "CCX_RAY_PEAK_TFLOPS": "1",
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
        }
        log = (Path(temporary) / "head.log").open("w")
        head = subprocess.Popen(
            [
                RAY, "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}",
                "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1",
                f"--dashboard-port={dashboard}",
                f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir={temporary}/ray",
            ],
            env=client, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 180
            while not listens(dashboard):
                assert head.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.2)
            yield client
        finally:
            head.terminate()
            head.wait(60)
            log.close()


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
