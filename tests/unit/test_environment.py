"""What Ray needs of the environment is checked in seconds and answered in one line."""

import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest

from ccx_ray.errors import UserError
from ccx_ray.orchestration.environment import check_address, check_home


def refusal(address: str) -> str:
    with pytest.raises(UserError) as refused:
        check_address(address)
    (line,) = str(refused.value).splitlines()
    assert line.startswith("RAY_ADDRESS: ")
    return line


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:8265", "is the address of a dashboard"),
        ("ray://127.0.0.1:10001", "is an address of Ray Client"),
        ("head", "is not of the form HOST:PORT"),
        ("head:port", "is not of the form HOST:PORT"),
        ("127.0.0.1:0", "is not of the form HOST:PORT"),
        ("HTTP://127.0.0.1:8265", "is the address of a dashboard"),
        ("redis://127.0.0.1:6379", "is not of the form HOST:PORT"),
        ("127.0.0.1:6379/", "is not of the form HOST:PORT"),
        ("head..local:6379", "does not answer ("),
        ("no-such-host.invalid:6379", "does not answer"),
    ],
)
def test_an_address_that_is_none_is_named(address: str, message: str) -> None:
    assert message in refusal(address)


def test_a_dead_address_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "does not answer (Connection refused)" in refusal(f"127.0.0.1:{port}")


def test_a_server_of_another_kind_is_no_head_node() -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    assert "is not a head node" in refusal(f"127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_a_server_of_ray_without_nodes_is_no_head_node() -> None:
    """As Ray Client's is, at port 10001."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    assert "is not a head node" in refusal(f"127.0.0.1:{port}")
    server.stop(None)


def test_a_server_that_says_nothing_is_no_head_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccx_ray.orchestration.environment.ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "is not a head node" in refusal(f"127.0.0.1:{server.getsockname()[1]}")


def test_a_home_is_made_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "new"))
    check_home()
    assert (tmp_path / "new" / ".ray").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become a user without a name")
@pytest.mark.parametrize("home", [None, "/"])
def test_a_user_without_a_home_is_told_what_to_set(home: str | None, project: Path) -> None:
    """As in a container that is started with a number of its own."""
    code = (
        "import os, sys; sys.path.insert(0, '.')\n"
        "from ccx_ray.errors import UserError\n"
        "from ccx_ray.orchestration.environment import check_home\n"
        "os.setuid(54321)\n"
        "try:\n    check_home()\nexcept UserError as error:\n    print(error)\n"
    )
    hidden = ("HOME", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True,
        env=environment | ({"HOME": home} if home else {}),
    )  # fmt: skip
    assert done.stdout.startswith("HOME: ")
    assert "54321" in done.stdout
    assert "set HOME to a " in done.stdout
