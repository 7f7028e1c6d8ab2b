"""Who hears of every optimizer step: MLflow, the driver's live table, Prometheus. Rank 0 only.

Invariant: after a restart MLflow has every step once; the history of the resume state is offered
first, and a step that MLflow has already is left alone.
"""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ccx_ray.study.plan import flops_per_token
from ccx_ray.tracking import MetricLog
from ccx_ray.training.history import ProgressFile, StepRecord
from ccx_ray.training.run import TrainingRun
from ccx_ray.training.throughput import model_flops_utilization, peak_flops

if TYPE_CHECKING:
    from ccx_ray.training.worker import Worker


class Observer:
    """Passes the steps of one training on; close it, or use it as a context, to lose none."""

    def __init__(
        self, run: TrainingRun, worker: "Worker", gauge: Callable[[str, float], None]
    ) -> None:
        """
        Args:
            gauge: takes ``loss``, ``tokens_per_second`` and ``step`` of the newest step.
        """
        self._gauge = gauge
        self._workers = worker.workers
        self._step_tokens = run.training.sequences_per_step * worker.stream.sequence_length
        self._peak = peak_flops(worker.device_name, run.runtime.precision)
        self._flops = flops_per_token(
            run.model, worker.stream.vocabulary_size, worker.stream.sequence_length
        )
        self._progress = ProgressFile(run.folder, run.training.steps)
        self._log = MetricLog(run.tracking_uri, run.mlflow_run_id) if run.mlflow_run_id else None
        if self._log:
            for record in worker.history:
                self._log.log(record.step, self._metrics(record))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._log:
            self._log.close()

    def observe(self, record: StepRecord) -> None:
        """Hear of one step."""
        tokens_per_second = self._step_tokens / record.seconds
        if self._log:
            self._log.log(record.step, self._metrics(record))
        self._gauge("loss", record.loss)
        self._gauge("tokens_per_second", tokens_per_second)
        self._gauge("step", record.step)
        self._progress.write(record, tokens_per_second)

    def _metrics(self, record: StepRecord) -> dict[str, float]:
        tokens_per_second = self._step_tokens / record.seconds
        metrics = {
            "train/loss": record.loss,
            "train/learning_rate": record.learning_rate,
            "train/gradient_norm": record.gradient_norm,
            "train/tokens_per_second": tokens_per_second,
        }
        if self._peak is not None:
            metrics["train/mfu"] = model_flops_utilization(
                tokens_per_second=tokens_per_second,
                flops_per_token=self._flops,
                peak=self._peak,
                devices=self._workers,
            )
        return metrics
