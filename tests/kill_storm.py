"""Kills parts of a real cluster at random moments while one trial trains on two of its nodes."""

import json
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import psutil

from ccx_ray.training.checkpoints import checkpoint_folder
from ccx_ray.training.history import read_history
from ccx_ray.training.metrics import PROGRESS
from ccx_ray.training.run import TrainingRun
from ccx_ray.training.run_time_files import GROUPS, INCIDENTS, read_restarts
from tests.ray_nodes import RayNodes, kill, ray_nodes, start_driver
from tests.training_driver import pickled
from tests.training_runs import parameters_of, tiny_run

VICTIMS = ("worker", "controller", "driver", "raylet")
DELAY_SECONDS = 6.0
"""A kill comes at a random moment of so many seconds: every third time after its victim was first
seen, which is at the start of the workers, else after the trial has made a step again."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A trial after all kills, beside an undisturbed one."""

    run: TrainingRun
    undisturbed: TrainingRun
    kills: list["Kill"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between a trial and an undisturbed one."""

    each_step_once: bool
    """Whether the history holds every step, and every row of the stream's order, once."""
    same_rows: bool
    """Whether every step read the rows that the other's did, by checksum."""
    different_losses: int
    """Steps whose loss is not the same bit for bit."""
    largest_loss_difference: float
    """Relative."""
    different_tensors: int
    """Of the last checkpoint, not the same bit for bit."""
    incidents: dict[str, int]
    group_starts: int

    @property
    def identical(self) -> bool:
        return self.each_step_once and not self.different_losses and not self.different_tensors


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One SIGKILL."""

    seconds: float
    """Since the storm began."""
    victim: str
    step: int
    """What ``progress.json`` said at that moment."""


def train_under_kills(folder: Path, *, kills: int, steps: int, seed: int) -> Outcome:
    """Train undisturbed and under ``kills`` on a cluster of two nodes, a worker on each."""
    runs = [
        tiny_run(
            folder / name,
            folder,
            name=f"ko-{name}-s0",
            steps=steps,
            workers=2,
            resume_seconds=2.0,
            max_failures=kills + 1,
        )
        for name in ("undisturbed", "storm")
    ]
    # A whole CPU each: one worker a node.
    runs = [
        replace(run, runtime=run.runtime.model_copy(update={"cpus_per_worker": 1.0}))
        for run in runs
    ]
    undisturbed, run = runs
    with ray_nodes({"num_cpus": 1}, num_cpus=1) as cluster:
        alone = start_driver(cluster, pickled([undisturbed]), folder / "undisturbed.log")
        assert alone.wait(timeout=600) == 0, (folder / "undisturbed.log").read_text("utf-8")
        storm = Storm(cluster, run, seed=seed, log=folder / "storm.log")
        try:
            storm.kill_in_turn(kills)
            assert storm.wait(seconds=600) == 0, (folder / "storm.log").read_text("utf-8")
        finally:
            storm.end()
    return Outcome(run=run, undisturbed=undisturbed, kills=storm.kills)


def compare(run: TrainingRun, undisturbed: TrainingRun) -> Comparison:
    """Two finished runs of the same training."""
    ours, theirs = (read_history(r.folder / "losses.parquet") for r in (run, undisturbed))
    steps = run.training.steps
    tensors, others = (
        parameters_of(checkpoint_folder(r.folder, steps)) for r in (run, undisturbed)
    )
    assert tensors.keys() == others.keys()
    count = run.training.sequences_per_step
    expected = [(step, (step - 1) * count, step * count) for step in range(1, steps + 1)]
    pairs = list(zip(ours, theirs, strict=True))
    return Comparison(
        each_step_once=[(r.step, r.first_row, r.last_row) for r in ours] == expected,
        same_rows=all(a.rows_checksum == b.rows_checksum for a, b in pairs),
        different_losses=sum(a.loss != b.loss for a, b in pairs),
        largest_loss_difference=max(abs(a.loss - b.loss) / b.loss for a, b in pairs),
        different_tensors=sum(not np.array_equal(tensors[n], others[n]) for n in tensors),
        incidents=dict(
            Counter(incident["kind"] for incident in read_restarts(run.folder, INCIDENTS))
        ),
        group_starts=len(read_restarts(run.folder, GROUPS)),
    )


class Storm:
    """One trial and its driver, whose parts are killed at random moments."""

    def __init__(self, cluster: RayNodes, run: TrainingRun, *, seed: int, log: Path) -> None:
        self._cluster = cluster
        self.run = run
        self._random = np.random.default_rng(seed)
        self._log = log
        self._driver = self._start_driver()
        self._began = time.monotonic()
        self.kills: list[Kill] = []

    def kill_in_turn(self, count: int) -> None:
        """Kill ``count`` times, each kind of victim in turn; stop short when the trial is done."""
        for index, victim in enumerate(islice(cycle(VICTIMS), count)):
            while not self._kill(victim, at_work=index % 3 != 2):
                if self._driver.poll() == 0:
                    return

    def wait(self, *, seconds: float) -> int:
        """Wait for the end of the trial; the driver's exit code."""
        return self._driver.wait(timeout=seconds)

    def end(self) -> None:
        self._driver.kill()
        self._driver.wait()

    def _kill(self, victim: str, *, at_work: bool) -> bool:
        deadline = time.monotonic() + 180
        before = self._written()
        while not self._find(victim) or (at_work and self._written() == before):
            if self._driver.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"no {victim} to kill for 180 s"
            time.sleep(0.05)
        time.sleep(self._random.uniform(0.0, DELAY_SECONDS))
        found = self._find(victim)
        if not found:
            return False
        chosen = found[self._random.integers(len(found))]
        step = self._progress()
        if self._driver.poll() is not None or not kill(chosen):
            return False
        seconds = time.monotonic() - self._began
        self.kills.append(Kill(seconds=seconds, victim=victim, step=step))
        print(f"{seconds:7.1f} s  {victim:10}  at step {step}", flush=True)
        if victim == "driver":
            self._driver.wait()
            self._driver = self._start_driver()
        elif victim == "raylet":
            self._cluster.replace(self._cluster.nodes[-1])
        return True

    def _find(self, victim: str) -> list[psutil.Process]:
        if victim == "worker":
            return self._cluster.workers(self.run.name)
        if victim == "controller":
            return self._cluster.controllers()
        if victim == "driver":
            return [psutil.Process(self._driver.pid)]
        return [self._cluster.raylet(self._cluster.nodes[-1])]

    def _start_driver(self) -> "subprocess.Popen[bytes]":
        return start_driver(self._cluster, pickled([self.run]), self._log)

    def _written(self) -> float:
        path = self.run.folder / PROGRESS
        return path.stat().st_mtime if path.is_file() else 0.0

    def _progress(self) -> int:
        try:
            return int(json.loads((self.run.folder / PROGRESS).read_text("utf-8"))["step"])
        except FileNotFoundError:
            return 0
