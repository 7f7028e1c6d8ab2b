"""The graph of a whole study: the steps of every stage, in the order in which data flows.

This is the one place that knows all stages; each stage knows only those before it.
"""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from ccx_ray.analysis.control import find_control
from ccx_ray.analysis.declaration import read_declaration
from ccx_ray.analysis.steps import analysis_step
from ccx_ray.corpus.steps import check_corpus, corpus_steps
from ccx_ray.evaluation.steps import check_evaluation, evaluation_steps, filled_questions
from ccx_ray.frequency.models import check_frequency, statements_of
from ccx_ray.frequency.steps import frequency_steps
from ccx_ray.orchestration.graph import Graph, counted_reruns
from ccx_ray.storage.publishing import publish_json, storage_folder
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.spec import StudySpec
from ccx_ray.training.steps import check_training, training_steps
from ccx_ray.world.steps import check_world, world_step

RERUNS = "reruns.json"


def study_graph(
    study: StudySpec,
    inputs: InputFiles,
    reruns: Mapping[str, int] | None = None,
    study_folder: Path | None = None,
) -> Graph:
    """The graph of a study.

    Args:
        reruns: step name -> how often somebody has asked for it anew (``read_reruns``).
        study_folder: where imported reviews are kept (``frequency/steps.py``); the analyses of a
            control study lie beside it.
    """
    with counted_reruns(reruns or {}):
        return _study_graph(study, inputs, study_folder)


def _study_graph(study: StudySpec, inputs: InputFiles, study_folder: Path | None) -> Graph:
    world = world_step(study)
    if world is not None:
        inputs = inputs.planted_in((study_folder or Path()) / world.folder_name)
    questions = partial(filled_questions, study, inputs.text_root)
    statements = partial(statements_of, study, inputs.text_root)
    corpus = corpus_steps(study, inputs, questions, statements, world)
    training = training_steps(study, corpus)
    evaluations = evaluation_steps(study, inputs, corpus, training)
    frequency = frequency_steps(study, inputs, corpus, training, study_folder)
    control = find_control(study, study_folder.parent) if study_folder else None
    analysis = analysis_step(
        study,
        corpus,
        evaluations,
        frequency,
        world=world,
        control=control,
        declaration=read_declaration(study_folder),
    )
    return Graph([*corpus.texts.values(), analysis])


def check_study(study: StudySpec, root: Path) -> None:
    """Find a user's mistakes before any compute is spent: scripts, sources, probes, models."""
    check_world(study)
    find_control(study, storage_folder(study.runtime.storage))
    check_corpus(study, root)
    if study.world is None:
        check_evaluation(study, root)
    if study.interventions:
        from ccx_ray.corpus.interventions import check_interventions

        check_interventions(study, root, partial(statements_of, study, root))
    check_frequency(study, root)
    check_training(study)  # last, because it imports Transformers


def read_reruns(study_folder: Path) -> dict[str, int]:
    """Step name -> how often it was asked for anew."""
    path = study_folder / RERUNS
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {"steps": {}}
    # Before every step could be rerun, the file held the names of trials alone.
    old = {f"trial-{trial}": count for trial, count in content.items() if trial != "steps"}
    reruns: dict[str, int] = content.get("steps", old)
    return reruns


def count_reruns(study_folder: Path, steps: Iterable[str]) -> None:
    """Note that steps are to be computed anew."""
    reruns = read_reruns(study_folder)
    counted = {name: reruns.get(name, 0) + 1 for name in steps}
    publish_json(study_folder / RERUNS, {"steps": {**reruns, **counted}})
