"""What depends on how options are compared: accuracy and transfer under every score.

Invariant: each score chooses anew among the same options of the same questions, so rows differ by
the score alone; the rows of the study's own score equal the headline's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ccx_ray.analysis.measures.accuracy import AccuracyRow, accuracy_rows, last_accuracies
from ccx_ray.analysis.measures.answers import Answers
from ccx_ray.analysis.measures.transfer import TransferRow, transfer_rows
from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.study.spec import ScoreType, StudySpec
from ccx_ray.study.trials import Trial


@dataclass(frozen=True, kw_only=True)
class ScoreAccuracyRow(AccuracyRow):
    """Accuracy under one score: of the base, and at the last checkpoint over the seeds."""

    score: ScoreType


@dataclass(frozen=True, kw_only=True)
class ScoreTransferRow(TransferRow):
    """Transfer under one score at the last checkpoint.

    ``p_holm`` is corrected over languages and directions within the score, not over the scores:
    they are seven looks at one experiment, and none is the headline but the study's own.
    """

    score: ScoreType


def score_accuracy_rows(
    study: StudySpec, trials: Sequence[Trial], answers: Answers
) -> list[ScoreAccuracyRow]:
    """Accuracies at the last checkpoint, one block a score."""
    return [
        ScoreAccuracyRow(score=kind, **vars(row))
        for kind in SCORE_TYPES
        for row in last_accuracies(accuracy_rows(study, trials, answers.under(kind)))
    ]


def score_transfer_rows(
    study: StudySpec, trials: Sequence[Trial], answers: Answers
) -> list[ScoreTransferRow]:
    """Transfers at the last checkpoint, in every counting of ties, one block a score."""
    return [
        ScoreTransferRow(score=kind, **vars(row))
        for kind in SCORE_TYPES
        for row in transfer_rows(study, trials, answers.under(kind), last_only=True)
    ]
