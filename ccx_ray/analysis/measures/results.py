"""Everything that the report says in numbers, computed once; page, tables and JSON are made of it.

Invariants: a number that is shown is a column of a table of ``Results``, so it stands in
``results.json`` too; everything is computed from per-question and per-document Parquet, nothing is
taken from an aggregate that another stage has made.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from ccx_ray.analysis.measures.accuracy import accuracy_rows, score_accuracy_rows
from ccx_ray.analysis.measures.answers import read_answers, read_lengths
from ccx_ray.analysis.measures.audit_facts import audit_rows
from ccx_ray.analysis.measures.consistency import consistency_rows
from ccx_ray.analysis.measures.densities import density_rows, estimate_rows
from ccx_ray.analysis.measures.frequency_effect import (
    exposure_bins,
    exposure_parts,
    exposure_rows,
    occurrence_bins,
    occurrence_rows,
)
from ccx_ray.analysis.measures.option_order import (
    left_out_rows,
    position_rows,
    probe_rows,
    tie_rows,
)
from ccx_ray.analysis.measures.proficiency import (
    proficiency_differences,
    proficiency_rows,
    read_held_out,
)
from ccx_ray.analysis.measures.question_transfer import (
    EXACT_MEASURES,
    question_transfers,
    read_exposures,
    read_occurrences,
)
from ccx_ray.analysis.measures.rows import Row
from ccx_ray.analysis.measures.run_facts import (
    corpus_rows,
    step_rows,
    study_facts,
    token_rows,
    training_rows,
)
from ccx_ray.analysis.measures.transfer import score_transfer_rows, transfer_rows
from ccx_ray.analysis.measures.transfer_model import transfer_model
from ccx_ray.analysis.measures.validation_facts import read_validation
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import Trial

NO_TABLES = ("facts", "missing_trials", "audit_statements", "validated", "validation")
"""Fields that are no rows."""
Rows = Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class AnalysisInputs:
    """A finished study, as far as it was run; the analysis says what is missing."""

    study: StudySpec
    trials: tuple[Trial, ...]
    evaluations: Mapping[str, Path]
    """Run name ("base", "ko-bridge-s0") -> evaluation folder with ``step-*.parquet`` and, where
    text is held out, ``perplexity-*.parquet``."""
    frequencies: Mapping[str, Path]
    """Culture -> frequency folder with ``questions.parquet``."""
    trainings: Mapping[str, Path]
    """Run name -> training folder with ``losses.parquet``."""
    markers: Mapping[str, Mapping[str, Any]]
    """Step name -> its completion marker."""
    audit: Path | None = None
    """The audit's folder with ``audit.json``."""
    exposures: Mapping[str, Path] = field(default_factory=dict)
    """Target language -> exposure folder with ``exposure.parquet``."""
    validation: Path | None = None
    """The folder of the tests of the frequency estimate: ``recall.parquet``, ``agreement.parquet``,
    ``planted.parquet``, ``validation.json``."""
    review: Path | None = None
    """The folder of what people said of retrieved documents: ``review.parquet``."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The numbers of a report, as rows of its tables; columns are named where rows are made."""

    facts: Row
    transfers: Rows
    accuracies: Rows
    score_transfers: Rows
    score_accuracies: Rows
    ties: Rows
    positions: Rows
    proficiencies: Rows
    proficiency_differences: Rows
    consistencies: Rows
    probes: Rows
    left_out: Rows
    densities: Rows
    exact_densities: Rows
    """By the exact counts, one row for each."""
    estimates: Rows
    occurrences: Rows
    exact_occurrences: Rows
    bins: Rows
    exposures: Rows
    exposure_parts: Rows
    exposure_bins: Rows
    model_fits: Rows
    model_terms: Rows
    validated: bool
    """Whether the estimate of frequency was tested at all."""
    validation: Mapping[str, Any]
    """``validation.json``."""
    recalls: Rows
    """Of the documents that support a question's answer, those among the first."""
    agreements: Rows
    """Two judges on the same pairs of question and document."""
    planted: Rows
    """Facts that were written into a sample of a corpus, and what was then estimated."""
    planted_ranks: Rows
    reviews: Rows
    """What people said of retrieved documents."""
    trainings: Rows
    tokens: Rows
    corpora: Rows
    contamination: Rows
    streams: Rows
    thresholds: Rows
    audit_statements: Sequence[str]
    steps: Rows
    missing_trials: Sequence[str]
    """Trials of the grid that were not evaluated; nothing in the results contains them."""

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Table name -> rows, with plain values."""
        return {
            name: [vars(row) for row in rows]
            for name, rows in vars(self).items()
            if name not in NO_TABLES
        }


def compute_results(inputs: AnalysisInputs) -> Results:
    """Compute every number of the report from the Parquet of the steps before."""
    study, trials, spec = inputs.study, inputs.trials, inputs.study.analysis
    base, cultures = study.base_language.code, [lang.code for lang in study.trial_languages]
    answers = read_answers(study, trials, inputs.evaluations)
    held_out = read_held_out(study, trials, inputs.evaluations)
    counted = read_occurrences(inputs.frequencies)
    is_joined = inputs.frequencies or inputs.exposures
    transfers = question_transfers(
        study,
        answers,
        counted,
        read_exposures(inputs.exposures),
        read_lengths(inputs.evaluations if is_joined else {}),
    )
    fits, terms = transfer_model(spec, transfers)
    probes = probe_rows(cultures, base, answers)
    trainings = training_rows(inputs.trainings)
    audit = audit_rows(study, inputs.audit)
    return Results(
        facts=study_facts(study, trials, inputs.markers, trainings),
        transfers=transfer_rows(study, answers),
        accuracies=accuracy_rows(answers),
        score_transfers=score_transfer_rows(study, answers),
        score_accuracies=score_accuracy_rows(answers),
        ties=tie_rows(answers),
        positions=position_rows(answers),
        proficiencies=proficiency_rows(held_out),
        proficiency_differences=proficiency_differences(study, held_out),
        consistencies=consistency_rows(study, answers),
        probes=probes,
        left_out=left_out_rows(study.evaluation.exclude, probes, answers),
        densities=density_rows(spec, cultures, base, counted),
        exact_densities=density_rows(spec, cultures, base, counted, EXACT_MEASURES),
        estimates=estimate_rows(spec, counted),
        occurrences=occurrence_rows(spec, transfers),
        exact_occurrences=occurrence_rows(spec, transfers, EXACT_MEASURES),
        bins=occurrence_bins(spec, transfers),
        exposures=exposure_rows(spec, transfers),
        exposure_parts=exposure_parts(transfers),
        exposure_bins=exposure_bins(spec, transfers),
        model_fits=fits,
        model_terms=terms,
        **read_validation(spec, inputs.validation, inputs.review),
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
    if isinstance(value, Row) or (is_dataclass(value) and not isinstance(value, type)):
        return json_ready(vars(value))
    if isinstance(value, Mapping):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
