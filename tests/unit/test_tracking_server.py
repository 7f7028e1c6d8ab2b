"""A tracking server that does not answer is a user's mistake, found before compute is spent."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.tracking import places, runs
from ccx_ray.tracking.places import check_tracking_server
from ccx_ray.tracking.runs import Tracking


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def server_of(request: pytest.FixtureRequest) -> Iterator[str]:
    """Answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}/mlflow/"
    server.shutdown()
    server.server_close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_server_that_never_answers_is_given_up(
    silent_server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(places, "ANSWER_SECONDS", 0.5)
    with pytest.raises(UserError, match=r"^runtime\.tracking_uri: .* answer \(timed out\)"):
        check_tracking_server(silent_server)


@pytest.mark.parametrize("server_of", [502, 503], indirect=True)
def test_a_proxy_without_a_server_is_no_answer(server_of: str):
    with pytest.raises(UserError, match=r"does not answer \(HTTP 50[23]\)") as error:
        check_tracking_server(server_of)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("server_of", [200, 401, 404], indirect=True)
def test_who_may_log_in_is_left_to_mlflow(server_of: str):
    check_tracking_server(server_of)


def test_a_job_says_so_in_one_line(project: Path, tmp_path: Path):
    uri = f"http://127.0.0.1:{closed_port()}"
    job = subprocess.run(
        [sys.executable, "jobs/full_study.py", "--study", "laptop", "--storage", str(tmp_path),
         "--tracking-uri", uri],
        cwd=project, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert job.returncode == 2
    (line,) = job.stderr.splitlines()
    assert line.startswith(
        f"error: runtime.tracking_uri: the tracking server {uri} does not answer"
    )
    assert not list(tmp_path.iterdir()), "nothing is created"


@pytest.mark.parametrize("server_of", [401, 500], indirect=True)
def test_what_mlflow_says_when_a_study_is_opened_is_one_line(
    server_of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "ANSWER_SECONDS", 0.1)
    with pytest.raises(UserError) as refused:
        Tracking(server_of, study="tiny", storage=tmp_path)
    (line,) = str(refused.value).splitlines()
    assert line.startswith("runtime.tracking_uri: MLflow at http://user:***@127.0.0.1")
    assert "fails (HTTP 401 Unauthorized)" in line or "fails (HTTP 500 Internal" in line
    assert "secret" not in line
