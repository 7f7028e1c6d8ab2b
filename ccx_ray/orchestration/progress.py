"""Progress of a run: a live table on a terminal, plain lines in a log."""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from ccx_ray.orchestration.graph import Graph, Step

REFRESH_SECONDS = 1.0
LOG_SECONDS = 15.0
Reading = tuple[int, int, str]


class StudyProgress:
    """Counts per kind of step, and a line for every running step that can tell how far it is."""

    def __init__(self, graph: Graph, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._graph = graph
        self._states: dict[str, str] = dict.fromkeys(graph.steps, "waiting")
        self._readers: dict[str, Callable[[], Reading | None]] = {}
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

    def started(self, step: Step) -> None:
        self._states[step.name] = "running"
        self._say(f"{step.name}: started")

    def watch(self, name: str, read: Callable[[], Reading | None]) -> None:
        self._readers[name] = read

    def settled(self, step: Step, state: str, cause: str = "") -> None:
        self._states[step.name] = state
        self._readers.pop(step.name, None)
        if state != "reused":
            self._say(f"{step.name}: {state}{': ' + cause if cause else ''}")

    def _elapsed(self) -> str:
        seconds = int(time.monotonic() - self._start)
        return f"{seconds // 60:d}:{seconds % 60:02d}"

    def _say(self, line: str) -> None:
        if not self._live:
            self.console.print(
                f"[{self._elapsed()}] {line}", markup=False, highlight=False, soft_wrap=True
            )
            sys.stderr.flush()

    def _running(self) -> Iterable[tuple[str, Reading]]:
        for name, read in list(self._readers.items()):
            reading = read()
            if reading is not None:
                yield name, reading

    def _refresh(self) -> None:
        logged = time.monotonic()
        while not self._stop.wait(REFRESH_SECONDS):
            if self._live:
                self._live.refresh()
            elif time.monotonic() - logged > LOG_SECONDS:
                logged = time.monotonic()
                for name, (done, total, note) in self._running():
                    self._say(f"{name}: {done}/{total} {note}")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, title=None)
        table.add_column("stage", style="bold")
        table.add_column("", width=24)
        table.add_column("done", justify="right")
        table.add_column("")
        for kind in dict.fromkeys(step.kind for step in self._graph.steps.values()):
            steps = self._graph.of_kind(kind)
            states = [self._states[step.name] for step in steps]
            done = sum(state in ("done", "reused") for state in states)
            notes = [
                f"{count} {state}"
                for state in ("running", "reused", "failed", "skipped")
                if (count := states.count(state))
            ]
            bar = ProgressBar(total=len(steps), completed=done, width=24)
            table.add_row(kind, bar, f"{done}/{len(steps)}", ", ".join(notes))
        for name, (done, total, note) in self._running():
            bar = ProgressBar(total=total, completed=done, width=24)
            table.add_row(f"  {name}", bar, f"{done}/{total}", note, style="dim")
        table.add_row(f"elapsed {self._elapsed()}")
        return table
