"""The steps of the training stage: the base model, and the trials of continual pretraining."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.corpus.steps import CorpusSteps
from ccx_ray.errors import TrackingError
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.progress_table import Reading
from ccx_ray.orchestration.provenance import capture_provenance
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.training_spec import TrainingSpec
from ccx_ray.study.trials import Trial, base_seeds, trial_grid
from ccx_ray.tracking.runs import GROUP, flat_parameters
from ccx_ray.training.cost import log_cost
from ccx_ray.training.datasets import training_datasets

TRAINING = "training"
"""Pool of the trainings, of which as many run at once as the cluster holds."""
VERSION = 2
STATE_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class TrainingSteps:
    """The bases and the trials, which start from their last checkpoints."""

    bases: Mapping[str, Step]
    """By name."""
    trials: Mapping[Trial, Step]

    @property
    def base(self) -> Step:
        """The first base."""
        return self.bases["base"]


def training_steps(study: StudySpec, corpus: CorpusSteps) -> TrainingSteps:
    """The training part of a study's graph."""
    bases = {
        name: _step(
            name,
            {"model": study.model.model_dump(), **_identity(study.base), "seed": seed},
            {"stream": corpus.base_streams[name], "tokenizer": corpus.tokenizer},
            partial(_train, study, name),
        )
        for name, seed in base_seeds(study).items()
    }
    return TrainingSteps(
        bases=bases,
        trials={
            trial: _trial_step(study, trial, corpus, bases[trial.base])
            for trial in trial_grid(study)
        },
    )


def check_training(study: StudySpec) -> None:
    """Find what the model or the hardware cannot do. Imports Transformers."""
    from ccx_ray.training.capabilities import check_capabilities
    from ccx_ray.training.memory import check_memory
    from ccx_ray.training.model import check_architecture

    check_architecture(study.model)
    for part, training, runtime in (
        ("base", study.base, study.runtime.base),
        ("trials", study.trials, study.runtime.trials),
    ):
        check_capabilities(study.model, runtime, document_masks=training.document_masks, part=part)
    check_memory(study)


def _identity(training: TrainingSpec) -> dict[str, object]:
    identity = training.model_dump(
        include={"steps", "sequences_per_step", "optimizer", "document_masks", "watch"}
    )
    return {**identity, "checkpoints": training.checkpoint_steps}


def _trial_step(study: StudySpec, trial: Trial, corpus: CorpusSteps, base: Step) -> Step:
    return _step(
        trial.step,
        {**_identity(study.trials), "condition": trial.condition, "seed": trial.seed},
        {
            "base": base,
            "stream": corpus.trial_streams[trial.language, trial.seed],
            "tokenizer": corpus.tokenizer,
        },
        partial(_train, study, trial),
    )


def _step(name: str, identity: dict[str, object], needs: dict[str, Step], run: Any) -> Step:
    return Step(
        name=name,
        kind="training",
        version=VERSION,
        identity=identity,
        needs=needs,
        run=run,
        resumable=True,
        pool=TRAINING,
    )


def _train(study: StudySpec, trained: Trial | str, work: StepWork) -> Mapping[str, Any]:
    """Train a base or a trial."""
    from ccx_ray.storage.remote_folders import remote_storage_uri
    from ccx_ray.training.checkpoints import checkpoint_folder
    from ccx_ray.training.run import TrainingRun
    from ccx_ray.training.trainer import train

    trial = trained if isinstance(trained, Trial) else None
    name = trained.name if isinstance(trained, Trial) else trained
    seed = trained.seed if isinstance(trained, Trial) else base_seeds(study)[trained]
    stream = work.input("stream")
    storage = study.runtime.checkpoint_storage
    run = _open_run(study, name, trial, work)
    work.watch(lambda: _progress(work.folder))
    work.on_interrupt(partial(_save_state, work.folder))
    try:
        counts = train(
            TrainingRun(
                name=name,
                fingerprint=work.step.fingerprint,
                folder=work.folder,
                stream_folder=stream / trial.condition if trial else stream,
                tokenizer_folder=work.input("tokenizer"),
                training=study.trials if trial else study.base,
                model=study.model,
                initial_model=(
                    checkpoint_folder(work.input("base"), study.base.steps) if trial else None
                ),
                seed=seed,
                runtime=study.runtime.trials if trial else study.runtime.base,
                reader=study.runtime.data.reader,
                tracking_uri=work.tracking.uri,
                mlflow_run_id=run,
                checkpoint_storage=remote_storage_uri(storage) if storage else None,
            ),
            reserved=[study.runtime.evaluation.demand] * study.runtime.evaluation.evaluators,
        )
    except Exception:
        with suppress(TrackingError):  # which would hide why the training failed
            work.tracking.finish(run, failed=True)
        raise
    work.tracking.finish(run)
    log_cost(study, work)
    return counts


def run_kind(trial: Trial | None) -> str:
    """The tag ``ccx.kind`` of a training's MLflow run."""
    return "trial" if trial else "base"


def _open_run(study: StudySpec, name: str, trial: Trial | None, work: StepWork) -> str:
    """The MLflow run of this training, with its parameters and tags."""
    spec = study.trials if trial else study.base
    settings: dict[str, Any] = {
        "tokens_per_step": spec.sequences_per_step * study.sequence_length,
        "sequence_length": study.sequence_length,
        "model": study.model.model_dump(),
        **_identity(spec),
    }
    tags = {"mlflow.source.git.commit": capture_provenance()["commit"] or "unknown"}
    if trial is None:
        own = {"seed": base_seeds(study)[name]}
        tags[GROUP] = name
    else:
        settings |= {
            "mixture": study.trials.mixture.model_dump(),
            "pair_order": study.trials.pair_order,
        }
        own = {name: getattr(trial, name) for name in ("language", "condition", "seed", "base")}
        tags |= {f"ccx.{name}": str(own[name]) for name in ("language", "condition", "seed")}
        tags |= work.tracking.group_tags(
            f"{trial.language} {trial.condition}", fingerprint(settings)[:6]
        )
    run = work.tracking.open_run(
        name=name,
        kind=run_kind(trial),
        fingerprint=work.step.fingerprint,
        tags=tags,
        parameters=flat_parameters({**settings, **own}),
    )
    work.tracking.log_datasets(run, training_datasets(work, trial.condition if trial else None))
    return run


def _progress(folder: Path) -> Reading | None:
    try:
        state = json.loads((folder / "progress.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    note = f"loss {state['loss']:.3f}, {state['tokens_per_second']:,.0f} tokens/s"
    return state["step"], state["steps"], note


def _save_state(folder: Path, seconds: float) -> None:
    """Ask the workers for a state to resume from, and wait for it."""
    from ccx_ray.training.checkpoints import resume_steps
    from ccx_ray.training.run_time_files import request_save

    before, deadline = resume_steps(folder), time.monotonic() + seconds
    request_save(folder)
    while resume_steps(folder) == before and time.monotonic() < deadline:
        time.sleep(STATE_POLL_SECONDS)
