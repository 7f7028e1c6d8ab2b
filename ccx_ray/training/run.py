"""The settings of one training: plain values that travel to every worker.

Invariant: everything that decides the numbers is here or in the folders it names; the number of
workers, the device and the reader may change between two attempts without changing the result
beyond floating-point summation order.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import ModelSpec, OptimizerSpec, TrainingRuntime, TrainingSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One model's training, the base's or a trial's."""

    name: str
    """``base`` or a trial's name, such as ``ko-bridge-s0``."""
    fingerprint: str
    folder: Path
    """The step's folder; it may hold what an earlier attempt left."""
    stream_folder: Path
    tokenizer_folder: Path
    training: TrainingSpec
    model: ModelSpec
    initial_model: Path | None
    """Hugging Face folder to go on from; None: fresh weights drawn from ``seed``."""
    seed: int
    runtime: TrainingRuntime
    reader: Literal["direct", "ray"]
    tracking_uri: str
    mlflow_run_id: str | None
    """The MLflow run that the driver logs to; None: nothing is logged."""
    checkpoint_storage: str | None = None
    """Folder or object store for checkpoints and resume states; None: the run's folder."""


def learning_rate(step: int, *, steps: int, optimizer: OptimizerSpec) -> float:
    """The learning rate of optimizer step ``step``, counted from 1.

    A function of the step alone, so that a schedule has no state to lose.

    Linear warm-up reaches the peak at step ``warmup_steps``; a half cosine then falls to
    ``final_learning_rate_share`` of the peak at step ``steps``.
    """
    assert 1 <= step <= steps, f"step {step} of {steps}"
    peak, warmup = optimizer.learning_rate, optimizer.warmup_steps
    if step <= warmup:
        return peak * step / warmup
    progress = (step - warmup) / (steps - warmup)
    share = optimizer.final_learning_rate_share
    return peak * (share + (1 - share) * 0.5 * (1 + math.cos(math.pi * progress)))


def check_runtime(run: TrainingRun) -> None:
    """Refuse a step whose sequences do not divide among the workers."""
    field = f"runtime.{'base' if run.initial_model is None else 'trials'}"
    rows = run.training.sequences_per_step
    if not run.runtime.worker_counts(rows):
        raise UserError(
            f"{field}.workers: {rows} sequences per step cannot be divided over "
            f"{run.runtime.workers} workers in forward passes of "
            f"{run.runtime.sequences_per_device}; change one of them"
        )
    if run.runtime.precision == "bf16" and not run.runtime.gpus_per_worker:
        logger.warning("%s.precision: bf16 on a CPU is about three times slower than fp32", field)
