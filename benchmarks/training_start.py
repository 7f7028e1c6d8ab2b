"""What a trial costs before its first step, under Ray Train on a local cluster that runs already.

From submission to the end of the first step, in the parts that the worker's own clock notes, and
what the processes of Ray Train spend of a core meanwhile. The first start fills the disk cache and
is shown apart.
"""

import argparse
import threading
import time
from pathlib import Path
from statistics import median

import psutil
from benchmark_tables import BenchmarkTable, spread
from training_runs import benchmark_run, write_stream

from ccx_ray.orchestration.cluster import connected_cluster
from ccx_ray.study.training_spec import ModelSpec
from ccx_ray.training.trainer import train

MOST_SECONDS = 12.0
VOCABULARY, LENGTH, STEPS = 4096, 128, 3


def start_table(arguments: argparse.Namespace, folder: Path) -> BenchmarkTable:
    """``repeats`` starts one after the other, after one that does not count."""
    stream = write_stream(
        folder / "stream",
        rows=STEPS * arguments.sequences,
        length=LENGTH,
        vocabulary_size=VOCABULARY,
    )
    parts: dict[str, list[float]] = {}
    starts, wholes, cores = [], [], []
    with connected_cluster():
        for number in range(1 + arguments.repeats):
            run = benchmark_run(
                folder / f"start-{number}",
                stream,
                model=ModelSpec.model_validate("laptop"),
                steps=STEPS,
                sequences=arguments.sequences,
                threads=1,
                name=f"start-{number}",
            )
            began = time.perf_counter()
            with ProcessorTime() as processes:
                counts = train(run)
            wholes.append(time.perf_counter() - began)
            starts.append(counts["startup_seconds"])
            cores.append(processes.seconds)
            for name, seconds in counts["startup"].items():
                parts.setdefault(name, []).append(seconds)
    warm = median(starts[1:])
    met = "reached" if warm <= MOST_SECONDS else "missed"
    return BenchmarkTable(
        part="start",
        title="A trial from submission to its first step, seconds, under Ray Train",
        columns=("part", "warm", "first"),
        rows=[
            *(
                (name, spread(values[1:], ".2f"), f"{values[0]:.2f}")
                for name, values in parts.items()
            ),
            ("to the first step", spread(starts[1:], ".2f"), f"{starts[0]:.2f}"),
            (f"{STEPS} steps, start to end", spread(wholes[1:], ".2f"), f"{wholes[0]:.2f}"),
            ("of a core, all processes", spread(cores[1:], ".2f"), f"{cores[0]:.2f}"),
        ],
        verdicts=[f"submission to first step: {warm:.1f} s (bar {MOST_SECONDS:g}: {met})"],
        figures={"parts": parts, "starts": starts, "wholes": wholes, "processor_seconds": cores},
    )


class ProcessorTime:
    """User and system seconds of this process and its descendants while it is entered, sampled."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last: dict[int, float] = {}
        self._first: dict[int, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ProcessorTime":
        self._first = self._sample()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._last |= self._sample()
        self.seconds = sum(self._last.values()) - sum(
            self._first.get(process, 0.0) for process in self._last
        )

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            self._last |= self._sample()

    def _sample(self) -> dict[int, float]:
        own = psutil.Process()
        found = {}
        for process in [own, *own.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            found[process.pid] = times.user + times.system
        return found
