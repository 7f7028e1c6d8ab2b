"""Endpoints for judges on this machine: a real server of a real model, and a proxy that fails.

``serve`` starts ``transformers serve``. ``FaultyProxy`` stands before it and, by a plan, does to
the answers what networks and busy providers do; it counts what the model behind it was asked, what
was handed over whole, and what it destroyed itself.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from ccx_ray.frequency.judges.prompting import UNREADABLE_AGAIN

Fault = Literal[
    "busy", "error", "unavailable", "gateway", "dropped", "silent", "lost", "late", "nonsense",
    "truncated", "cut", "empty",
]  # fmt: skip
FAULTS: tuple[Fault, ...] = get_args(Fault)
_STATUS = {"busy": 429, "error": 500, "unavailable": 503, "gateway": 502}
"""Answered by the proxy alone; so are ``dropped`` and ``silent``, which give no answer."""
SILENCE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    missing_bytes: int = 0
    """Announced, and never sent."""


Handler = Callable[[bytes], Awaitable[Exchange | None]]
"""From the body of a request to an answer; None: the connection is dropped."""


class LoopbackServer:
    """An HTTP server for JSON posts, on a free port of 127.0.0.1, in a thread of its own."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)\r\ncontent-length: *(\d+)", head)
            answer = await self._handler(await reader.readexactly(int(length[1]) if length else 0))
            if answer is not None:
                writer.write(_encoded(answer))
                await writer.drain()
        writer.close()


def _encoded(answer: Exchange) -> bytes:
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(answer.body) + answer.missing_bytes),
        "Connection": "close",
        **dict(answer.headers),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode() + answer.body


class FaultyProxy:
    """Stands before an endpoint; ``plan[n]`` befalls the n-th different question, in order."""

    def __init__(self, upstream: str, plan: Sequence[Sequence[Fault]] = ()) -> None:
        self.upstream = upstream
        self.requests = 0
        self.paid: Counter[str] = Counter()
        """By question: answers of the model, whatever became of them."""
        self.destroyed: Counter[str] = Counter()
        """Of these, those that never left the proxy, or not whole."""
        self.befallen: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._plan = [list(faults) for faults in plan]
        self._faults: dict[str, list[Fault]] = {}
        self._server = LoopbackServer(self._handle)

    @property
    def url(self) -> str:
        return self._server.url

    def close(self) -> None:
        self._server.close()

    async def _handle(self, body: bytes) -> Exchange | None:
        self.requests += 1
        prompt: str = json.loads(body)["messages"][0]["content"]
        question = prompt.partition(f"\n{UNREADABLE_AGAIN}")[0]
        if question not in self._faults:
            seen = len(self._faults)
            self._faults[question] = self._plan[seen] if seen < len(self._plan) else []
        fault = self._faults[question].pop(0) if self._faults[question] else None
        if fault is not None:
            self.befallen[fault] += 1
        if fault in _STATUS:
            error = json.dumps({"error": {"message": f"it is {fault}"}}).encode()
            return Exchange(status=_STATUS[fault], body=error, headers=(("Retry-After", "0.2"),))
        if fault == "silent":
            await asyncio.sleep(SILENCE_SECONDS)
        if fault in ("silent", "dropped"):
            return None
        answer = await self._forward(body)
        if answer.status != 200:
            return answer
        self.paid[question] += 1
        usage = json.loads(answer.body)["usage"]
        self.tokens.update({name: usage[f"{name}_tokens"] for name in ("prompt", "completion")})
        if fault is None:
            return answer
        self.destroyed[question] += 1
        return await _spoilt(answer, fault)

    async def _forward(self, body: bytes) -> Exchange:
        place = urlsplit(self.upstream)
        try:
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
        except OSError:
            return Exchange(status=503, body=b'{"error": {"message": "nobody is there"}}')
        with suppress(OSError):
            writer.write(
                f"POST {place.path}/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\n"
                "Content-Type: application/json\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            whole = await reader.read()
            writer.close()
            if whole:
                head, _, content = whole.partition(b"\r\n\r\n")
                return Exchange(status=int(head.split()[1]), body=content)
        return Exchange(status=503, body=b'{"error": {"message": "it went away"}}')


async def _spoilt(answer: Exchange, fault: Fault) -> Exchange | None:
    if fault == "late":
        await asyncio.sleep(SILENCE_SECONDS)
    if fault in ("late", "lost"):
        return None
    if fault == "empty":
        return Exchange(status=200, body=b'{"status": "ok"}')
    if fault == "cut":
        half = len(answer.body) // 2
        return Exchange(status=200, body=answer.body[:half], missing_bytes=len(answer.body) - half)
    completion = json.loads(answer.body)
    message = completion["choices"][0]["message"]
    message["content"] = (
        "As a language model, I hold that it holds." if fault == "nonsense"
        else message["content"][:-9]
    )  # fmt: skip
    return Exchange(status=200, body=json.dumps(completion).encode())


def completion_of(content: str, **usage: int) -> Exchange:
    """An answer in the form of the protocol, for servers without a model."""
    completion: dict[str, Any] = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "ruled",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": content}}],
    }  # fmt: skip
    if usage:
        completion["usage"] = {**usage, "total_tokens": sum(usage.values())}
    return Exchange(status=200, body=json.dumps(completion).encode())


@contextmanager
def serve(model: Path, log: Path, *, seconds: float = 120.0) -> Iterator[tuple[str, int]]:
    """``transformers serve`` of one model on a free port; its URL and its process."""
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(model),
        "--host", "127.0.0.1", "--port", "0", "--device", "cpu",
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield _address(process, log, time.monotonic() + seconds), process.pid
    finally:
        process.kill()
        process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path, deadline: float) -> str:
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(
            r"running on (http://127\.0\.0\.1:\d+)", log.read_text("utf-8", "replace")
        )
        if found:
            return f"{found[1]}/v1"
        time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text('utf-8', 'replace')[-2000:]}")
