"""Elastic trials on a cluster whose nodes, with GPUs that do not exist, join and leave."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccx_ray.training.metrics import PROGRESS
from ccx_ray.training.run import TrainingRun
from ccx_ray.training.run_time_files import GROUPS, INCIDENTS, read_restarts
from tests.ray_nodes import RayNodes, ray_nodes, start_driver, wait_until
from tests.training_driver import pickled
from tests.training_runs import tiny_run, write_stream, write_tokenizer

NODE = {"num_cpus": 1.0, "num_gpus": 1.0}
QUICK = {"CCX_RAY_RESIZE_INTERVAL_S": "3", "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"}
"""Seconds instead of half a minute, because the trials are minutes long instead of hours."""
DRAIN_SECONDS = 20


def elastic_run(folder: Path, inputs: Path, **changes: Any) -> TrainingRun:
    """A worker takes the whole GPU of a node; no state is written but for a reason.

    One epoch: a model that knows its rows by heart makes a large error of the last bit of a loss.
    """
    if not (inputs / "stream").exists():
        write_stream(inputs / "stream", rows=8 * changes["steps"])
        write_tokenizer(inputs / "tokenizer")
    return tiny_run(
        folder, inputs, gpus_per_worker=1.0, sequences_per_device=2, resume_seconds=1e9, **changes
    )


def is_at_work(run: TrainingRun, workers: int | None = None) -> bool:
    """Whether the newest group, of so many workers, has made steps."""
    starts = read_restarts(run.folder, GROUPS)
    path = run.folder / PROGRESS
    if not starts or not path.is_file() or path.stat().st_mtime < starts[-1]["time"]:
        return False
    return workers in (None, starts[-1]["workers"])


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What happened."""

    runs: list[TrainingRun]
    began: float
    nodes: list[tuple[float, int]]
    """Seconds since the beginning, and nodes with a GPU from then on."""

    def timeline(self) -> dict[str, Any]:
        """Workers of each trial and nodes over time, in seconds since the beginning; JSON."""
        return {
            "nodes": self.nodes,
            "workers": {
                run.name: [
                    (round(start["time"] - self.began, 1), start["workers"], start["resumed_from"])
                    for start in read_restarts(run.folder, GROUPS)
                ]
                for run in self.runs
            },
            "incidents": {
                run.name: [
                    (round(found["time"] - self.began, 1), found["kind"], found["cause"])
                    for found in read_restarts(run.folder, INCIDENTS)
                ]
                for run in self.runs
            },
        }


def rehearse(folder: Path, *, trials: int, steps: int, changes: Sequence[int]) -> Rehearsal:
    """Train ``trials`` trials on one or two workers each, while nodes join and leave.

    Args:
        changes: nodes that join (or, negative, leave) when all trials that fit are at work. The
            first are there from the start. Of those that leave every second is announced, and the
            others vanish.
    """
    runs = [
        elastic_run(
            folder / f"trial-{seed}",
            folder,
            name=f"ko-bridge-s{seed}",
            seed=seed,
            steps=steps,
            workers=(1, 2),
        )
        for seed in range(trials)
    ]
    log = folder / "driver.log"
    first, *later = changes
    with ray_nodes(*[NODE] * first) as cluster:
        began = time.time()
        nodes = [(0.0, first)]
        driver = start_driver(cluster, pickled(runs), log, **QUICK)
        try:
            for index, change in enumerate(later):
                expected = min(trials, len(cluster.nodes))
                wait_until(
                    lambda expected=expected: sum(map(is_at_work, runs)) >= expected,
                    seconds=180,
                    what=f"{expected} trials at work",
                )
                time.sleep(10)
                _change(cluster, change, announced=index % 2 == 0)
                nodes.append((round(time.time() - began, 1), len(cluster.nodes)))
            assert driver.wait(timeout=600) == 0, log.read_text("utf-8")
        finally:
            driver.kill()
            driver.wait()
    return Rehearsal(runs=runs, began=began, nodes=nodes)


def _change(cluster: RayNodes, change: int, *, announced: bool) -> None:
    for _ in range(change):
        cluster.add(**NODE)
    for node in cluster.nodes[: max(0, -change)]:
        if announced:
            cluster.drain(node, seconds=DRAIN_SECONDS)
            time.sleep(DRAIN_SECONDS)
        cluster.remove(node)
