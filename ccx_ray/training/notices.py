"""Notices to the workers between two steps: save a state, or save and end. Plain files of the run.

The policies in Ray Train's controller write, rank 0 reads. Invariant: one group of workers writes
into a run's folder. A new group leaves its name there first, and an older one that finds another
name ends at once: its controller is dead, or could not reach it to end it.
"""

import json
import os
import time
import uuid
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from ccx_ray.storage.publishing import publish_bytes, publish_json
from ccx_ray.training.restart_log import run_time_folder

GROUP, SAVE_REQUEST = "group.json", "save-request"
LOOK_SECONDS = 0.5
"""How often rank 0 looks: a network file system is asked, and small models step in milliseconds."""


class Notice(Enum):
    """What a worker is asked between two steps."""

    NONE = "none"
    SAVE = "save"
    """Write a state to resume from and go on: the number of workers is about to change."""
    LEAVE = "leave"
    """Write a state to resume from and end: this node is about to be taken away."""


def request_save(run_folder: Path) -> None:
    """Ask the running group for a state to resume from."""
    publish_bytes(run_time_folder(run_folder) / SAVE_REQUEST, uuid.uuid4().hex.encode())


def drop_save_request(run_folder: Path) -> None:
    """Remove the request, met or not."""
    (run_time_folder(run_folder) / SAVE_REQUEST).unlink(missing_ok=True)


class NoticeBoard:
    """The notices to one worker; made before the worker reads anything of the run's folder."""

    def __init__(self, run_folder: Path, *, rank: int, is_leaving: Callable[[], bool]) -> None:
        """
        Args:
            is_leaving: whether a node of the group is about to be taken away.
        """
        self._folder = run_time_folder(run_folder)
        self._rank = rank
        self._is_leaving = is_leaving
        self._name = uuid.uuid4().hex
        self._looked = float("-inf")
        self._met = b""
        if rank == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            publish_json(self._folder / GROUP, {"name": self._name})

    def read(self) -> Notice:
        """The notice of this moment; each request for a state is told once."""
        if self._is_leaving():
            return Notice.LEAVE
        now = time.monotonic()
        if self._rank or now - self._looked < LOOK_SECONDS:
            return Notice.NONE
        self._looked = now
        if json.loads((self._folder / GROUP).read_text("utf-8"))["name"] != self._name:
            # Nobody is left to report to, and an exception would first write a last state.
            os._exit(1)
        request = _content(self._folder / SAVE_REQUEST)
        if request in (b"", self._met):
            return Notice.NONE
        self._met = request
        return Notice.SAVE


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
