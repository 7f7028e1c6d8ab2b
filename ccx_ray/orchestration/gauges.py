"""Prometheus gauges of the driver: what they are, and the thread that keeps them current.

A stage names a function that reads its gauges, or counts into one; Ray's metrics endpoints show
them (``cluster.py: exported_gauges``). All are set again every few seconds, because Ray drops a
gauge that was not set for 20 s.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import NamedTuple

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0
"""Ray's processes hand their gauges on every 10 s."""
END_SECONDS = 1.0
"""How long the end of a run waits for a reading: a file system may hang."""


class Gauge(NamedTuple):
    """One metric; Prometheus sees it as ``ray_ccx_<name>`` with the tag ``study`` and its own."""

    name: str
    description: str
    tags: tuple[str, ...] = ()


Reading = tuple[Gauge, tuple[str, ...], float]
"""A gauge, the values of its tags, and its own value."""
SetGauge = Callable[[Gauge, tuple[str, ...], float], None]


class Gauges:
    """The gauges of one run of the driver; every method may be called by any thread."""

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[], Iterable[Reading]]] = {}
        self._counted: dict[tuple[Gauge, tuple[str, ...]], float] = {}
        self._told: set[str] = set()
        self._lock = Lock()

    def watch(self, name: str, read: Callable[[], Iterable[Reading]]) -> None:
        """Have ``read`` asked at every refresh; it replaces an earlier reader of this name."""
        with self._lock:
            self._readers[name] = read

    def count(self, gauge: Gauge, tags: tuple[str, ...], number: float) -> None:
        """Add to a gauge that only grows."""
        with self._lock:
            self._counted[gauge, tags] = self._counted.get((gauge, tags), 0.0) + number

    def read(self) -> list[Reading]:
        """All gauges now; a reader that fails is left out, and warned of once."""
        with self._lock:
            readers = dict(self._readers)
            readings = [(*key, value) for key, value in self._counted.items()]
        for name, read in readers.items():
            try:
                readings.extend(read())
            except Exception as error:  # no reason to end a study
                if name not in self._told:
                    logger.warning("the gauges of %s are missing from Prometheus: %s", name, error)
                self._told.add(name)
        return readings

    @contextmanager
    def refreshed(self, set_gauge: SetGauge) -> Iterator[None]:
        """Set all gauges every few seconds, in a thread, while the body runs."""
        ended = Event()

        def refresh() -> None:
            while True:
                for reading in self.read():
                    set_gauge(*reading)
                if ended.wait(REFRESH_SECONDS):
                    return

        thread = Thread(target=refresh, name="gauges", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(END_SECONDS)
