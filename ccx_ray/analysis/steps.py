"""The step of the analysis stage: numbers, tables, figures and the report."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.analysis.control import control_identity
from ccx_ray.analysis.declaration import compare_declaration
from ccx_ray.corpus.intervention_steps import planting_steps
from ccx_ray.corpus.steps import CorpusSteps
from ccx_ray.frequency.steps import FrequencySteps
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import trial_grid


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
    from ccx_ray.analysis.tracked import record_analysis

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
    record_analysis(study, work, summary)
    return summary
