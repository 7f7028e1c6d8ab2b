"""Who hears of every optimizer step: the driver, its live table, Prometheus. Rank 0 only.

Invariant: a step's line is in ``.steps.jsonl`` before any state of that step is written, so no
attempt that goes on from a state leaves a gap; a step that is done again has a second line.

Workers do not write to MLflow themselves: its library takes 2 s of a core to import, and a SQLite
file on a network disk is no place for writers on many nodes. The driver follows the lines
(``follower.py``).
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from ccx_ray.training.history import STEP_LINES, ProgressFile, StepRecord
from ccx_ray.training.run import TrainingRun
from ccx_ray.training.size import model_size
from ccx_ray.training.summary import peak_memory
from ccx_ray.training.throughput import model_flops_utilization, peak_flops

if TYPE_CHECKING:
    from ccx_ray.training.worker import Worker

GAUGES = {
    "loss": "Mean next-token cross-entropy of the last step, in nats",
    "tokens_per_second": "Throughput of the last step over all workers",
    "step": "Optimizer steps done",
    "workers": "Workers of the last step",
    "data_wait_share": "Share of the last step that waited for rows",
    "peak_memory_gib": "Most memory that rank 0 took, of its GPU or as a process",
}
"""Name -> what it means, of what Prometheus scrapes."""


class Observer:
    """Passes the steps of one training on; a context."""

    def __init__(
        self, run: TrainingRun, worker: "Worker", gauge: Callable[[str, float], None]
    ) -> None:
        """
        Args:
            gauge: takes a name of ``GAUGES`` and its value at the newest step.
        """
        self._gauge = gauge
        self._worker = worker
        self._step_tokens = run.training.sequences_per_step * worker.stream.sequence_length
        self._peak = peak_flops(worker.device_name, run.runtime.precision)
        self._flops = (
            model_size(run.model, worker.stream.vocabulary_size).flops_per_token(
                worker.stream.sequence_length
            )
            if self._peak is not None
            else 0.0
        )
        self._progress = ProgressFile(run.folder, run.training.steps)
        self._lines = (run.folder / STEP_LINES).open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.close()

    def observe(self, record: StepRecord) -> None:
        """Hear of one step."""
        metrics = self._metrics(record)
        # A line that a kill tore apart is ended by the newline before the next one.
        self._lines.write("\n" + json.dumps({"step": record.step, "metrics": metrics}) + "\n")
        self._lines.flush()
        values = {"step": float(record.step), **metrics}
        for name in GAUGES:
            self._gauge(name, values[name])
        self._progress.write(record, metrics["tokens_per_second"])

    def _metrics(self, record: StepRecord) -> dict[str, float]:
        tokens_per_second = self._step_tokens / record.seconds
        metrics = {
            "loss": record.loss,
            "learning_rate": record.learning_rate,
            "gradient_norm": record.gradient_norm,
            "tokens_per_second": tokens_per_second,
            "step_seconds": record.seconds,
            "data_wait_share": record.data_seconds / record.seconds,
            "peak_memory_gib": peak_memory(self._worker.device) / 2**30,
            "workers": float(record.workers),
        }
        if not record.applied:
            metrics["skipped_steps"] = float(sum(not step.applied for step in self._worker.history))
        if self._peak is not None:
            metrics["mfu"] = model_flops_utilization(
                tokens_per_second=tokens_per_second,
                flops_per_token=self._flops,
                peak=self._peak,
                devices=record.workers,
            )
        return metrics
