"""``ray job submit`` on a real cluster with token authentication, as the README says it."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny_study import PROJECT, TRIALS, Results, environment, write_tiny_study

RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A head node on loopback that asks for a token; yields a client's environment.

    Every port is its own: the session's local cluster is alive beside it, and of two agents on
    the default port the later one does not start ("No available agent to submit job").
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
            while submit(client, "python", "-c", "print('up')").returncode:
                assert head.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(1)
            yield client
        finally:
            head.terminate()
            head.wait(60)
            log.close()


def submit(client: dict[str, str], *entrypoint: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--", *entrypoint],
        cwd=PROJECT, env=client, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def test_without_the_token_nothing_is_run(cluster: dict[str, str]):
    stranger = {k: v for k, v in cluster.items() if not k.startswith("RAY_AUTH")}
    stranger["RAY_AUTH_MODE"] = "disabled"
    refused = submit(stranger, "python", "-c", "print('let in')")
    assert refused.returncode != 0
    assert "let in" not in refused.stdout


def test_a_relative_storage_is_refused_inside_a_job(cluster: dict[str, str], tmp_path: Path):
    study = write_tiny_study(tmp_path / "study")
    done = submit(
        cluster, "python", "jobs/full_study.py", "--study", str(study), "--storage", "results"
    )
    assert done.returncode != 0
    assert "vanish with the Ray job" in done.stdout + done.stderr


def test_the_whole_study_as_a_job(cluster: dict[str, str], tmp_path: Path):
    study = write_tiny_study(tmp_path / "study")
    done = submit(
        cluster,
        "python",
        "jobs/full_study.py",
        "--study",
        str(study),
        "--storage",
        str(tmp_path / "storage"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = Results(storage=tmp_path / "storage")
    for trial in TRIALS:
        assert len(results.losses(f"trial-{trial}")) == 90
    assert (results.folder("analysis") / "report.html").is_file()
