"""Stall detection: a worker that makes no progress is named and ended, so that Ray restarts it.

A rank that hangs holds all others inside a collective operation, where no exception reaches them.
So each rank has a thread that writes down what the rank is doing; the first that has done one thing
for too long reads what the others wrote, names the one that they wait for, and ends its process.
"""

import faulthandler
import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ccx_ray.storage.publishing import publish_json

RANKS = ".ranks"
"""Folder of what each rank is doing; names with a dot are no part of a step's outputs."""
STALL = "stall.json"
BEATS, SILENT_BEATS = 10, 4
"""Writes of a rank in ``stall_seconds``, and how many it may miss before it counts as silent."""
LONGEST_BEAT = 10.0
"""Seconds."""
EXIT_STALLED = 75

COMPUTING = "computing"
"""Also while waiting for another rank."""

logger = logging.getLogger(__name__)


class StallWatch:
    """Watches one rank until ``stop``."""

    def __init__(self, run_folder: Path, *, rank: int, workers: int, seconds: float) -> None:
        self._folder = run_folder / RANKS
        self._folder.mkdir(parents=True, exist_ok=True)
        self._rank = rank
        self._workers = workers
        self._seconds = seconds  # without progress, after which the process is ended
        self._at = (0, "starting", time.time())
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def at(self, step: int, what: str) -> None:
        """Note what this rank is doing now; each call counts as progress."""
        self._at = (step, what, time.time())

    def _watch(self) -> None:
        beat = min(self._seconds / BEATS, LONGEST_BEAT)
        while not self._done.wait(beat):
            step, what, since = self._at
            own = {
                "rank": self._rank, "step": step, "at": what, "since": since, "seen": time.time()
            }  # fmt: skip
            # A full disk is for the checkpoints to complain of.
            with suppress(OSError):
                publish_json(self._folder / f"rank-{self._rank:05d}.json", own)
            if time.time() - since > self._seconds:
                note = describe_stall([own, *self._others()], beat=beat)
                with suppress(OSError):
                    publish_json(self._folder / STALL, {"time": time.time(), "note": note})
                logger.error("%s; ending this process so that the workers are started again", note)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(EXIT_STALLED)

    def _others(self) -> list[dict[str, Any]]:
        paths = sorted(self._folder.glob("rank-*.json"))
        ranks = [json.loads(path.read_text("utf-8")) for path in paths]
        return [r for r in ranks if r["rank"] != self._rank and r["rank"] < self._workers]


def describe_stall(ranks: Sequence[Mapping[str, Any]], *, beat: float) -> str:
    """Which ranks the others wait for, and what these are doing.

    A rank that has stopped writing hangs as a whole process. Else it is those at the earliest step
    that are not computing, for a rank that waits for others says that it computes.

    Args:
        ranks: what each wrote last, the one that asks first.
    """
    now = ranks[0]["seen"]
    silent = [rank for rank in ranks if now - rank["seen"] > SILENT_BEATS * beat]
    if silent:
        return "; ".join(
            f"rank {rank['rank']} has not moved for {now - rank['seen']:.0f} s "
            f"(step {rank['step']}, {rank['at']})"
            for rank in silent
        )
    first = min(rank["step"] for rank in ranks)
    earliest = [rank for rank in ranks if rank["step"] == first]
    busy = [rank for rank in earliest if rank["at"] != COMPUTING] or earliest
    return "; ".join(
        f"rank {rank['rank']} has been {rank['at']} at step {rank['step']} for "
        f"{now - rank['since']:.0f} s"
        for rank in busy
    )


def stall_note(run_folder: Path, *, seconds: float) -> str | None:
    """The description of a stall of this run, if there was one within the last ``seconds``."""
    path = run_folder / RANKS / STALL
    if not path.is_file() or time.time() - path.stat().st_mtime >= seconds:
        return None
    return str(json.loads(path.read_text("utf-8"))["note"])
