"""The last files of a training: its losses, and the counts that the study reports of it."""

import resource
from typing import TYPE_CHECKING

import torch

from ccx_ray.storage.publishing import publish_json
from ccx_ray.training.checkpoints import LOSSES, SUMMARY, published_steps
from ccx_ray.training.history import write_history
from ccx_ray.training.watch import updates

if TYPE_CHECKING:
    from ccx_ray.training.worker import Worker


def write_summary(worker: "Worker", *, blocked_seconds: float) -> None:
    """Write ``losses.parquet``, then ``summary.json``, which says that all is there.

    Args:
        blocked_seconds: that the last attempt waited for checkpoints to be written.
    """
    run, history = worker.run, worker.history
    write_history(run.folder / LOSSES, history)
    seconds = sum(record.seconds for record in history)
    tokens = run.training.steps * run.training.sequences_per_step * worker.stream.sequence_length
    publish_json(
        run.folder / SUMMARY,
        {
            "steps": run.training.steps,
            "updates": updates(history),
            "skipped": {record.step: record.problem for record in history if record.problem},
            "resumed_from": worker.resumed_from,
            "loss": history[-1].loss,
            "parameters": worker.engine.parameters,
            "tokens": tokens,
            "predicted_tokens": sum(record.tokens for record in history),
            "tokens_per_second": tokens / seconds,
            "training_seconds": seconds,
            "data_wait_share": sum(record.data_seconds for record in history) / seconds,
            "checkpoint_blocked_seconds": blocked_seconds,
            "peak_memory_bytes": peak_memory(worker.device),
            "startup_seconds": sum(worker.clock.parts.values()),
            "startup": worker.clock.parts,
            "checkpoints": published_steps(run.folder),
            "workers": worker.workers,
            "initial_model": run.initial_model.name if run.initial_model else None,
        },
    )


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's memory that tensors took, or of the whole process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
