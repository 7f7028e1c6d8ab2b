"""A finished study of a small planted world, whose every answer follows from the planted truth."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ccx_ray.analysis.measures.planted import read_planted
from ccx_ray.analysis.measures.transfer import read_answers
from ccx_ray.analysis.tables import AnalysisInputs
from ccx_ray.study.loading import load_study
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import trial_grid
from ccx_ray.world.files import TRUTH, write_world
from tests.finished_study import Question, write_evaluation

RELATIONS = 8
WORLD = {
    "languages": {"hi": {"script": "Greek"}, "lo": {"script": "Georgian", "imbalance": 62.0}},
    "entities_per_dose": 4,
    "statements": [0, 1, 63],
    "bridges": [0, 1, 3],
    "unknown_entities": 6,
    "shared": {"entities": 12, "asked": 6},
    "relations": RELATIONS,
}
LANGUAGES = [{"code": "hi", "name": "High"}, {"code": "lo", "name": "Low"}]

Known = Callable[[str, str, Mapping[str, Any]], int]
"""(run, language of the question, row of the truth) -> how many of an entity's 8 relations are
answered rightly; 2 are chance."""


def planted_spec(*overrides: str) -> StudySpec:
    """The small world's study."""
    fields = {"world": WORLD, "languages": LANGUAGES, "trials.seeds": [0, 1]}
    given = [f"{name}={json.dumps(value)}" for name, value in fields.items()]
    study, _ = load_study("control-quick", [*given, "analysis.bootstrap_samples=400", *overrides])
    return study


def write_planted(root: Path, study: StudySpec, known: Known) -> AnalysisInputs:
    """The study's world, and evaluations with the answers that ``known`` gives."""
    assert study.world is not None
    world = root / "world"
    world.mkdir()
    write_world(study.world, "en", world)
    truth = {
        str(culture): rows.to_dict("records")
        for culture, rows in pd.read_parquet(world / TRUTH).groupby("culture")
    }
    evaluations = {}
    for run in ("base", *(trial.name for trial in trial_grid(study))):
        cultures = list(truth) if run == "base" else [run.split("-")[0]]
        evaluations[run] = root / f"evaluate-{run}-0123456789ab"
        step = study.base.steps if run == "base" else study.trials.steps
        asked = {
            f"{culture}-{language}": [
                _question(row, right=row["relation"] < known(run, language, row))
                for row in truth[culture]
            ]
            for culture in cultures
            for language in ("en", culture)
        }
        write_evaluation(evaluations[run], run, step, asked)
    return AnalysisInputs(
        study=study, trials=trial_grid(study), evaluations=evaluations, frequencies={},
        trainings={}, markers={}, world=world,
    )  # fmt: skip


def planted_table(inputs: AnalysisInputs) -> pd.DataFrame:
    """The answers joined with the truth."""
    assert inputs.world is not None
    return read_planted(read_answers(inputs.study, inputs.trials, inputs.evaluations), inputs.world)


def stated_in(row: Mapping[str, Any]) -> set[str]:
    """The languages that state anything of a question's entity."""
    own = row["culture"]
    groups = {"base_only": {"en"}, "target_only": {own}, "both": {"en", own}}
    return groups.get(row["group"], set())


def as_hoped(run: str, language: str, row: Mapping[str, Any]) -> int:
    """The base knows what English states, trials what either language states; under bridge one
    relation more for each doubling of bridges and one where facts are stated more than once. Of the
    culture that is rare in English nothing moves out of English."""
    stated = stated_in(row)
    if language in stated:
        return 8 if language == "en" or run != "base" else 2
    rare = row["culture"] == "lo" and language == "lo"
    if "-bridge-" in run and stated and row["bridges"] and not rare:
        return 3 + row["bridges"].bit_length() + (row["statement_dose"] > 1)
    return 2


def _question(row: Mapping[str, Any], *, right: bool) -> Question:
    """Its group and cluster as the world's probe files name them."""
    return Question(
        scores=[1.0, 2.0, 3.0, 4.0],
        gold=0 if right else 2,
        group=row["group"],
        cluster=f"entity {row['entity']}",
    )
