"""The analysis step: numbers, tables, figures, and one page that a person wants to read.

Invariant: ``report.html`` is one file that needs nothing else, and every number in it is also in
``results.json`` and in ``tables/``.
"""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ccx_ray.analysis.measures.consistency import last_consistencies
from ccx_ray.analysis.measures.frequency_effect import last_exposures
from ccx_ray.analysis.measures.proficiency import last_differences
from ccx_ray.analysis.measures.question_transfer import POOLED
from ccx_ray.analysis.measures.results import AnalysisInputs, Results, compute_results, json_ready
from ccx_ray.analysis.measures.transfer import is_significant, last_rows
from ccx_ray.analysis.measures.transfer_model import frequency_term
from ccx_ray.analysis.measures.validation_facts import own_planted
from ccx_ray.analysis.report import frequency_figures, transfer_figures
from ccx_ray.analysis.report.drawing import STYLE, to_svg
from ccx_ray.analysis.report.findings import headline, transfer_findings, transfer_verdicts
from ccx_ray.analysis.report.frequency_findings import frequency_findings
from ccx_ray.analysis.report.limits import limits
from ccx_ray.analysis.report.page import render_report
from ccx_ray.analysis.wording import direction_name
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import StudySpec

FIGURES: Mapping[str, Callable[[StudySpec, Results], Figure | None]] = {
    "transfer": transfer_figures.transfer_figure,
    "accuracy": transfer_figures.accuracy_figure,
    "score-types": transfer_figures.score_figure,
    "ties": transfer_figures.tie_figure,
    "positions": transfer_figures.position_figure,
    "proficiency": transfer_figures.proficiency_figure,
    "consistency": transfer_figures.consistency_figure,
    "densities": frequency_figures.density_figure,
    "estimates": frequency_figures.estimate_figure,
    "occurrences": frequency_figures.occurrence_figure,
    "frequency": frequency_figures.frequency_bin_figure,
    "exposure": frequency_figures.exposure_bin_figure,
    "exposure-correlation": frequency_figures.correlation_figure,
    "transfer-model": frequency_figures.model_figure,
    "recall": frequency_figures.recall_figure,
    "planted": frequency_figures.planted_figure,
}


def analyse(inputs: AnalysisInputs, folder: Path) -> dict[str, Any]:
    """Write ``report.html``, ``results.json``, ``tables/*.csv`` and ``figures/*.svg``.

    Returns:
        The headline in words, and for every language and direction the accuracies, transfer,
        interval and p-values at the last checkpoint (shares, not points), by the study's score and
        by every other; proficiency and consistency at the last checkpoint.
    """
    study = inputs.study
    results = compute_results(inputs)
    tables, figures = results.tables(), draw_figures(inputs, results)
    said = {
        "headline": headline(study, results),
        "verdicts": transfer_verdicts(study, results),
        "findings": [*transfer_findings(study, results), *frequency_findings(study, results)],
        "limits": limits(study, results),
    }
    (folder / "figures").mkdir()
    for name, svg in figures.items():
        (folder / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
    write_tables(tables, folder / "tables")
    publish_json(
        folder / "results.json",
        json_ready(
            {
                "study": study.name,
                "analysis": study.analysis.model_dump(),
                "evaluation": study.evaluation.model_dump(),
                **said,
                "facts": results.facts,
                "missing_trials": results.missing_trials,
                "audit": results.audit_statements,
                "validation": results.validation,
                **tables,
            }
        ),
    )
    page = render_report(inputs, results, figures, said)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return _summary(study, results, tables)


def draw_figures(inputs: AnalysisInputs, results: Results) -> dict[str, str]:
    """Name -> SVG of every figure that there is something to show in."""
    with mpl.rc_context(STYLE):
        figures = {name: draw(inputs.study, results) for name, draw in FIGURES.items()}
        figures["losses"] = transfer_figures.loss_figure(inputs)
        return {name: to_svg(figure) for name, figure in figures.items() if figure is not None}


def write_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    """One CSV file a table, in full precision; a table without rows has no file."""
    folder.mkdir()
    for name, rows in tables.items():
        if rows:
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    """Nested values as JSON, so that a cell can be read back; nothing where there is no value."""
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value, ensure_ascii=False)
    return "" if isinstance(value, float) and not math.isfinite(value) else value


def _summary(study: StudySpec, results: Results, tables: Mapping[str, Any]) -> dict[str, Any]:
    last = [
        {
            **vars(row),
            "direction": direction_name(row.direction, study.base_language.name, "target"),
            "significant": is_significant(study, row),
        }
        for row in last_rows(results.transfers)
    ]
    shown = ("language", "direction", "step", "questions", "bridge", "nobridge", "transfer", "low",
             "high", "p_value", "p_holm", "significant")  # fmt: skip
    by_score = ("language", "direction", "score", "transfer", "p_holm")
    own = study.frequency.retriever_name
    summary: dict[str, Any] = json_ready(
        {
            "headline": headline(study, results),
            "transfer": [{key: row[key] for key in shown} for row in last],
            "score_types": [
                {key: row[key] for key in by_score}
                for row in tables["score_transfers"]
                if row["counting"] == "published"
            ],
            "proficiency": last_differences(results.proficiency_differences),
            "consistency": last_consistencies(results.consistencies),
            "left_out": tables["left_out"],
            "densities": tables["densities"],
            "occurrences": [row for row in results.occurrences if row.culture == POOLED],
            "exposures": [
                row
                for row in last_exposures(results.exposures)
                if (row.culture, row.measure) == (POOLED, "exposure")
            ],
            "transfer_model": [
                {
                    **vars(fit),
                    "frequency": frequency_term(
                        results.model_terms, fit.predictor, fit.outcome, lengths=fit.lengths
                    ),
                }
                for fit in results.model_fits
            ],
            "recalls": [row for row in results.recalls if row.retriever == own],
            "planted": own_planted(study.frequency, results.planted_ranks, results.validation),
            "agreements": results.agreements,
            "reviews": results.reviews,
            "missing_trials": results.missing_trials,
        }
    )
    return summary
