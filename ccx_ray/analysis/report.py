"""The analysis step: numbers, tables, figures, and one page that a person wants to read.

Invariant: ``report.html`` is one file that needs nothing else, and every number in it is also in
``results.json`` and in ``tables/``.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ccx_ray.analysis import paper, wording
from ccx_ray.analysis.description import short_commit, what_was_run
from ccx_ray.analysis.drawing import inline_svg
from ccx_ray.analysis.figures import (
    accuracy_figure,
    frequency_figure,
    loss_figure,
    transfer_figure,
    write_figures,
)
from ccx_ray.analysis.findings import findings, is_significant, significance_level
from ccx_ray.analysis.frequency_effect import POOLED
from ccx_ray.analysis.inputs import AnalysisInputs
from ccx_ray.analysis.limits import limits
from ccx_ray.analysis.results import Results, compute_results, json_ready
from ccx_ray.analysis.run_facts import loss_curves
from ccx_ray.analysis.tables import write_tables
from ccx_ray.analysis.transfer import last_rows
from ccx_ray.storage import publish_json
from ccx_ray.study.spec import StudySpec

FILTERS = (
    wording.percent,
    wording.points,
    wording.interval,
    wording.p_value,
    wording.decimal,
    wording.scientific,
    wording.whole,
    wording.duration,
    wording.plural,
    short_commit,
)


def analyse(inputs: AnalysisInputs, folder: Path) -> dict[str, Any]:
    """Write ``report.html``, ``results.json``, ``tables/*.csv`` and ``figures/*.svg``.

    Returns:
        The headline: the findings in words, and for every language and direction the accuracies,
        transfer, interval and p-values at the last checkpoint (shares, not points).
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
                **words,
                "facts": results.facts,
                "missing_trials": results.missing_trials,
                "audit": results.audit_statements,
                **results.tables(),
            }
        ),
    )
    page = render_report(inputs, results, figures, words)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return _summary(study, results, words["findings"])


def render_report(
    inputs: AnalysisInputs,
    results: Results,
    figures: Mapping[str, str],
    words: Mapping[str, list[str]],
) -> str:
    """The page as HTML, its style and figures inside."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("ccx_ray", "analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {shown.__name__: shown for shown in FILTERS}
    study = inputs.study
    style = (resources.files("ccx_ray.analysis") / "report.css").read_text("utf-8")
    return environment.get_template("report.html.j2").render(
        study=study,
        results=results,
        **words,
        what_was_run=what_was_run(study, results.facts),
        figures={name: Markup(inline_svg(svg, name)) for name, svg in figures.items()},
        style=Markup(style),
        names={
            lang.code: wording.short_name(lang) for lang in (study.base_language, *study.languages)
        },
        last=last_rows(results.transfers),
        strict={(r.language, r.direction): r for r in last_rows(results.transfers, "ties-wrong")},
        pooled_accuracies=[row for row in results.accuracies if row.seed is None],
        last_step=max((row.step for row in results.accuracies), default=0),
        probes={row.probe: row for row in results.probes},
        folders={run: path.name for run, path in inputs.evaluations.items()},
        is_significant=lambda row: is_significant(study, row),
        level=significance_level(study),
        direction_name=wording.direction_name,
        pooled=POOLED,
        paper=paper,
    )


def _figures(inputs: AnalysisInputs, results: Results) -> dict[str, str]:
    """The figures that there is something to show in."""
    study = inputs.study
    figures = {}
    if results.transfers:
        figures["transfer"] = transfer_figure(study, results.transfers)
    if results.accuracies:
        figures["accuracy"] = accuracy_figure(study, results.accuracies, results.probes)
    if results.bins:
        figures["frequency"] = frequency_figure(study, results.bins)
    if inputs.trainings:
        figures["losses"] = loss_figure(study, inputs.trials, loss_curves(inputs.trainings))
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
            "densities": results.tables()["densities"],
            "occurrences": [vars(row) for row in pooled],
            "missing_trials": results.missing_trials,
        }
    )
    return summary
