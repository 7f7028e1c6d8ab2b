"""The driver of a study: only one at a time, and ended by Ctrl-C, SIGTERM or SIGHUP."""

import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from ccx_ray.errors import UserError
from ccx_ray.orchestration.provenance import now

LOCK = "driver.lock"
LOOK_SECONDS = 0.5
"""How long a lock is waited for: ``jobs/status.py`` holds it for an instant when it looks."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal that ends a job, and its exit code, which is 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.strsignal(number))
        self.exit_code = 128 + number

    @classmethod
    def by_request(cls) -> Self:
        """As by SIGTERM, for a run that somebody asked to end (``jobs/status.py --stop``)."""
        asked = cls(signal.SIGTERM)
        asked.args = ("stopped by jobs/status.py --stop",)
        return asked


@contextmanager
def driver_lock(study_folder: Path) -> Iterator[None]:
    """Hold ``<study>/driver.lock`` while the body runs; ``UserError`` when another driver does.

    The lock is the operating system's, so a driver that was killed leaves none behind.
    """
    study_folder.mkdir(parents=True, exist_ok=True)
    with (study_folder / LOCK).open("a+", encoding="utf-8") as file:
        if not _lock(file):
            file.seek(0)
            raise UserError(
                f"{study_folder}: another driver is running this study ({file.read().strip()}); "
                "wait for it, stop it, or give another --storage"
            )
        file.truncate(0)
        holder = {"process": os.getpid(), "host": socket.gethostname(), "since": now()}
        file.write(json.dumps(holder))
        file.flush()
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # also for a child that has inherited the file


def _lock(file: IO[str]) -> bool:
    deadline = time.monotonic() + LOOK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``Interrupted`` for SIGINT, SIGTERM and SIGHUP while the body runs; the second one ends
    the process at once. A signal that the job was started to ignore (``nohup``) stays ignored.

    Ray installs a handler of its own for SIGTERM when it is connected, so this is entered after
    that. Outside of the main thread, where no handler can be set, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        if came.is_set():
            os._exit(128 + number)
        came.set()
        raise Interrupted(number)

    heeded = [n for n in ENDING if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    before = {n: signal.signal(n, interrupt) for n in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
