"""The jobs as a user calls them: in a process of their own, or quickly in this one."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

PROJECT = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """The environment of a user's shell: no cluster to attach to."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def job_command(job: str, *arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT / "jobs" / f"{job}.py"), *arguments]


def run_job(job: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a job in a process of its own."""
    return subprocess.run(
        job_command(job, *arguments),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=1200,
    )


def call_job(job: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a job in this process: for one that starts no cluster, and without its imports' time."""
    command = job_command(job, *arguments)[1:]
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", command),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            runpy.run_path(command[0], run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(command, code, stdout.getvalue(), stderr.getvalue())
