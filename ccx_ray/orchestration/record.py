"""What a driver leaves in the study's folder for others to read: what it runs, how far it is, and
whether it lives. ``jobs/status.py`` reads that from any machine that mounts the storage.

``run.json`` is written once a run: the study, the command, every step with what it needs.
``run-state.json`` is replaced every few seconds: a heartbeat, and the steps that have begun. How
far a running step is stands in its own folder. Invariants: each file is whole whenever it is read;
what is finished is told by completion markers alone; neither file holds a credential.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ccx_ray.errors import last_line
from ccx_ray.orchestration.driver import LOCK, Interrupted
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.provenance import now, without_credentials
from ccx_ray.storage.publishing import publish_bytes, publish_json

RUN, STATE, STOP = "run.json", "run-state.json", "stop-request.json"
HEARTBEAT_SECONDS = 5.0
LOST_SECONDS = 60.0
"""A driver on another machine that has given no sign of life for so long is taken for dead."""


class RunRecord:
    """The driver's side; a context, at whose end it says how the run ended."""

    def __init__(
        self, folder: Path, whole: Graph, wanted: Iterable[str], about: Mapping[str, Any]
    ) -> None:
        """
        Args:
            folder: of the study; this process holds its lock.
            whole: all steps of the study.
            wanted: names of those that this run computes where they are not done.
            about: what a reader must know of the study; no credentials.
        """
        self._folder = folder
        self._steps: dict[str, dict[str, Any]] = {}
        self._at_once: dict[str, int] = {}
        self._pools = {step.name: step.pool for step in whole.steps.values()}
        self._begun = now()
        self._ended: dict[str, Any] = {"ended": None, "outcome": "running", "cause": None}
        self._written = float("-inf")
        self._lock = threading.Lock()
        (folder / STOP).unlink(missing_ok=True)  # meant another run
        content = {
            **about,
            "command": [Path(sys.argv[0]).name, *without_credentials(sys.argv[1:])],
            "process": os.getpid(),
            "host": socket.gethostname(),
            "begun": self._begun,
            "steps": [_described(step) for step in whole.steps.values()],
            "wanted": list(wanted),
        }
        self.write()
        publish_json(folder / RUN, content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            outcome, cause = "stopped", str(error) or "interrupted"
        elif error is not None:
            outcome, cause = "failed", last_line(error).removeprefix("UserError: ")
        else:
            failed = any(step["state"] in ("failed", "skipped") for step in self._steps.values())
            outcome, cause = ("failed" if failed else "complete"), None
        self._ended = {"ended": now(), "outcome": outcome, "cause": cause}
        with contextlib.suppress(OSError):  # a full disk must not hide what really went wrong
            self.write()

    def started(self, step: Step) -> None:
        with self._lock:
            self._steps[step.name] = {"state": "running", "started": now()}
            running = [n for n, found in self._steps.items() if found["state"] == "running"]
            in_pool = sum(self._pools[name] == step.pool for name in running)
            self._at_once[step.pool] = max(in_pool, self._at_once.get(step.pool, 0))

    def settled(self, step: Step, state: str, cause: str) -> None:
        if state == "reused":
            return  # its marker says so
        with self._lock:
            found = {**self._steps.get(step.name, {}), "state": state, "settled": now()}
            self._steps[step.name] = {**found, **({"cause": cause} if cause else {})}

    def beat(self) -> None:
        """Give a sign of life, when the last one is some seconds old."""
        if time.monotonic() - self._written >= HEARTBEAT_SECONDS:
            with contextlib.suppress(OSError):  # told again in a few seconds
                self.write()

    def is_stop_requested(self) -> bool:
        return (self._folder / STOP).exists()

    def write(self) -> None:
        """Replace the state, heartbeat included."""
        self._written = time.monotonic()
        with self._lock:
            content = {
                "begun": self._begun,
                "heartbeat": now(),
                **self._ended,
                "at_once": self._at_once,
                "steps": self._steps,
            }
            encoded = json.dumps(content, ensure_ascii=False).encode()
        publish_bytes(self._folder / STATE, encoded)


def _described(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.kind,
        "folder": step.folder_name,
        "pool": step.pool,
        "needs": [needed.name for needed in step.upstream],
        "follows": step.follows and step.follows.name,
        "resumable": step.resumable,
    }


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The contents of ``run.json`` and ``run-state.json``; None where no run was recorded."""
    try:
        run: dict[str, Any] = json.loads((folder / RUN).read_text("utf-8"))
        state: dict[str, Any] = json.loads((folder / STATE).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return run, state


def request_stop(folder: Path) -> None:
    """Ask the driver to end as it does on SIGTERM; it looks every half second."""
    request = {"requested": now(), "host": socket.gethostname(), "process": os.getpid()}
    publish_json(folder / STOP, request)


def stop_if_requested(record: RunRecord | None) -> None:
    """Raise ``Interrupted`` when somebody has asked this run to end."""
    if record is not None and record.is_stop_requested():
        raise Interrupted.by_request()


def is_driven(folder: Path, run: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Whether the driver of a recorded run lives: whether it holds its lock; on another machine,
    where that may not be seen, whether its last sign of life is recent."""
    if state["ended"] is not None:
        return False
    if _is_locked(folder / LOCK):
        return True
    return run["host"] != socket.gethostname() and seconds_since(state["heartbeat"]) < LOST_SECONDS


def seconds_since(moment: str | float) -> float:
    """Since an ISO 8601 time or a time stamp; not below 0, though clocks of machines differ."""
    stamp = datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else moment
    return max(0.0, datetime.now(UTC).timestamp() - stamp)


def _is_locked(path: Path) -> bool:
    """Whether a process holds a lock; looking takes a shared one for an instant, for which a driver
    that starts meanwhile waits (``driver.driver_lock``)."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
