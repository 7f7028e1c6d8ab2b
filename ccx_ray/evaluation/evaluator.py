"""One evaluation: a checkpoint, the probe files, and the results file that comes of them.

Invariant: an evaluation whose results are published is never computed again.
"""

from dataclasses import dataclass
from pathlib import Path

from ccx_ray.evaluation.models import load_causal_model
from ccx_ray.evaluation.probes import load_probe
from ccx_ray.evaluation.results import probe_results, publish_results


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is to be scored, and where the results go."""

    run: str
    """Name of the trial, or ``base``."""
    step: int
    model_folder: Path
    probes: tuple[tuple[str, Path], ...]
    """``(name, file)`` of each probe."""
    result: Path
    """Parquet file, in the form of ``results.SCHEMA``."""


def evaluate_checkpoint(evaluation: Evaluation, *, device: str, tokens_per_batch: int) -> None:
    """Score a checkpoint on its probes and publish the rows.

    Raises:
        UserError: the model or a probe cannot be scored.
    """
    from ccx_ray.evaluation.scoring import score_probe

    if evaluation.result.is_file():
        return
    probes = [load_probe(file, name) for name, file in evaluation.probes]
    model = load_causal_model(evaluation.model_folder, device)
    publish_results(
        evaluation.result,
        [
            probe_results(
                evaluation.run,
                evaluation.step,
                probe.name,
                score_probe(model, probe, tokens_per_batch=tokens_per_batch),
            )
            for probe in probes
        ],
    )
