"""The lock of a study: a second driver is refused instead of writing into the same folders."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.orchestration.provenance import now


@contextmanager
def driver_lock(study_folder: Path) -> Iterator[None]:
    """Hold ``<study>/driver.lock`` while the body runs.

    The lock is the operating system's, so a driver that was killed leaves none behind.

    Raises:
        UserError: another driver holds it.
    """
    study_folder.mkdir(parents=True, exist_ok=True)
    path = study_folder / "driver.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{study_folder}: another driver is running this study ({file.read().strip()}); "
                "wait for it, stop it, or give another --storage"
            ) from None
        file.seek(0)
        file.truncate()
        holder = {"process": os.getpid(), "host": socket.gethostname(), "since": now()}
        file.write(json.dumps(holder))
        file.flush()
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
