"""Everything that the report says in numbers, computed once; page, tables and JSON are made of it.

Invariant: a number that is shown is a field of ``Results``, so it stands in ``results.json`` too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from ccx_ray.analysis.measures.accuracy import AccuracyRow, accuracy_rows
from ccx_ray.analysis.measures.answer_lengths import read_lengths
from ccx_ray.analysis.measures.answers import read_answers
from ccx_ray.analysis.measures.audit_facts import (
    ContaminationRow,
    StreamRow,
    ThresholdRow,
    audit_rows,
)
from ccx_ray.analysis.measures.consistency import ConsistencyRow, consistency_rows
from ccx_ray.analysis.measures.corpora import CorpusRow, corpus_rows
from ccx_ray.analysis.measures.densities import DensityRow, EstimateRow, density_rows, estimate_rows
from ccx_ray.analysis.measures.exposure_effect import (
    ExposurePartRow,
    ExposureRow,
    exposure_bins,
    exposure_parts,
    exposure_rows,
    read_exposures,
)
from ccx_ray.analysis.measures.frequency_effect import (
    BinRow,
    OccurrenceRow,
    occurrence_bins,
    occurrence_rows,
)
from ccx_ray.analysis.measures.inputs import AnalysisInputs
from ccx_ray.analysis.measures.occurrences import EXACT_MEASURES, read_occurrences
from ccx_ray.analysis.measures.probe_quirks import LeftOutRow, ProbeRow, left_out_rows, probe_rows
from ccx_ray.analysis.measures.proficiency import (
    ProficiencyDifferenceRow,
    ProficiencyRow,
    proficiency_differences,
    proficiency_rows,
    read_held_out,
)
from ccx_ray.analysis.measures.question_transfer import question_transfers
from ccx_ray.analysis.measures.run_facts import (
    StepRow,
    StudyFacts,
    TokenRow,
    TrainingRow,
    step_rows,
    study_facts,
    token_rows,
    training_rows,
)
from ccx_ray.analysis.measures.score_types import (
    ScoreAccuracyRow,
    ScoreTransferRow,
    score_accuracy_rows,
    score_transfer_rows,
)
from ccx_ray.analysis.measures.ties import PositionRow, TieRow, position_rows, tie_rows
from ccx_ray.analysis.measures.transfer import TransferRow, transfer_rows
from ccx_ray.analysis.measures.transfer_model import ModelFitRow, ModelTermRow, transfer_model
from ccx_ray.analysis.measures.validation_facts import (
    AgreementRow,
    PlantedRankRow,
    PlantedRow,
    RecallRow,
    ReviewRow,
    read_validation,
)

NO_TABLES = ("facts", "missing_trials", "audit_statements", "validated", "validation")
"""Fields that are no rows."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The numbers of a report, as rows of its tables."""

    facts: StudyFacts
    transfers: Sequence[TransferRow]
    accuracies: Sequence[AccuracyRow]
    score_transfers: Sequence[ScoreTransferRow]
    score_accuracies: Sequence[ScoreAccuracyRow]
    ties: Sequence[TieRow]
    positions: Sequence[PositionRow]
    proficiencies: Sequence[ProficiencyRow]
    proficiency_differences: Sequence[ProficiencyDifferenceRow]
    consistencies: Sequence[ConsistencyRow]
    probes: Sequence[ProbeRow]
    left_out: Sequence[LeftOutRow]
    densities: Sequence[DensityRow]
    exact_densities: Sequence[DensityRow]
    """By the exact counts, one row for each."""
    estimates: Sequence[EstimateRow]
    occurrences: Sequence[OccurrenceRow]
    exact_occurrences: Sequence[OccurrenceRow]
    bins: Sequence[BinRow]
    exposures: Sequence[ExposureRow]
    exposure_parts: Sequence[ExposurePartRow]
    exposure_bins: Sequence[BinRow]
    model_fits: Sequence[ModelFitRow]
    model_terms: Sequence[ModelTermRow]
    validated: bool
    """Whether the estimate of frequency was tested at all."""
    validation: Mapping[str, Any]
    """``validation.json``."""
    recalls: Sequence[RecallRow]
    agreements: Sequence[AgreementRow]
    planted: Sequence[PlantedRow]
    planted_ranks: Sequence[PlantedRankRow]
    reviews: Sequence[ReviewRow]
    trainings: Sequence[TrainingRow]
    tokens: Sequence[TokenRow]
    corpora: Sequence[CorpusRow]
    contamination: Sequence[ContaminationRow]
    streams: Sequence[StreamRow]
    thresholds: Sequence[ThresholdRow]
    audit_statements: Sequence[str]
    steps: Sequence[StepRow]
    missing_trials: Sequence[str]
    """Trials of the grid that were not evaluated; nothing in the results contains them."""

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Table name -> rows, with plain values."""
        return {
            name: [asdict(row) for row in rows]
            for name, rows in vars(self).items()
            if name not in NO_TABLES
        }


def compute_results(inputs: AnalysisInputs) -> Results:
    """Compute every number of the report from the Parquet of the steps before."""
    study, trials = inputs.study, inputs.trials
    base, cultures = study.base_language.code, [lang.code for lang in study.trial_languages]
    answers = read_answers(inputs.evaluations, study.evaluation)
    counted, exposures = read_occurrences(inputs.frequencies), read_exposures(inputs.exposures)
    over_steps = question_transfers(study, trials, answers, last_only=False)
    last = question_transfers(study, trials, answers, last_only=True)
    lengths = read_lengths(inputs.evaluations) if counted or inputs.exposures else {}
    fits, terms = transfer_model(study.analysis, last, counted, exposures, lengths)
    validation = read_validation(study.analysis, inputs.validation, inputs.review)
    accuracies = accuracy_rows(study, trials, answers)
    probes = probe_rows(cultures, base, answers)
    held_out = read_held_out(inputs.evaluations)
    trainings = training_rows(inputs.trainings)
    audit = audit_rows(study, inputs.audit)
    return Results(
        facts=study_facts(inputs, trainings),
        transfers=transfer_rows(study, trials, answers),
        accuracies=accuracies,
        score_transfers=score_transfer_rows(study, trials, answers),
        score_accuracies=score_accuracy_rows(study, trials, answers),
        ties=tie_rows(trials, answers, accuracies),
        positions=position_rows(trials, answers, accuracies),
        proficiencies=proficiency_rows(study, trials, held_out),
        proficiency_differences=proficiency_differences(study, trials, held_out),
        consistencies=consistency_rows(study, trials, answers),
        probes=probes,
        left_out=left_out_rows(study.evaluation.exclude, probes, answers),
        densities=density_rows(study.analysis, cultures, base, counted),
        exact_densities=density_rows(study.analysis, cultures, base, counted, EXACT_MEASURES),
        estimates=estimate_rows(study.analysis, counted),
        occurrences=occurrence_rows(study.analysis, last, counted),
        exact_occurrences=occurrence_rows(study.analysis, last, counted, EXACT_MEASURES),
        bins=occurrence_bins(study.analysis, last, counted),
        exposures=exposure_rows(study.analysis, over_steps, exposures),
        exposure_parts=exposure_parts(over_steps, exposures),
        exposure_bins=exposure_bins(study.analysis, last, exposures),
        model_fits=fits,
        model_terms=terms,
        validated=validation.made,
        validation=validation.counts,
        recalls=validation.recalls,
        agreements=validation.agreements,
        planted=validation.planted,
        planted_ranks=validation.planted_ranks,
        reviews=validation.reviews,
        trainings=trainings,
        tokens=token_rows(trials, trainings),
        corpora=corpus_rows(study, inputs.markers),
        contamination=audit.contamination,
        streams=audit.streams,
        thresholds=audit.thresholds,
        audit_statements=audit.statements,
        steps=step_rows(inputs.markers),
        missing_trials=[trial.name for trial in trials if trial.name not in inputs.evaluations],
    )


def json_ready(value: Any) -> Any:
    """Plain JSON values; NaN and infinity, which JSON does not have, become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return json_ready(vars(value))
    if isinstance(value, Mapping):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
