"""The analysis step: numbers, tables, figures, and one page that a person wants to read.

Invariants: ``report.html`` is one file that needs nothing else, and every number in it is also in
``results.json`` and in ``tables/``; everything is computed from per-question and per-document
Parquet, nothing is taken from an aggregate that another stage has made.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from ccx_ray.analysis import wording
from ccx_ray.analysis.control import VERDICTS, read_control
from ccx_ray.analysis.crossed import POWER
from ccx_ray.analysis.measures import (
    accuracy,
    contrasts,
    frequency,
    interventions,
    languages,
    run_facts,
)
from ccx_ray.analysis.measures.expectations import (
    control_sentence,
    control_tables,
    verdict_counts,
)
from ccx_ray.analysis.measures.frequency import EXACT_MEASURES, POOLED
from ccx_ray.analysis.measures.headline import STATISTICS, headline_rows
from ccx_ray.analysis.measures.noise import noise_rows
from ccx_ray.analysis.measures.signatures import (
    signature_counts,
    signature_rows,
    signature_sentence,
)
from ccx_ray.analysis.measures.transfer import (
    by_score,
    interval_of,
    is_significant,
    read_answers,
    read_lengths,
    significance_level,
    transfer_rows,
)
from ccx_ray.analysis.measures.transfer_model import frequency_term, transfer_model
from ccx_ray.analysis.report import control_figures, frequency_figures, paper, transfer_figures
from ccx_ray.analysis.report.answer import answer, checks, question
from ccx_ray.analysis.report.drawing import STYLE, inline_svg, to_svg
from ccx_ray.analysis.report.findings import transfer_findings, transfer_verdicts
from ccx_ray.analysis.report.frequency_findings import frequency_findings
from ccx_ray.analysis.report.limits import limits
from ccx_ray.analysis.tables import AnalysisInputs, Results, json_ready
from ccx_ray.frequency.counting.exposure import SCHEMA as EXPOSURE
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import StudySpec

SOURCE_ONLY = " whose fact is stated in the language alone that knowledge moves from"
PACKAGE = "ccx_ray.analysis.report"
WORDS = {name: shown for name, shown in vars(wording).items() if callable(shown)}
FIGURES: Mapping[str, Callable[[StudySpec, Results], Figure | None]] = {
    "control": control_figures.culture_figure,
    **{
        name: partial(control_figures.dose_figure, table=table, kind=kind, across=across)
        for name, table, kind, across in (
            ("control-statements", "control_doses", "statements", "statements of a fact"),
            ("control-bridges", "control_doses", "bridges", "bridges of the entity"),
            ("interventions-target", "intervention_doses", "target", "documents of an item"),
            ("interventions-base", "intervention_doses", "base", "documents of an item"),
        )
    },
    "answer": transfer_figures.answer_figure,
    "transfer": transfer_figures.transfer_figure,
    "accuracy": transfer_figures.accuracy_figure,
    "score-types": transfer_figures.score_figure,
    "noise": transfer_figures.noise_figure,
    "ties": transfer_figures.tie_figure,
    "positions": transfer_figures.position_figure,
    "proficiency": transfer_figures.proficiency_figure,
    "consistency": transfer_figures.consistency_figure,
    "densities": frequency_figures.density_figure,
    "estimates": frequency_figures.estimate_figure,
    "occurrences": frequency_figures.occurrence_figure,
    "frequency": partial(frequency_figures.bin_figure, "occurrences"),
    "exposure": partial(frequency_figures.bin_figure, "exposure"),
    "exposure-correlation": frequency_figures.correlation_figure,
    "transfer-model": frequency_figures.model_figure,
    "recall": frequency_figures.recall_figure,
    "planted": frequency_figures.planted_figure,
}


def analyse(inputs: AnalysisInputs, folder: Path) -> dict[str, Any]:
    """Write ``report.html``, ``results.json``, ``tables/*.csv`` and ``figures/*.svg``; of a planted
    world also ``verdicts.json`` and ``verdicts.csv``.

    Returns:
        The answer in words, what was found of a planted world (of this study or of its control),
        and for every language and direction the accuracies, transfer, interval and p-values at the
        last checkpoint (shares, not points), by the study's score and by every other; proficiency
        and consistency at the last checkpoint.
    """
    study = inputs.study
    results = compute_results(inputs)
    tables = results.tables()
    with mpl.rc_context(STYLE):
        drawn = {name: draw(study, results) for name, draw in FIGURES.items()}
        drawn["losses"] = transfer_figures.loss_figure(inputs)
        figures = {name: to_svg(figure) for name, figure in drawn.items() if figure is not None}
    control = _control(inputs, results)
    answered = answer(study, results, control)
    said = {
        "control": control,
        "declared": inputs.declared,
        "intervened": list(interventions.intervention_sentences(study, results)),
        "signature_sentence": signature_sentence(results.signatures),
        "question": question(study),
        "answer": answered,
        "checks": checks(results, control, inputs.declared),
        "verdicts": transfer_verdicts(study, results),
        "findings": [*transfer_findings(study, results), *frequency_findings(study, results)],
        "limits": list(limits(study, results)),
    }
    (folder / "figures").mkdir()
    for name, svg in figures.items():
        (folder / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
    verdicts = tables.pop("expectations")
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
                "audit": results.audit,
                "validation": results.validation,
                "expectations": verdicts,
                **tables,
            }
        ),
    )
    page = _page(inputs, results, figures, said)
    (folder / "report.html").write_text(page, encoding="utf-8")
    summary = {"headline": " ".join(answered), **_summary(study, results)}
    summary["signatures"] = json_ready(
        {
            "sentence": said["signature_sentence"],
            "counts": signature_counts(results.signatures),
            "rows": results.signatures,
        }
    )
    if control is not None:
        found = {"expectations": results.expectations} if inputs.world else {}
        summary["control"] = json_ready({**control, **found})
    if inputs.world:
        publish_json(folder / VERDICTS, summary["control"])
        (folder / "verdicts.csv").write_text(csv_table(verdicts), "utf-8", newline="")
    return summary


def compute_results(inputs: AnalysisInputs) -> Results:
    """Compute every number of the report, table by table in the order of ``results.json``."""
    study, trials, spec = inputs.study, inputs.trials, inputs.study.analysis
    answers = read_answers(study, trials, inputs.evaluations)
    held_out = languages.read_held_out(study, trials, inputs.evaluations)
    counted = frequency.read_counts(study, answers, inputs.frequencies)
    is_joined = inputs.frequencies or inputs.exposures
    transfers = frequency.question_transfers(
        study,
        answers,
        counted,
        frequency.read_all(EXPOSURE, inputs.exposures, "exposure.parquet"),
        read_lengths(inputs.evaluations if is_joined else {}),
    )
    fits, terms = transfer_model(spec, transfers)
    probes = list(accuracy.probe_rows(study, answers))
    trainings = run_facts.training_rows(run_facts.loss_curves(inputs.trainings))
    found: dict[str, Any] = dict(
        facts=run_facts.study_facts(study, trials, inputs.markers, trainings),
        missing_trials=[trial.name for trial in trials if trial.name not in inputs.evaluations],
        headlines=headline_rows(study, answers),
        transfers=transfer_rows(study, answers),
        transfer_by_group=contrasts.group_rows(study, answers),
        contrasts=contrasts.contrast_rows(study, answers),
        accuracies=accuracy.accuracy_rows(answers),
        **control_tables(inputs, answers),
        **interventions.intervention_tables(inputs, answers),
        score_transfers=by_score(answers, partial(transfer_rows, study, last_only=True)),
        score_accuracies=by_score(answers, accuracy.last_accuracy_rows),
        noise=by_score(answers, noise_rows),
        ties=accuracy.tie_rows(answers),
        positions=accuracy.position_rows(answers),
        proficiencies=languages.proficiency_rows(held_out),
        proficiency_differences=languages.proficiency_differences(study, held_out),
        consistencies=languages.consistency_rows(study, answers),
        probes=probes,
        left_out=accuracy.left_out_rows(study.evaluation.exclude, probes),
        densities=frequency.density_rows(study, counted),
        exact_densities=frequency.density_rows(study, counted, EXACT_MEASURES),
        estimates=frequency.estimate_rows(spec, counted),
        occurrences=frequency.occurrence_rows(spec, transfers),
        exact_occurrences=frequency.occurrence_rows(spec, transfers, EXACT_MEASURES),
        bins=frequency.bin_rows(spec, transfers, "occurrences"),
        exposures=frequency.exposure_rows(spec, transfers),
        exposure_parts=frequency.exposure_parts(transfers),
        exposure_bins=frequency.bin_rows(spec, transfers, "exposure"),
        model_fits=fits,
        model_terms=terms,
        **run_facts.validation_tables(spec, inputs.validation, inputs.review),
        trainings=trainings,
        tokens=run_facts.token_rows(trials, trainings),
        corpora=run_facts.corpus_rows(study, inputs.markers),
        **run_facts.audit_tables(study, inputs.audit),
        steps=run_facts.step_rows(inputs.markers),
    )
    rows = {name: list(value) for name, value in found.items() if isinstance(value, Iterator)}
    results = Results(**(found | rows))
    results.signatures = signature_rows(study, results, answers, held_out, inputs.audit)
    return results


def _control(inputs: AnalysisInputs, results: Results) -> dict[str, Any] | None:
    """What was found of this study's planted world, or by the control study that it names."""
    if inputs.world is None:
        return read_control(inputs.study, inputs.control)
    rows = results.expectations
    return {
        "study": inputs.study.name,
        "sentence": control_sentence(rows),
        "counts": verdict_counts(rows),
    }


@cache
def _templates() -> Environment:
    """The templates of the page, each compiled once in a process."""
    environment = Environment(
        loader=PackageLoader(PACKAGE, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= WORDS
    return environment


def _page(
    inputs: AnalysisInputs, results: Results, figures: Mapping[str, str], said: Mapping[str, Any]
) -> str:
    """The page as HTML, its style and figures inside. It computes nothing: it looks up rows of the
    results and words them."""
    study = inputs.study
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            **WORDS,
            **said,
            study=study,
            results=results,
            figures={name: Markup(inline_svg(svg, name)) for name, svg in figures.items()},
            style=Markup((resources.files(PACKAGE) / "report.css").read_text("utf-8")),
            names=wording.names_of(study),
            units=results.units,
            item_units=results.units.replace("questions", "items"),
            clustered=results.units != "questions",
            score_names=wording.SCORE_NAMES,
            measure_names=wording.MEASURE_NAMES,
            predictor_names=wording.PREDICTOR_NAMES,
            last=results.last("transfers", counting="published"),
            headlines={(row.language, row.direction): row for row in results.headlines},
            statistic=STATISTICS[study.analysis.headline],
            power=POWER,
            interval_of=interval_of,
            transfers={
                (row.language, row.direction, row.counting): row
                for row in results.last("transfers")
            },
            score_transfers={
                (row.language, row.direction, row.score, row.counting): row
                for row in results.score_transfers
            },
            score_accuracies={
                (row.probe, row.condition, row.score): row for row in results.score_accuracies
            },
            frequency_term=frequency_term,
            own_retriever=study.frequency.retriever_name,
            own_planted=run_facts.own_planted(study.frequency, results, "planted_ranks"),
            every_document=run_facts.EVERY_DOCUMENT,
            probes={row.probe: row for row in results.probes},
            folders={run: path.name for run, path in inputs.evaluations.items()},
            is_significant=lambda row: is_significant(study, row),
            level=significance_level(study),
            conditions=wording.trial_conditions(study),
            source_only=SOURCE_ONLY,
            pooled=POOLED,
            paper=paper,
        )
    )


def write_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    """One CSV file a table, in full precision; a table without rows has no file."""
    folder.mkdir()
    for name, rows in tables.items():
        if rows:
            (folder / f"{name}.csv").write_text(csv_table(rows), "utf-8", newline="")


def csv_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys, at least one, as CSV with a header."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    """Nested values as JSON, so that a cell can be read back; nothing where there is no value."""
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value, ensure_ascii=False)
    return "" if isinstance(value, float) and not math.isfinite(value) else value


def _summary(study: StudySpec, results: Results) -> dict[str, Any]:
    shown = ("language", "direction", "step", "statistic", "group", "questions", "clusters",
             "trainings", "bridge", "nobridge", "transfer", "low", "high", "p_value", "p_holm",
             "question_low", "question_high", "question_p_value", "question_p_holm", "visible",
             "question_visible", "significant")  # fmt: skip
    last = [
        {
            **vars(row),
            "direction": wording.direction_name(row.direction, study.base_language.name, "target"),
            "significant": is_significant(study, row),
        }
        for row in results.headlines
    ]
    own = study.frequency.retriever_name
    summary: dict[str, Any] = json_ready(
        {
            "transfer": [{key: row[key] for key in shown} for row in last],
            "contrasts": results.last("contrasts", counting="published"),
            "transfer_by_group": results.last("transfer_by_group"),
            "score_types": [
                {
                    key: getattr(row, key)
                    for key in ("language", "direction", "score", "transfer", "p_holm")
                }
                for row in results.score_transfers
                if row.counting == "published"
            ],
            "proficiency": results.last("proficiency_differences"),
            "consistency": results.last("consistencies"),
            "left_out": results.left_out,
            "densities": results.densities,
            "occurrences": [row for row in results.occurrences if row.culture == POOLED],
            "exposures": results.last("exposures", culture=POOLED, measure="exposure"),
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
            "planted": run_facts.own_planted(study.frequency, results, "planted_ranks"),
            "agreements": results.agreements,
            "reviews": results.reviews,
            "missing_trials": results.missing_trials,
        }
    )
    return summary
