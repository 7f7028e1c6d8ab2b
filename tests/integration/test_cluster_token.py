"""Ray's token of a local cluster is for its user alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

START = """
from ccx_ray.orchestration.cluster import local_cluster
with local_cluster(1):
    import ray
    print(ray.get(ray.remote(lambda: "answered").remote()))
"""


def test_nobody_else_can_read_the_token_of_a_local_cluster(project: Path, tmp_path: Path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(project)}
    job = subprocess.run(
        [sys.executable, "-c", START],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert job.stdout == "answered\n", job.stderr
    token = tmp_path / ".ray" / "auth_token"
    assert token.read_text()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
