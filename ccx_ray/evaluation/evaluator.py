"""One evaluation: a checkpoint, the probe files, and the results file that comes of them.

Invariants: an evaluation whose results are published is never computed again; of two evaluators
that work on the same one, as an orphan of a dead driver and its successor may, the first to
publish wins and the other changes nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from ccx_ray.evaluation.attempts import Attempt
from ccx_ray.evaluation.models import CausalModel
from ccx_ray.evaluation.results import probe_results, publish_results
from ccx_ray.evaluation.warm import WarmModels


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
    """Parquet file, in the form of ``results.SCHEMA``; there last, and done when it is."""
    held_out: tuple[tuple[str, Path], ...] = ()
    """``(language, file)`` of each text that no training saw."""
    perplexity: Path | None = None
    """Parquet file of the held-out texts' documents; None where there are no such texts."""
    sequence_length: int = 0
    """The longest window of a held-out document, in tokens."""
    priority: int = 0
    """Lower first; see ``priority.coarse_first``."""


def evaluate_checkpoint(
    evaluation: Evaluation, models: WarmModels, *, tokens_per_batch: int
) -> None:
    """Score a checkpoint on held-out text and on its probes, and publish the rows.

    Raises:
        UserError: the model, a probe or a held-out text cannot be scored.
    """
    from ccx_ray.evaluation.scoring import score_encoded

    if evaluation.result.is_file():
        return
    attempt = Attempt(evaluation.result)
    model = models.load(evaluation.model_folder)
    _publish_perplexity(evaluation, model, tokens_per_batch=tokens_per_batch)
    tables = []
    for name, file in evaluation.probes:
        scored = score_encoded(
            model, models.probe(model, name, file), tokens_per_batch=tokens_per_batch
        )
        tables.append(probe_results(evaluation.run, evaluation.step, name, scored))
    attempt.scored()
    publish_results(evaluation.result, tables)


def _publish_perplexity(
    evaluation: Evaluation, model: CausalModel, *, tokens_per_batch: int
) -> None:
    from ccx_ray.evaluation.perplexity import held_out_rows, publish_perplexity

    if evaluation.perplexity is None or evaluation.perplexity.is_file():
        return
    tables = [
        held_out_rows(
            model,
            evaluation.run,
            evaluation.step,
            language,
            file,
            tokens_per_batch=tokens_per_batch,
            sequence_length=evaluation.sequence_length,
        )
        for language, file in evaluation.held_out
    ]
    publish_perplexity(evaluation.perplexity, tables)
