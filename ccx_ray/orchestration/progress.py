"""Progress of a run: a live table on a terminal, or one line per event in a pipe or file.

A running step prints a line only after progress, at most every 15 seconds, and less often the
longer it runs, so that a log of days stays readable.
"""

import sys
import threading
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console, Group
from rich.live import Live

from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress_table import (
    FINISHED,
    Reading,
    StepLine,
    elapsed,
    plain_reading,
    study_table,
)
from ccx_ray.orchestration.record import RunRecord, stop_if_requested

REFRESH_SECONDS = 1.0
LOG_SECONDS, LOG_SHARE, MOST_LOG_SECONDS = 15.0, 0.05, 600.0
"""Shortest pause between two lines of a running step: 15 s, or this share of its running time, up
to ten minutes."""


class StudyProgress:
    """States and readings of a run's steps, printed and written to its record."""

    def __init__(
        self, graph: Graph, console: Console | None = None, record: RunRecord | None = None
    ) -> None:
        self.console = console or Console(stderr=True)
        self._graph = graph
        self._record = record
        self._states: dict[str, str] = dict.fromkeys(graph.steps, "waiting")
        self._readers: dict[str, Callable[[], Reading | None]] = {}
        self._said: dict[str, tuple[float, Reading | None]] = {}
        self._begun: dict[str, float] = {}
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._refresh, daemon=True)
        self._live = (
            Live(console=self.console, auto_refresh=False, get_renderable=self._table)
            if self.console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._live:
            self._live.refresh()
            self._live.stop()

    def reused(self) -> None:
        """Print how many finished steps are reused."""
        done = sum(state in FINISHED for state in self._states.values())
        if 0 < done < len(self._states):
            self._say(f"{done} of {len(self._states)} steps are already done")

    def started(self, step: Step) -> None:
        self._states[step.name] = "running"
        self._begun[step.name] = time.monotonic()
        self._said[step.name] = time.monotonic(), None
        if self._record:
            self._record.started(step)
        self._say(f"{step.name}: started")

    def watch(self, name: str, read: Callable[[], Reading | None]) -> None:
        self._readers[name] = read

    def settled(self, step: Step, state: str, cause: str = "", *, told_later: bool = False) -> None:
        """Note a final state.

        Args:
            told_later: the cause is printed as the job's last line, not here.
        """
        self._states[step.name] = state
        self._readers.pop(step.name, None)
        if self._record:
            self._record.settled(step, state, cause)
        if state != "reused":
            self._say(f"{step.name}: {state}{': ' + cause if cause and not told_later else ''}")

    def stop_if_requested(self) -> None:
        """Raise ``Interrupted`` after ``jobs/status.py --stop``."""
        stop_if_requested(self._record)

    def _say(self, line: str) -> None:
        if not self._live:
            passed = elapsed(time.monotonic() - self._start)
            self.console.print(f"[{passed}] {line}", markup=False, highlight=False, soft_wrap=True)
            sys.stderr.flush()

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH_SECONDS):
            if self._record:
                self._record.beat()
            if self._live:
                self._live.refresh()
            else:
                self.tell_what_got_on()

    def tell_what_got_on(self) -> None:
        """Print a line for every running step with progress since its last line."""
        now = time.monotonic()
        for name, read in list(self._readers.items()):
            moment, said = self._said[name]
            pause = min(MOST_LOG_SECONDS, LOG_SHARE * (now - self._begun[name]))
            if now - moment < max(LOG_SECONDS, pause):
                continue
            reading = read()
            if reading is not None and reading != said and (said or reading[0]):
                self._said[name] = now, reading
                self._say(f"{name}: {plain_reading(reading)}")

    def _table(self) -> Group:
        readings = {name: read() for name, read in list(self._readers.items())}
        steps = [
            StepLine(
                name=step.name,
                kind=step.kind,
                state=self._states[step.name],
                reading=readings.get(step.name),
            )
            for step in self._graph.steps.values()
        ]
        done = sum(step.state in FINISHED for step in steps)
        passed = elapsed(time.monotonic() - self._start)
        title = f"{done} of {len(steps)} steps done after {passed}"
        width, height = self.console.size
        # The last line of a screen is the cursor's.
        return study_table(title, steps, width=width, height=height - 1)
