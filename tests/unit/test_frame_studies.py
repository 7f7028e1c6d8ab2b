"""The shipped studies load, plan, and are what the paper's facts say."""

from pathlib import Path

import pytest

from ccx_ray.cli.plan import plan_study
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study, shipped_studies
from ccx_ray.study.trials import base_seeds, trial_grid
from ccx_ray.study_graph import study_graph


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_a_shipped_study_loads_and_plans_without_its_text(name: str, tmp_path: Path):
    study, root = load_study(name)
    assert study.name == name
    graph = study_graph(study, InputFiles(root, allow_missing=True))
    plan = plan_study(study, graph, StepFolders(tmp_path), flops_per_token=1.0)
    trained = {item.step.name for item in plan if item.cost.tokens}
    assert trained == {*base_seeds(study), *(f"trial-{trial.name}" for trial in trial_grid(study))}
    assert not any(item.done for item in plan)


@pytest.mark.parametrize("name", ["laptop", "paper", "pilot"])
def test_probe_files_of_a_shipped_study_are_in_the_project(name: str):
    study, root = load_study(name)
    for language in study.languages:
        for file in (language.probes.english, language.probes.target):
            assert (root / file).is_file(), file


def test_the_laptop_studys_text_is_in_the_project():
    study, root = load_study("laptop")
    files = [*study.base_language.monolingual]
    for language in study.languages:
        files += [*language.monolingual, *language.parallel]
    assert [file.path for file in files if not (root / file.path).is_file()] == []


def test_the_paper_study_is_the_papers_size(tmp_path: Path):
    study, root = load_study("paper")
    graph = study_graph(study, InputFiles(root, allow_missing=True))
    tokens = {
        item.step.name: item.cost.tokens
        for item in plan_study(study, graph, StepFolders(tmp_path), flops_per_token=1.0)
    }
    assert len(trial_grid(study)) == 16
    assert tokens["base"] == pytest.approx(5e9, rel=0.001)
    assert tokens["trial-mn-nobridge-s1"] == pytest.approx(1500 * 0.5e6, rel=0.05)


def test_the_pilot_is_one_pair_of_300_steps():
    study, _ = load_study("pilot")
    assert [trial.name for trial in trial_grid(study)] == ["ko-bridge-s0", "ko-nobridge-s0"]
    assert study.trials.steps == 300
    assert study.model == load_study("paper")[0].model
