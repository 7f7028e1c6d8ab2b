"""A real S3 server in a process of its own, behind a door that a test can shut.

Moto keeps its objects in memory, so an outage is made in front of it: connections are refused,
answered with 503, or a long upload is stopped half way.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ccx_ray.storage import object_stores

BUCKET = "checkpoints"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}
ANSWER_503 = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class StoreDoor:
    """Forwards TCP connections to the server while it is open."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._open: set[socket.socket] = set()
        self._answer: bytes | None = None
        self._limit: int | None = None
        self.stalled = threading.Event()
        """An upload has been stopped half way."""
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._accept()

    def refuse(self) -> None:
        """Nobody listens any more, and who was connected is cut off."""
        _shut(self._listener)
        self._cut_off()

    def answer_503(self) -> None:
        self._answer = ANSWER_503
        self._cut_off()

    def stall_after(self, sent_bytes: int) -> None:
        """Let so many bytes of each connection through, and then nothing."""
        self._limit = sent_bytes

    def restore(self) -> None:
        self._answer = self._limit = None
        self.stalled.clear()
        self._cut_off()
        if self._listener.fileno() < 0:
            self._listener = _listen(self.port)
            self._accept()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                if self._answer is not None:
                    client.recv(65536)
                    client.sendall(self._answer)
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._open |= {client, server}
                for source, target, limited in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._forward, args=(source, target, limited), daemon=True
                    ).start()

    def _forward(self, source: socket.socket, target: socket.socket, limited: bool) -> None:
        sent = 0
        with suppress(OSError):
            while block := source.recv(65536):
                sent += len(block)
                if limited and self._limit is not None and sent > self._limit:
                    self.stalled.set()
                    return
                target.sendall(block)
        _shut(source)
        _shut(target)

    def _cut_off(self) -> None:
        for connection in list(self._open):
            _shut(connection)
        self._open.clear()


class FailingStore:
    """A bucket, reached through the door by the product and past it by the test."""

    def __init__(self, port: int) -> None:
        import boto3

        self.door = StoreDoor(port)
        self.uri = f"s3://{BUCKET}/study"
        self.client: Any = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        self.client.create_bucket(Bucket=BUCKET)

    def objects(self, below: str = "") -> dict[str, int]:
        """Key -> size, but for the empty objects that stand for folders."""
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {
            item["Key"]: item["Size"]
            for item in found
            if not item["Key"].endswith("/") and below in item["Key"]
        }

    def clear(self) -> None:
        for key in self.objects():
            self.client.delete_object(Bucket=BUCKET, Key=key)

    def pointed_to(self, run_folder: Path) -> set[str]:
        """The keys of all files that a run's pointers name."""
        keys = set()
        for pointer in run_folder.rglob("remote.json"):
            content = json.loads(pointer.read_text())
            key = content["uri"].removeprefix(f"s3://{BUCKET}/")
            keys |= {f"{key}/{name}" for name in (*content["files"], "manifest.json")}
        return keys


@contextmanager
def s3_server() -> Iterator[int]:
    """An S3 server on loopback, which takes any credentials; its port."""
    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server)
        yield port
    finally:
        server.kill()
        server.wait()


@contextmanager
def failing_store() -> Iterator[FailingStore]:
    """Start the server, and let the environment point to its door."""
    before = dict(os.environ)
    os.environ.update(CREDENTIALS)
    try:
        with s3_server() as port:
            store = FailingStore(port)
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{store.door.port}"
            object_stores._store.cache_clear()  # an earlier server had the same bucket
            yield store
    finally:
        os.environ.clear()
        os.environ.update(before)


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=64)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise RuntimeError("the S3 server did not start")
