"""Logs a finished analysis to MLflow: findings on the study's own run, the report and its tables on
a run of the analysis.

Invariant: a later analysis of the same study replaces the values on the study's run.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ccx_ray.orchestration.provenance import hide_credentials
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.spec import StudySpec
from ccx_ray.tracking.runs import MetricLog

NOTE = "mlflow.note.content"
FIGURES = ("transfer", "accuracy", "proficiency")
"""Of the report, that the study's run shows."""


def record_analysis(study: StudySpec, work: StepWork, summary: Mapping[str, Any]) -> None:
    """Log a finished analysis to MLflow.

    Args:
        summary: what ``analyse`` returned; its tables stand in the step's folder.
    """
    from ccx_ray.analysis.report.writing import csv_table

    tracking = work.tracking
    run = tracking.open_run(name="analysis", kind="analysis", fingerprint=work.step.fingerprint)
    log = tracking.metrics(run)
    log.log(0, _metrics(summary))
    log.close()
    tracking.log_artifacts(run, work.folder)
    tracking.finish(run)

    results = json.loads((work.folder / "results.json").read_text("utf-8"))
    study_run, log = tracking.parent, tracking.metrics(tracking.parent)
    for row in results["transfers"]:
        if row["counting"] == "published":
            name = transfer_metric(*ends(study, row["language"], row["direction"]))
            low, high = _interval(row)
            values = {name: row["transfer"], f"{name}_low": low, f"{name}_high": high}
            log.log(row["step"], _numbers(values), revised=True)
    for cell in summary["contrasts"]:
        name = f"contrast/{cell['contrast']}/{cell['language']}/{cell['direction']}"
        log.log(cell["step"], {name: cell["difference"]}, revised=True)
    log.log(0, _counts(results), revised=True)
    tags = {
        "ccx.verdict." + "-".join(ends(study, row["language"], row["direction"])): row["verdict"]
        for row in results["verdicts"]
    }
    tags |= log_signatures(log, summary["signatures"])
    if study.world is not None:
        tags |= log_control(log, summary["control"])
    log.close()
    tracking.tag(study_run, tags | {NOTE: _note(study, work, summary["headline"], results, run)})
    spec = json.dumps(hide_credentials(study.model_dump(mode="json")), indent=2)
    tracking.log_text(study_run, spec, "study.json")
    if rows := list(aggregates(study, results)):
        tracking.log_text(study_run, csv_table(rows), "over-seeds.csv")
    for name in FIGURES:
        figure = work.folder / "figures" / f"{name}.svg"
        if figure.is_file():
            tracking.log_file(study_run, figure, "figures")


def ends(study: StudySpec, language: str, direction: str) -> tuple[str, str]:
    """The codes of the languages that knowledge moves from and to."""
    pair = (study.base_language.code, language)
    return pair if direction == "base-to-target" else pair[::-1]


def transfer_metric(source: str, target: str) -> str:
    """Name of the metric of transfer between two languages; its interval is beside it as ``_low``
    and ``_high``."""
    return f"transfer/{source}-{target}"


