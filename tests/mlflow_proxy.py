"""A real MLflow server on loopback, and a proxy in front of it that fails as it is told to."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

START_SECONDS = 180


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """``mlflow server`` on SQLite, with the artifacts that it keeps for its clients; its port."""
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
                 "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    with (folder / "server.txt").open("w") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments],
            stdout=said, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                # Nine processes, each of which imports MLflow.
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
        )  # fmt: skip
    try:
        wait_until_it_answers(port, server, folder / "server.txt")
        yield port
    finally:
        server.terminate()  # uvicorn ends its worker
        server.wait(60)


def wait_until_it_answers(port: int, server: "subprocess.Popen[bytes]", said: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            assert server.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)


class Proxy:
    """Passes requests on to a port, answers all with one status, loses answers, or is closed."""

    def __init__(self, behind: int) -> None:
        self.port = free_port()
        self.status: int | None = None
        """What every request is answered with, instead of being passed on."""
        self.losing = ""
        """Requests whose path ends so are passed on, and their next answer is lost."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if proxy.status is not None:
                    self.send_response(proxy.status)
                    self.end_headers()
                    self.wfile.write(b"<html>\n<body>no</body>\n</html>")
                    return
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                connection = HTTPConnection("127.0.0.1", behind, timeout=60)
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                if proxy.losing and self.path.endswith(proxy.losing):
                    proxy.losing = ""
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type") or "")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._handler = Handler
        self._server: ThreadingHTTPServer | None = None
        self.open()

    def open(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def heal(self) -> None:
        self.status, self.losing = None, ""
        if self._server is None:
            self.open()
