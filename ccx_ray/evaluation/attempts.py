"""How often each checkpoint was scored: a file for every time that an evaluator began.

Nothing rests on these notes. They tell a reader of a study that was interrupted how much was done
twice, which the results do not show, because of equal results one is kept.

Invariant: no two processes write one file, so notes are whole also on a disk that several nodes
share.
"""

import json
import os
import socket
import uuid
from pathlib import Path

from ccx_ray.orchestration.provenance import now
from ccx_ray.storage.publishing import publish_json

ATTEMPTS = ".attempts"
"""Beside the results; a name with a dot is no part of a step's outputs."""


class Attempt:
    """The note of one evaluator at work on one checkpoint."""

    def __init__(self, result: Path) -> None:
        """Note that the evaluation which publishes ``result`` has begun."""
        folder = result.parent / ATTEMPTS
        folder.mkdir(exist_ok=True)
        self._path = folder / f"{result.stem}-{uuid.uuid4().hex[:12]}.json"
        self._note = {"host": socket.gethostname(), "process": os.getpid(), "began": now()}
        publish_json(self._path, {**self._note, "scored": None})

    def scored(self) -> None:
        """Note that everything is computed, and is about to be published."""
        publish_json(self._path, {**self._note, "scored": now()})


def count_attempts(folder: Path) -> dict[str, dict[str, int]]:
    """Name of the results file, without its ending -> how often it was ``begun`` and ``scored``."""
    counts: dict[str, dict[str, int]] = {}
    for path in sorted((folder / ATTEMPTS).glob("[!.]*.json")):
        count = counts.setdefault(path.stem.rpartition("-")[0], {"begun": 0, "scored": 0})
        count["begun"] += 1
        count["scored"] += json.loads(path.read_text("utf-8"))["scored"] is not None
    return counts