def _counts(results: Mapping[str, Any]) -> dict[str, float]:
    """Counts of trials, questions, parameters and tokens, and the wall time."""
    facts = results["facts"]
    return _numbers(
        {
            "study/trials": facts["trials_trained"],
            "study/questions": sum(probe["questions"] for probe in results["probes"]),
            "study/parameters": facts["parameters"],
            "study/tokens": facts["base_tokens"] + facts["trial_tokens"],
            "study/wall_hours": facts["wall_seconds"] / 3600,
        }
    )


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def aggregates(study: StudySpec, results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Mean over the seeds of every condition and checkpoint, with its t interval from three seeds
    on: MLflow's page averages the runs of a group, but shows no interval."""
    base = study.base_language.code
    for measure, table, of in (
        ("accuracy", "accuracies", "probe"),
        ("bits_per_byte", "proficiencies", "text"),
    ):
        found: dict[tuple[Any, ...], list[float]] = {}
        for row in results[table]:
            if row["seed"] is not None:
                asked = row[of].rpartition("-")[2]
                target = "target-to-base" if asked == base else "base-to-target"
                place = (row["language"], row["condition"], target, row["step"])
                found.setdefault(place, []).append(row[measure])
        for (language, condition, direction, step), values in found.items():
            mean, low, high = mean_interval(values, study.analysis.confidence)
            yield {
                "measure": measure,
                "language": language,
                "condition": condition,
                "direction": "-".join(ends(study, language, direction)),
                "step": step,
                "seeds": len(values),
                "mean": mean,
                "low": low,
                "high": high,
            }
    for row in results["transfers"]:
        if row["counting"] == "published":
            yield {
                "measure": "transfer",
                "language": row["language"],
                "condition": "bridge - nobridge",
                "direction": "-".join(ends(study, row["language"], row["direction"])),
                "step": row["step"],
                "seeds": len(row["seeds"]),
                "mean": row["transfer"],
                "low": row["low"],
                "high": row["high"],
            }


def _interval(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Of transfer, over questions and trainings; over questions alone with too few trainings."""
    prefix = "question_" if row["low"] is None else ""
    return row.get(f"{prefix}low"), row.get(f"{prefix}high")


def mean_interval(
    values: Sequence[float], confidence: float
) -> tuple[float, float | None, float | None]:
    """Mean and its t interval; no interval of fewer than three values."""
    from statsmodels.stats.weightstats import DescrStatsW

    described = DescrStatsW(values)
    if len(values) < 3:
        return float(described.mean), None, None
    low, high = described.tconfint_mean(alpha=1 - confidence)
    return float(described.mean), float(low), float(high)


def _note(
    study: StudySpec, work: StepWork, answer: str, results: Mapping[str, Any], report: str
) -> str:
    """Markdown: the answer of the study, transfer at the last checkpoint, and where to read on.

    Args:
        report: id of the run that holds the report.
    """
    last: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in results["transfers"]:
        if row["counting"] == "published":
            last[row["language"], row["direction"]] = row
    verdicts = {(row["language"], row["direction"]): row["verdict"] for row in results["verdicts"]}
    lines = [
        answer,
        "",
        "| from-to | step | bridge | no-bridge | transfer | interval | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for place, row in last.items():
        low, high = _interval(row)
        interval = "" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
        lines.append(
            f"| {'-'.join(ends(study, *place))} | {row['step']} | {row['bridge']:.1%} "
            f"| {row['nobridge']:.1%} | {100 * row['transfer']:+.1f} | {interval} "
            f"| {verdicts[place]} |"
        )
    file = work.folder_of(work.step) / "report.html"
    page = f"#/experiments/{work.tracking.experiment}/runs"
    lines += [
        "",
        f"[Report]({page}/{report}/artifacts/report.html) ({file}), "
        f"[spec]({page}/{work.tracking.parent}/artifacts/study.json), "
        f"[over the seeds]({page}/{work.tracking.parent}/artifacts/over-seeds.csv)",
    ]
    return "\n".join(lines)


def log_control(log: MetricLog, control: Mapping[str, Any]) -> dict[str, str]:
    """The estimates of a planted world's expectations, as shares; returns a tag with the counts of
    verdicts."""
    for row in control["expectations"]:
        names = ("control", row["name"].replace(" ", "_"), row["culture"], row["direction"])
        if row["estimate"] is not None:
            log.log(0, {"/".join(filter(None, names)): row["estimate"]}, revised=True)
    return {"ccx.control": _told(control["counts"])}


def log_signatures(log: MetricLog, signatures: Mapping[str, Any]) -> dict[str, str]:
    """The values of the detectors of failure signatures; returns a tag with the counts of their
    verdicts."""
    for row in signatures["rows"]:
        names = ("signature", row["name"], *filter(None, (row["cell"],)))
        if row["value"] is not None:
            log.log(0, {"/".join(map(metric_name, names)): row["value"]}, revised=True)
    return {"ccx.signatures": _told(signatures["counts"])}


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def metric_name(words: str) -> str:
    """Words as a part of a metric's name, in letters that MLflow takes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", words.replace(" → ", "-to-"))


def _metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Of the report's headline: densities and their ratios, and the odds of the transfer model."""
    metrics: dict[str, Any] = {}
    for row in summary["densities"]:
        for name in ("base_density", "target_density", "ratio", "ratio_low", "ratio_high"):
            metrics[f"density/{row['culture']}/{name}"] = row[name]
    for row in summary["transfer_model"]:
        lengths = "lengths held fixed" if row["lengths"] else "frequency alone"
        term = row["frequency"] or {}
        for name in ("odds_ratio", "odds_low", "odds_high", "p_value"):
            key = f"transfer_model/{row['predictor']}/{row['outcome']}/{lengths}/{name}"
            metrics[key] = term.get(name)
    return {name: value for name, value in metrics.items() if value is not None}
