"""Addresses of a study's pages in MLflow's UI, and the server that shows those of a database."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from urllib.request import urlopen

from ccx_ray.errors import UserError
from ccx_ray.tracking.client import PatientClient
from ccx_ray.tracking.places import ANSWER_SECONDS
from ccx_ray.tracking.views import comparison_address, view_address

TRIAL_RUNS = "tags.`ccx.kind` = 'trial'"
START_SECONDS = 60.0


def pages(uri: str, server: str, view: str, study: str | None) -> Iterator[tuple[str, str, str]]:
    """(study, page, address) of one study, or of all that a tracking place knows.

    Args:
        uri: of the tracking server or database.
        server: address of the web server that shows it.
        view: id of the saved view to open.

    Raises:
        UserError: it knows no such study.
        TrackingError: it does not answer.
    """
    client = PatientClient(uri, patience=ANSWER_SECONDS)
    known = {one.name: one.experiment_id for one in client.search_experiments()}
    known.pop("Default", None)
    if study is not None and study not in known:
        there = ", ".join(sorted(known)) or "none"
        raise UserError(f"--study: MLflow has no study {study!r}; the studies are: {there}")
    for name, experiment in known.items():
        if study not in (None, name):
            continue
        yield name, "trials", view_address(server, experiment, view, charts=False)
        yield name, "charts", view_address(server, experiment, view, charts=True)
        runs = client.search_runs(
            [experiment], filter_string=TRIAL_RUNS, order_by=["attributes.run_name ASC"]
        )
        trials = [run.info.run_id for run in runs if "ccx.superseded_by" not in run.data.tags]
        if trials:
            yield name, "trials side by side", comparison_address(server, experiment, trials)


def serve(uri: str, port: int) -> "subprocess.Popen[bytes]":
    """Start MLflow's own server of a database, on loopback; returns it when it answers.

    Raises:
        UserError: the port is taken, or the server ends at once.
    """
    with socket.socket() as taken:
        if taken.connect_ex(("127.0.0.1", port)) == 0:
            raise UserError(f"--port: {port} is in use; give another port")
    command = ["ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1"]
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            stdout=said,
            stderr=subprocess.STDOUT,
            # Its queue of jobs is four more processes, for judges that nothing here uses.
            env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ},
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and server.poll() is None:
            try:
                with urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                    return server
            except OSError:
                time.sleep(0.3)
        server.terminate()
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
    reason = lines[-1] if lines else "no reason given"
    raise UserError(f"MLflow does not start on port {port} ({reason})")
