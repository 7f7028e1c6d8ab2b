"""The bundled text over and over, and the speed of work over it, for programs of one core."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
ROUNDS = 3


def bundled_records(name: str, megabytes: float) -> Iterator[dict[str, str]]:
    """The records of ``data/<name>.jsonl.gz``, with ids that differ, until there are enough."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rb") as lines:
        rows = [(len(line), json.loads(line)) for line in lines]
    written = 0.0
    for number, (size, row) in enumerate(cycle(rows)):
        if written >= megabytes * 1e6:
            return
        written += size
        yield {**row, "id": f"{row['id']}-{number}"}


def bundled_texts(name: str, field: str, megabytes: float) -> list[str]:
    """One field of the bundled records until there are enough bytes."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return repeated([json.loads(line)[field] for line in lines], megabytes)


def repeated(texts: list[str], megabytes: float) -> list[str]:
    """The texts over and over until there are enough bytes."""
    chosen, missing = [], megabytes * 1e6
    for text in cycle(texts):
        chosen.append(text)
        missing -= len(text.encode())
        if missing <= 0:
            break
    return chosen


def size(texts: list[str]) -> int:
    """Bytes of UTF-8."""
    return sum(len(text.encode()) for text in texts)


def fastest_seconds(work: Callable[[], object]) -> float:
    """Processor seconds of the best of some rounds; slow work gets one."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
        if best > 5:
            break
    return best
