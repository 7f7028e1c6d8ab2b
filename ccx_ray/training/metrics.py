"""Metrics of every optimizer step: rank 0 writes them down, the driver logs them to MLflow.

Rank 0 appends a line a step to ``.steps.jsonl``, replaces ``progress.json`` and sets Prometheus'
gauges. Workers do not write to MLflow themselves: its library takes 2 s of a core to import, and a
SQLite file on a network disk is no place for writers on many nodes.

Invariants: a step's line is there before any state of that step is written, so an attempt that
goes on from a state leaves no gap (a step that is done again has a second line); MLflow has every
step once, whatever was killed, also lines that an earlier driver did not live to log.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Self

from ccx_ray.errors import TrackingError
from ccx_ray.storage.publishing import publish_json
from ccx_ray.tracking.runs import MetricLog
from ccx_ray.training.history import StepRecord
from ccx_ray.training.run import TrainingRun
from ccx_ray.training.size import model_size, peak_flops

if TYPE_CHECKING:
    from ccx_ray.training.worker import Worker

STEP_LINES = ".steps.jsonl"
"""Names with a dot are no part of a step's outputs."""
PROGRESS = "progress.json"
PROGRESS_SECONDS = 1.0
"""Between two writes of ``progress.json``."""
TAIL_BYTES = 32_768
"""Of the step lines, that are read to tell a training's speed."""
LOG_SECONDS = 2.0
"""Between two times that the driver looks for new lines."""
GAUGES = {
    "loss": "Mean next-token cross-entropy of the last step, in nats",
    "tokens_per_second": "Throughput of the last step over all workers",
    "step": "Optimizer steps done",
    "workers": "Workers of the last step",
    "mfu": "Model FLOP/s divided by the devices' peak, if that is known",
    "data_wait_share": "Share of the last step spent waiting for rows",
    "peak_memory_gib": "Peak memory of rank 0, of its GPU or of its process",
}
"""Name of a Prometheus gauge -> its meaning."""


@contextmanager
def metric_writer(
    run: TrainingRun, worker: "Worker", gauge: Callable[[str, float], None]
) -> Iterator[Callable[[StepRecord], None]]:
    """Rank 0's side: the function that writes down the metrics of one step.

    Args:
        gauge: takes a name of ``GAUGES`` and its value at the newest step.
    """
    from ccx_ray.training.system_metrics import SystemMetrics  # imports torch

    length, steps = worker.stream.sequence_length, run.training.steps
    peak = peak_flops(worker.device_name, run.runtime.precision)
    size = model_size(run.model, worker.stream.vocabulary_size) if peak else None
    written = -PROGRESS_SECONDS
    devices = worker.workers * (run.runtime.gpus_per_worker or 1.0)
    began, spent = time.monotonic(), device_seconds(run.folder)
    system = SystemMetrics(worker.device)

    def measure(record: StepRecord) -> dict[str, float]:
        tokens_per_second = run.training.sequences_per_step * length / record.seconds
        metrics = {
            "loss": record.loss,
            "learning_rate": record.learning_rate,
            "gradient_norm": record.gradient_norm,
            "tokens_per_second": tokens_per_second,
            "step_seconds": record.seconds,
            "data_wait_share": record.data_seconds / record.seconds,
            "peak_memory_gib": worker.engine.peak_memory() / 2**30,
            "workers": float(record.workers),
        }
        if not record.applied:
            metrics["skipped_steps"] = float(sum(not step.applied for step in worker.history))
        if peak and size:
            flops = size.flops_per_token(length)
            metrics["mfu"] = tokens_per_second * flops / (peak * record.workers)
        return metrics

    def write(record: StepRecord) -> None:
        nonlocal written
        metrics = measure(record)
        line = {"step": record.step, "system": system.read(), "metrics": metrics}
        # A line that a kill tore apart is ended by the newline before the next one.
        lines.write("\n" + json.dumps(line) + "\n")
        lines.flush()
        values = {"step": float(record.step), **metrics}
        for name in GAUGES.keys() & values.keys():
            gauge(name, values[name])
        if time.monotonic() - written >= PROGRESS_SECONDS or record.step == steps:
            written = time.monotonic()
            progress = {"step": record.step, "steps": steps, "loss": record.loss}
            progress |= {"tokens_per_second": metrics["tokens_per_second"]}
            progress |= {"device_seconds": spent + devices * (time.monotonic() - began)}
            publish_json(run.folder / PROGRESS, progress)

    with (run.folder / STEP_LINES).open("a", encoding="utf-8") as lines:
        yield write


def device_seconds(run_folder: Path) -> float:
    """What all attempts at a training have spent: time of training times devices (GPUs; on CPUs
    workers)."""
    try:
        progress = json.loads((run_folder / PROGRESS).read_text("utf-8"))
    except FileNotFoundError:
        return 0.0
    spent: float = progress.get("device_seconds", 0.0)
    return spent


def recent_seconds(run_folder: Path) -> float | None:
    """Mean seconds of the last optimizer steps of a training, up to fifty; None where it has made
    none."""
    try:
        with (run_folder / STEP_LINES).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return None
    # The first may be cut, and the last half written.
    whole = [json.loads(line) for line in lines if line[:1] == b"{" and line[-2:] == b"}}"]
    return fmean(line["metrics"]["step_seconds"] for line in whole[-50:]) if whole else None


class MetricFollower:
    """The driver's side: logs the lines of one training while it runs; a context, after which all
    are logged."""

    def __init__(self, run_folder: Path, *, tracking_uri: str, mlflow_run_id: str) -> None:
        self._path = run_folder / STEP_LINES
        self._log = MetricLog(tracking_uri, mlflow_run_id)
        self._position = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self._log_new_lines()
        try:
            self._log.close()
        except TrackingError:
            if exception[0] is None:
                raise  # else the training's own failure is told; the next driver logs the rest

    def _follow(self) -> None:
        while not self._ended.wait(LOG_SECONDS):
            self._log_new_lines()

    def _log_new_lines(self) -> None:
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            lines = file.read()
        # What follows the last newline is still being written.
        whole = lines[: lines.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in filter(None, whole.split(b"\n")):
            try:
                record = json.loads(line)
            except ValueError:
                continue  # torn by a kill, before its step was saved: the step was done again
            metrics = {f"train/{name}": value for name, value in record["metrics"].items()}
            self._log.log(record["step"], metrics | record.get("system", {}))
        self._log.flush()
