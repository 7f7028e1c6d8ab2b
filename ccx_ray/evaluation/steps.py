"""The steps of the evaluation stage: every checkpoint of a training, scored while it goes on."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.corpus.steps import CorpusSteps
from ccx_ray.evaluation.probes import load_culture, probe_name
from ccx_ray.orchestration.gauges import Gauge
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec
from ccx_ray.study.trials import Trial
from ccx_ray.training.steps import TrainingSteps, run_kind

if TYPE_CHECKING:
    from ccx_ray.evaluation.scheduler import EvaluationScheduler

logger = logging.getLogger(__name__)

EVALUATIONS = Gauge(
    "evaluations",
    "Published checkpoints by state: waiting for an evaluator, running, done, failed",
    ("state",),
)


def evaluation_steps(
    study: StudySpec, inputs: InputFiles, corpus: CorpusSteps, training: TrainingSteps
) -> dict[str, Step]:
    """Every base's and trial's name -> the step that scores its checkpoints.

    Raises:
        UserError: a probe file is missing.
    """
    base = study.base_language.code
    steps = {
        name: _step(study, name, study.languages, inputs, held_out=corpus.held_out, training=step)
        for name, step in training.bases.items()
    }
    for trial, step in training.trials.items():
        languages = (study.language(trial.language),)
        held_out = corpus.held_out_of(base, trial.language)
        steps[trial.name] = _step(study, trial, languages, inputs, held_out=held_out, training=step)
    return steps


def check_evaluation(study: StudySpec, root: Path) -> None:
    """Read every probe file of a study, and warn of answers that are not written as their option.

    Raises:
        UserError: one is wrong.
    """
    for language in study.languages:
        for probe in load_culture(language, root, base=study.base_language.code).values():
            for note in probe.notes:
                logger.warning("probe %s, %s", probe.name, note)


def filled_questions(
    study: StudySpec, root: Path, language: LanguageSpec
) -> dict[str, list[tuple[str, str]]]:
    """Language code -> (question, question with its answer filled in), of a culture's probes."""
    probes = load_culture(language, root, base=study.base_language.code)
    return {
        code: [(item.question, item.fill(item.answer)) for item in probe.items]
        for code, probe in probes.items()
    }


def _step(
    study: StudySpec,
    trained: Trial | str,
    languages: Sequence[LanguageSpec],
    inputs: InputFiles,
    *,
    held_out: Mapping[str, Step],
    training: Step,
) -> Step:
    return Step(
        name=f"evaluate-{training.name.removeprefix('trial-')}",
        kind="evaluation",
        version=3,
        identity={"probes": {lang.code: inputs.probe_hashes(lang) for lang in languages}},
        needs={"held out": held_out},
        follows=training,
        run=partial(_evaluate, study, trained, languages, inputs.text_root),
        resumable=True,
    )


def _evaluate(
    study: StudySpec,
    trained: Trial | str,
    languages: Sequence[LanguageSpec],
    root: Path,
    work: StepWork,
) -> Mapping[str, Any]:
    from ccx_ray.corpus.packing.heldout import HELD_OUT
    from ccx_ray.evaluation.following import FollowedRun, evaluate_run

    training = work.step.follows
    assert training is not None
    trial = trained if isinstance(trained, Trial) else None
    run = FollowedRun(
        name=training.name.removeprefix("trial-"),
        kind=run_kind(trial),
        fingerprint=training.fingerprint,
        folder=work.folder_of(training),
        steps=(study.trials if trial else study.base).checkpoint_steps,
        probes=tuple(
            pair for language in languages for pair in _probe_files(study, language, root)
        ),
        held_out=tuple(
            (code, folder / HELD_OUT) for code, folder in work.inputs("held out").items()
        ),
        sequence_length=study.sequence_length,
    )
    scheduler = work.services.shared("evaluators", partial(_evaluators, study))
    work.services.gauges.watch(
        "evaluations", lambda: ((EVALUATIONS, (s,), n) for s, n in scheduler.states().items())
    )
    return evaluate_run(run, work, scheduler, work.tracking)


@contextmanager
def _evaluators(study: StudySpec) -> Iterator["EvaluationScheduler"]:
    """The evaluators that all checkpoints of a run share."""
    from ccx_ray.evaluation.scheduler import EvaluationScheduler

    with tempfile.TemporaryDirectory(prefix="ccx-ray-evaluation-") as scratch:
        scheduler = EvaluationScheduler(study.runtime.evaluation, Path(scratch))
        try:
            yield scheduler
        finally:
            scheduler.close()


def _probe_files(study: StudySpec, language: LanguageSpec, root: Path) -> list[tuple[str, Path]]:
    """``(name, file)`` of a culture's questions in the base language and in its own."""
    inputs, field = InputFiles(root), f"languages.{language.code}.probes"
    files = {
        study.base_language.code: language.probes.english,
        language.code: language.probes.target,
    }
    return [
        (probe_name(language.code, code), inputs.resolve(file, field))
        for code, file in files.items()
    ]
