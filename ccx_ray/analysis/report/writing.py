"""The analysis step: numbers, tables, figures, and one page that a person wants to read.

Invariant: ``report.html`` is one file that needs nothing else, and every number in it is also in
``results.json`` and in ``tables/``.
"""

import math
from pathlib import Path
from typing import Any

from ccx_ray.analysis.measures.consistency import last_consistencies
from ccx_ray.analysis.measures.exposure_effect import EXPOSURE_BINS, last_exposures
from ccx_ray.analysis.measures.frequency_effect import BINS
from ccx_ray.analysis.measures.inputs import AnalysisInputs
from ccx_ray.analysis.measures.proficiency import last_differences
from ccx_ray.analysis.measures.question_transfer import POOLED
from ccx_ray.analysis.measures.results import Results, compute_results, json_ready
from ccx_ray.analysis.measures.run_facts import loss_curves
from ccx_ray.analysis.measures.transfer import is_significant, last_rows
from ccx_ray.analysis.measures.transfer_model import ModelFitRow, frequency_term
from ccx_ray.analysis.measures.validation_facts import own_planted
from ccx_ray.analysis.report import wording
from ccx_ray.analysis.report.figures import (
    accuracy_figure,
    loss_figure,
    transfer_figure,
    write_figures,
)
from ccx_ray.analysis.report.findings import findings
from ccx_ray.analysis.report.frequency_figures import (
    binned_figure,
    correlation_figure,
    density_figure,
    occurrence_figure,
)
from ccx_ray.analysis.report.limits import limits
from ccx_ray.analysis.report.page import render_report
from ccx_ray.analysis.report.score_figures import (
    consistency_figure,
    position_figure,
    proficiency_figure,
    score_figure,
    tie_figure,
)
from ccx_ray.analysis.report.tables import write_tables
from ccx_ray.analysis.report.validation_figures import (
    estimate_figure,
    model_figure,
    planted_figure,
    recall_figure,
)
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import StudySpec


def analyse(inputs: AnalysisInputs, folder: Path) -> dict[str, Any]:
    """Write ``report.html``, ``results.json``, ``tables/*.csv`` and ``figures/*.svg``.

    Returns:
        The headline: the findings in words, and for every language and direction the accuracies,
        transfer, interval and p-values at the last checkpoint (shares, not points), by the study's
        score and by every other; proficiency and consistency at the last checkpoint.
    """
    study = inputs.study
    results = compute_results(inputs)
    figures = _figures(inputs, results)
    words = {"findings": findings(study, results), "limits": limits(study, results)}
    write_figures(figures, folder / "figures")
    write_tables(results.tables(), folder / "tables")
    publish_json(
        folder / "results.json",
        json_ready(
            {
                "study": study.name,
                "analysis": study.analysis.model_dump(),
                "evaluation": study.evaluation.model_dump(),
                **words,
                "facts": results.facts,
                "missing_trials": results.missing_trials,
                "audit": results.audit_statements,
                "validation": results.validation,
                **results.tables(),
            }
        ),
    )
    page = render_report(inputs, results, figures, words)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return _summary(study, results, words["findings"])


def _figures(inputs: AnalysisInputs, results: Results) -> dict[str, str]:
    """The figures that there is something to show in."""
    study = inputs.study
    figures = {}
    if results.transfers:
        figures["transfer"] = transfer_figure(study, results.transfers)
    if results.accuracies:
        figures["accuracy"] = accuracy_figure(study, results.accuracies, results.probes)
    if results.score_transfers:
        figures["score-types"] = score_figure(study, results.score_transfers)
    if results.ties:
        figures["ties"] = tie_figure(study, results.ties)
        figures["positions"] = position_figure(study, results.positions)
    if any(row.condition != "base" for row in results.proficiencies):
        figures["proficiency"] = proficiency_figure(study, results.proficiencies)
    if results.consistencies:
        figures["consistency"] = consistency_figure(study, results.consistencies)
    figures |= _frequency_figures(study, results)
    if inputs.trainings:
        figures["losses"] = loss_figure(study, inputs.trials, loss_curves(inputs.trainings))
    return figures


def _frequency_figures(study: StudySpec, results: Results) -> dict[str, str]:
    figures, own = {}, study.frequency.retriever_name
    if results.densities:
        figures["densities"] = density_figure(study, results.densities)
    if any(not math.isnan(row.correlation) for row in results.estimates):
        figures["estimates"] = estimate_figure(study, results.estimates)
    if results.occurrences:
        figures["occurrences"] = occurrence_figure(study, results.occurrences)
    if results.bins:
        across = "occurrences in the {} corpus"
        figures["frequency"] = binned_figure(study, BINS, results.bins, across)
    if results.exposures:
        across = "times that {} evidence was read"
        figures["exposure"] = binned_figure(study, EXPOSURE_BINS, results.exposure_bins, across)
    if any(
        row.measure == "exposure" and not math.isnan(row.correlation) for row in results.exposures
    ):
        figures["exposure-correlation"] = correlation_figure(study, results.exposures)
    if results.model_terms:
        figures["transfer-model"] = model_figure(results.model_fits, results.model_terms)
    if results.recalls:
        figures["recall"] = recall_figure(study, results.recalls, own)
    planted = own_planted(study.frequency, results.planted, results.validation)
    if planted:
        figures["planted"] = planted_figure(study, planted)
    return figures


def _summary(study: StudySpec, results: Results, found: list[str]) -> dict[str, Any]:
    cells = [
        {
            "language": row.language,
            "direction": wording.direction_name(row.direction, study.base_language.name, "target"),
            "step": row.step,
            "questions": row.questions,
            "bridge": row.bridge,
            "nobridge": row.nobridge,
            "transfer": row.transfer,
            "low": row.low,
            "high": row.high,
            "p_value": row.p_value,
            "p_holm": row.p_holm,
            "significant": is_significant(study, row),
        }
        for row in last_rows(results.transfers)
    ]
    pooled = [row for row in results.occurrences if row.culture == POOLED]
    summary: dict[str, Any] = json_ready(
        {
            "findings": found,
            "transfer": cells,
            "score_types": [
                {
                    "language": row.language,
                    "direction": row.direction,
                    "score": row.score,
                    "transfer": row.transfer,
                    "p_holm": row.p_holm,
                }
                for row in results.score_transfers
                if row.counting == "published"
            ],
            "proficiency": [vars(row) for row in last_differences(results.proficiency_differences)],
            "consistency": [vars(row) for row in last_consistencies(results.consistencies)],
            "left_out": results.tables()["left_out"],
            "densities": results.tables()["densities"],
            "occurrences": [vars(row) for row in pooled],
            "exposures": [
                vars(row)
                for row in last_exposures(results.exposures)
                if (row.culture, row.measure) == (POOLED, "exposure")
            ],
            "transfer_model": [
                {**vars(fit), "frequency": _frequency_effect(fit, results)}
                for fit in results.model_fits
            ],
            "recalls": [
                vars(row)
                for row in results.recalls
                if row.retriever == study.frequency.retriever_name
            ],
            "planted": [
                vars(row)
                for row in own_planted(study.frequency, results.planted_ranks, results.validation)
            ],
            "agreements": [vars(row) for row in results.agreements],
            "reviews": [vars(row) for row in results.reviews],
            "missing_trials": results.missing_trials,
        }
    )
    return summary


def _frequency_effect(fit: ModelFitRow, results: Results) -> dict[str, Any] | None:
    row = frequency_term(results.model_terms, fit.predictor, fit.outcome, lengths=fit.lengths)
    return None if row is None else vars(row)
