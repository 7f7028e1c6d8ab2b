"""The step of the analysis stage: numbers, tables, figures and the report."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.analysis.control import control_identity
from ccx_ray.analysis.declaration import compare_declaration
from ccx_ray.corpus.intervention_steps import planting_steps
from ccx_ray.corpus.steps import CorpusSteps
from ccx_ray.frequency.steps import FrequencySteps
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import trial_grid

if TYPE_CHECKING:
    from ccx_ray.tracking.runs import Tracking


def analysis_step(
    study: StudySpec,
    corpus: CorpusSteps,
    evaluations: Mapping[str, Step],
    frequency: FrequencySteps,
    *,
    world: Step | None,
    control: Path | None,
    declaration: Mapping[str, Any] | None,
) -> Step:
    """The last step of a study's graph; it reads what every other one leaves.

    Args:
        control: folder of the newest analysis of the control study that this one names.
        declaration: what was declared before the first trial.
    """
    declared = compare_declaration(study, declaration)
    languages = (study.base_language, *study.languages)
    return Step(
        name="analysis",
        kind="analysis",
        version=9,
        identity={
            **study.analysis.model_dump(),
            "evaluation": study.evaluation.model_dump(),
            "audit": study.audit.model_dump(),
            "description": study.description,
            "languages": {lang.code: [lang.name, lang.note] for lang in languages},
            **control_identity(study, control),
            "declared": declared and [declared["hash"], declared["declared"], declared["in_time"]],
        },
        needs={
            "evaluations": evaluations,
            "frequencies": frequency.frequencies,
            "exposures": frequency.exposures,
            "validation": frequency.validation,
            "review": frequency.review,
            "audit": corpus.audit,
            **({"world": world} if world else {}),
            **planting_steps(corpus.interventions, *corpus.interventions),
        },
        run=partial(_analyse, study, evaluations, control, declared),
    )


def _analyse(
    study: StudySpec,
    evaluations: Mapping[str, Step],
    control: Path | None,
    declared: Mapping[str, Any] | None,
    work: StepWork,
) -> Mapping[str, Any]:
    from ccx_ray.analysis.report.writing import analyse
    from ccx_ray.analysis.tables import BASE_RUN, AnalysisInputs

    grid = trial_grid(study)
    read = [BASE_RUN, *(trial.name for trial in grid)]  # further bases are in MLflow alone
    trainings = {run: evaluations[run].follows for run in read}
    summary = analyse(
        AnalysisInputs(
            study=study,
            trials=grid,
            evaluations={run: work.inputs("evaluations")[run] for run in read},
            frequencies=work.inputs("frequencies"),
            exposures=work.inputs("exposures"),
            validation=work.input("validation"),
            review=work.input("review"),
            trainings={run: work.folder_of(step) for run, step in trainings.items() if step},
            markers=work.markers(),
            audit=work.input("audit"),
            world=work.input("world") if study.world else None,
            interventions=work.inputs("interventions"),
            control=control,
            declared=declared,
        ),
        work.folder,
    )
    _record(study, work, summary)
    return summary


def _record(study: StudySpec, work: StepWork, summary: Mapping[str, Any]) -> None:
    """The analysis as an MLflow run: transfer by step, densities, the report and the spec."""
    tracking = work.tracking
    run = tracking.open_run(name="analysis", kind="analysis", fingerprint=work.step.fingerprint)
    log = tracking.metrics(run)
    for cell in summary["transfer"]:
        direction = cell["direction"].replace(" → ", "-to-")
        log.log(cell["step"], {f"transfer/{cell['language']}/{direction}": cell["transfer"]})
    for cell in summary["contrasts"]:
        name = f"contrast/{cell['contrast']}/{cell['language']}/{cell['direction']}"
        log.log(cell["step"], {name: cell["difference"]})
    log.log(0, _metrics(summary))
    log.close()
    log_signatures(tracking, run, summary["signatures"])
    if study.world is not None:
        log_control(tracking, run, summary["control"])
    tracking.log_artifacts(run, work.folder)
    tracking.log_text(
        run, study.model_dump_json(indent=2, exclude={"runtime": {"tracking_uri"}}), "study.json"
    )
    tracking.finish(run)


def log_control(tracking: "Tracking", run: str, control: Mapping[str, Any]) -> None:
    """The estimates of a planted world's expectations, as shares, and the counts of verdicts."""
    log = tracking.metrics(run)
    for row in control["expectations"]:
        names = ("control", row["name"].replace(" ", "_"), row["culture"], row["direction"])
        if row["estimate"] is not None:
            log.log(0, {"/".join(filter(None, names)): row["estimate"]})
    log.close()
    counts = control["counts"].items()
    tracking.tag(run, {"ccx.control": ", ".join(f"{count} {verdict}" for verdict, count in counts)})


def log_signatures(tracking: "Tracking", run: str, signatures: Mapping[str, Any]) -> None:
    """The values of the detectors of failure signatures, and the counts of their verdicts."""
    log = tracking.metrics(run)
    for row in signatures["rows"]:
        names = ("signature", row["name"], *filter(None, (row["cell"],)))
        if row["value"] is not None:
            log.log(0, {"/".join(map(metric_name, names)): row["value"]})
    log.close()
    counts = signatures["counts"].items()
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts)
    tracking.tag(run, {"ccx.signatures": told})


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
