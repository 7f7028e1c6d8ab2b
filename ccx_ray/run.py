"""Runs a study: checks it, takes the lock, reuses what is done, and computes the rest on Ray."""

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccx_ray.analysis.declaration import declare
from ccx_ray.analysis.study_views import view_tags
from ccx_ray.corpus.steps import BACKGROUND, DATA
from ccx_ray.errors import TrackingError, UserError
from ccx_ray.orchestration.cluster import (
    connected_cluster,
    exported_gauges,
    is_attached,
    node_resources,
)
from ccx_ray.orchestration.driver import driver_lock
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.provenance import hide_credentials
from ccx_ray.orchestration.record import RunRecord
from ccx_ray.orchestration.runner import Outcome, Runner, Services
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.storage.hashing import KnownHashes
from ccx_ray.storage.publishing import resolve_storage, storage_folder
from ccx_ray.storage.remote_folders import check_remote_storage
from ccx_ray.study.input_identity import INPUT_HASHES, InputFiles
from ccx_ray.study.loading import PROJECT_ROOT
from ccx_ray.study.spec import StudySpec
from ccx_ray.study_gauges import watch_study
from ccx_ray.study_graph import check_study, count_reruns, read_reruns, study_graph
from ccx_ray.tracking.places import check_tracking_server, default_tracking_uri
from ccx_ray.tracking.runs import Tracking
from ccx_ray.training.capacity import check_evaluators, training_slots
from ccx_ray.training.size import model_size
from ccx_ray.training.steps import TRAINING

DATA_STEPS_AT_ONCE = 2
PARENT = "end of the study's MLflow run"
MARK_SECONDS = 3.0
"""How long an interrupted run waits for MLflow to note it."""

Targets = Callable[[Graph, StepFolders], Iterable[Step]]
"""The steps that are wanted, chosen from a study's graph and what is done of it."""


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """What a job reports of: the outcome of every step, and where things are."""

    study: StudySpec
    graph: Graph
    outcome: Outcome
    folders: StepFolders
    tracking_uri: str
    seconds: float


def run_study(
    study: StudySpec,
    root: Path,
    *,
    targets: Targets,
    rerun: Collection[str] = (),
    verify: bool = False,
) -> StudyRun:
    """Run what the target steps need and is not done yet.

    Args:
        root: folder that the study's relative data paths start from.
        rerun: names of steps to compute anew, and with them what is made of them; what they made
            before is kept, and replaced in the analysis.
        verify: read every byte of what is done, not only what seems to have changed.

    Raises:
        UserError: a mistake in the study, its files or its storage.
        Interrupted: SIGINT, SIGTERM or SIGHUP came; the same command continues.
    """
    started = time.monotonic()
    study_folder = storage_folder(study.runtime.storage) / study.name
    known = KnownHashes(None if verify else study_folder / INPUT_HASHES)
    inputs = InputFiles(root, known=known)
    study_graph(study, inputs)  # names missing files before anything is created
    check_study(study, root)
    storage = resolve_storage(study.runtime.storage)
    if study.runtime.checkpoint_storage is not None:
        check_remote_storage(study.runtime.checkpoint_storage)
    if study.runtime.tracking_uri:
        check_tracking_server(study.runtime.tracking_uri)
    tracking_uri = study.runtime.tracking_uri or default_tracking_uri(storage)
    folders = StepFolders(study_folder)
    with driver_lock(folders.root):
        if rerun:
            count_reruns(folders.root, rerun)
        known.save()
        declare(study, folders.root)
        whole = study_graph(study, inputs, read_reruns(folders.root), folders.root)
        wanted = list(targets(whole, folders))
        graph = whole.needed_for(wanted)
        size = model_size(study.model, study.tokenizer.vocabulary_size)
        per_token = size.flops_per_token(study.sequence_length)
        about = about_run(study, root, wanted, flops_per_token=per_token)
        with (
            RunRecord(folders.root, whole, graph.steps, about) as record,
            StudyProgress(graph, record=record) as progress,
        ):
            runner = Runner(graph, folders, progress)
            outcome = runner.reuse(every_byte=verify)
            if not outcome.complete:
                tracking = Tracking(tracking_uri, study=study.name, storage=storage)
                tracking.tag_experiment(view_tags(study))
                try:
                    with connected_cluster():
                        outcome = _compute(study, tracking, runner)
                except UserError:
                    with suppress(TrackingError):
                        tracking.finish(tracking.parent, failed=True)
                    raise
    return StudyRun(
        study=study,
        graph=graph,
        outcome=outcome,
        folders=folders,
        tracking_uri=tracking_uri,
        seconds=time.monotonic() - started,
    )


def with_analysis_when_possible(
    graph: Graph, folders: StepFolders, names: Iterable[str]
) -> list[Step]:
    """The steps of these names with those that follow them, such as a trial's evaluation; and the
    analysis too where nothing is missing for it but them, what they need and what is made of them.
    """
    steps = [graph[name] for name in names]
    followers = [step for step in graph.steps.values() if step.follows in steps]
    targets = [*steps, *followers]
    own = {*graph.needed_for(targets).steps}
    made = {step.name for step in targets}
    for step in graph.steps.values():  # each comes after what it needs
        if any(needed.name in made for needed in step.before):
            made.add(step.name)
    others = (step for step in graph.steps.values() if step.name not in own | made)
    return [*targets, graph["analysis"]] if all(map(folders.is_done, others)) else targets


def about_run(
    study: StudySpec, root: Path, wanted: Iterable[Step], *, flops_per_token: float
) -> dict[str, Any]:
    """What ``jobs/status.py`` must know of a run, to tell how it stands and to resume it."""
    return {
        "study": study.name,
        "spec": hide_credentials(study.model_dump(mode="json")),
        # A shipped study starts from the project wherever that lies.
        "root": None if root == PROJECT_ROOT else str(root),
        "targets": [step.name for step in wanted],
        "flops_per_token": flops_per_token,
    }


def _compute(study: StudySpec, tracking: Tracking, runner: Runner) -> Outcome:
    """Run the steps that are not done, on the cluster that this process is connected to."""
    runtime = study.runtime
    if not all(map(runner.folders.is_done, runner.graph.of_kind("evaluation"))):
        check_evaluators(runtime, node_resources(), may_grow=is_attached())

    def limit(pool: str) -> int | None:
        """How many steps of a pool may run at once."""
        if pool == TRAINING:
            return training_slots(runtime, node_resources(), may_grow=is_attached())
        return {DATA: DATA_STEPS_AT_ONCE, BACKGROUND: 1}.get(pool)

    try:
        with Services(tracking) as services, exported_gauges(services.gauges, study.name):
            watch_study(services.gauges, study, runner)
            outcome = runner.run(services, limit=limit)
    except KeyboardInterrupt:
        tracking.interrupt(MARK_SECONDS)
        raise
    try:
        tracking.finish(tracking.parent, failed=not outcome.complete)
    except TrackingError as error:
        outcome.errors[PARENT] = str(error)
        outcome.outages.add(PARENT)
    return outcome
