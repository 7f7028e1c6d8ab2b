"""How a job ends: by a signal, in a terminal of another encoding."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

JOB = (
    "import sys, time\n"
    "from ccx_ray.cli.command import run_command\n"
    "def main():\n"
    "    print('한국', flush=True)\n"
    "    time.sleep(60 if sys.argv[1:] else 0)\n"
    "run_command(main)\n"
)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_job_with_its_code(number: int, code: int, project: Path) -> None:
    job = subprocess.Popen(
        # Whatever ignores signals around these tests, as nohup does, this job heeds them.
        ["env", "--default-signal=HUP,INT", sys.executable, "-c", JOB, "wait"], cwd=project,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert job.stdout is not None
    assert job.stdout.readline() == "한국\n"
    job.send_signal(number)
    _, errors = job.communicate(timeout=15)
    assert job.returncode == code
    assert errors == "interrupted; give the same command again to continue\n"


def test_a_job_under_nohup_outlives_its_terminal(project: Path) -> None:
    job = subprocess.Popen(
        ["nohup", sys.executable, "-c", JOB, "wait"], cwd=project, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert job.stdout is not None
    job.stdout.readline()
    job.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(timeout=1)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=15)
    assert job.returncode == 143


@pytest.mark.parametrize("encoding", ["ascii", "euc-kr", "latin-1", "utf-8"])
def test_output_is_written_in_any_encoding(encoding: str, project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", JOB], cwd=project, capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding).strip() in ("한국", r"\ud55c\uad6d")
