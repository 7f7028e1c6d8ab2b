"""Binds every kind of step to the stage that does it, and runs a study.

This is the one place that knows all stages; each stage knows only those before it in the flow.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.corpus.cleaning.language_identification import check_language_codes
from ccx_ray.corpus.cleaning.scripts import check_script_names
from ccx_ray.corpus.reading.sources import check_source
from ccx_ray.corpus.reading.text_sources import text_sources
from ccx_ray.evaluation.probes import load_culture
from ccx_ray.frequency_stage import check_frequency
from ccx_ray.orchestration.cluster import check_evaluators, connected_cluster, training_slots
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.lock import driver_lock
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.runner import Outcome, Runner
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.stages import StageActions
from ccx_ray.storage.publishing import publish_json, resolve_storage
from ccx_ray.storage.remote_folders import check_remote_storage
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import RuntimeSpec, StudySpec
from ccx_ray.study.steps import read_reruns, reruns_file, study_graph
from ccx_ray.study.trials import Trial
from ccx_ray.tracking.runs import Tracking, default_tracking_uri
from ccx_ray.training.capabilities import check_capabilities
from ccx_ray.training.memory import check_memory
from ccx_ray.training.model import check_architecture

# Concurrent Ray Data executions starve each other on a small cluster (ray#24304).
DATA_STEPS_AT_ONCE = 2
KINDS_OF_DATA = (
    "text", "tokenizer", "tokens", "stream", "audit", "lexicon", "index", "frequency", "validation",
)  # fmt: skip
NO_LIMIT = 1_000


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """What a job reports of: the outcome of every step, and where things are."""

    study: StudySpec
    graph: Graph
    outcome: Outcome
    folders: StepFolders
    tracking_uri: str
    seconds: float


def check_study(study: StudySpec, root: Path) -> None:
    """Find a user's mistakes before any compute is spent: scripts, sources, probes, architecture.

    Raises:
        UserError: the first mistake.
    """
    for language in (study.base_language, *study.languages):
        field = f"languages.{language.code}"
        check_script_names(language.isolation, f"{field}.isolation")
        check_language_codes(language.isolation, language.code, f"{field}.isolation")
        for source, source_field in text_sources(language):
            check_source(source.spec, sides=source.sides, root=root, field=source_field)
    for language in study.languages:
        load_culture(language, root)
    check_frequency(study, root)
    # The last ones, because they import Transformers.
    check_architecture(study.model)
    for part, training, runtime in (
        ("base", study.base, study.runtime.base),
        ("trials", study.trials, study.runtime.trials),
    ):
        check_capabilities(study.model, runtime, document_masks=training.document_masks, part=part)
    check_memory(study)


def run_study(
    study: StudySpec,
    root: Path,
    *,
    targets: Callable[[Graph, StepFolders], Iterable[Step]],
    rerun: Trial | None = None,
) -> StudyRun:
    """Run what the target steps need and is not done yet.

    Args:
        root: folder that the study's relative data paths start from.
        targets: the steps that are wanted, chosen from the study's graph and what is done of it.
        rerun: a trial to train anew; its earlier run is kept and replaced in the analysis.

    Raises:
        UserError: a mistake in the study, its files or its storage.
    """
    started = time.monotonic()
    study_graph(study, InputFiles(root))  # names missing files before anything is created
    check_study(study, root)
    storage = resolve_storage(study.runtime.storage)
    if study.runtime.checkpoint_storage is not None:
        check_remote_storage(study.runtime.checkpoint_storage)
    folders = StepFolders(storage / study.name)
    tracking_uri = study.runtime.tracking_uri or default_tracking_uri(storage)
    with driver_lock(folders.root):
        if rerun is not None:
            _ask_again(folders.root, rerun)
        reruns = read_reruns(folders.root)
        whole = study_graph(study, InputFiles(root), reruns, folders.root)
        graph = whole.needed_for(targets(whole, folders))
        with StudyProgress(graph) as progress:
            runner = Runner(graph, folders, progress)
            outcome = runner.reuse()
            if not outcome.complete:
                with connected_cluster():
                    if not all(map(folders.is_done, graph.of_kind("evaluation"))):
                        check_evaluators(study.runtime)
                    tracking = Tracking(tracking_uri, study=study.name, storage=storage)
                    with StageActions(
                        study=study,
                        root=root,
                        tracking=tracking,
                        folders=folders,
                        reruns=reruns,
                    ) as actions:
                        outcome = runner.run(
                            actions.by_kind(), limit=partial(_limit, runtime=study.runtime)
                        )
                tracking.finish(tracking.parent, failed=not outcome.complete)
    return StudyRun(
        study=study,
        graph=graph,
        outcome=outcome,
        folders=folders,
        tracking_uri=tracking_uri,
        seconds=time.monotonic() - started,
    )


def with_analysis_when_possible(graph: Graph, folders: StepFolders, step: Step) -> list[Step]:
    """``step``, and the analysis too when nothing else than ``step`` is missing for it."""
    analysis = graph["analysis"]
    own = graph.needed_for([step]).steps
    others = (s for s in graph.steps.values() if s.name not in own and s is not analysis)
    return [step, analysis] if all(map(folders.is_done, others)) else [step]


def _limit(kind: str, *, runtime: RuntimeSpec) -> int:
    if kind == "training":
        return training_slots(runtime)
    return DATA_STEPS_AT_ONCE if kind in KINDS_OF_DATA else NO_LIMIT


def _ask_again(study_folder: Path, trial: Trial) -> None:
    reruns: dict[str, Any] = read_reruns(study_folder)
    reruns[trial.name] = reruns.get(trial.name, 0) + 1
    publish_json(reruns_file(study_folder), reruns)
