"""The study file: what is accepted, and what a mistake is answered with."""

from pathlib import Path

import pytest
import yaml

from ccx_ray.errors import UserError
from ccx_ray.study.loading import load_study, shipped_studies
from ccx_ray.study.trials import find_trial, trial_grid


def test_laptop_has_the_grid_of_sixteen():
    study, _ = load_study("laptop")
    names = [trial.name for trial in trial_grid(study)]
    assert len(names) == len(set(names)) == 16
    assert {name.split("-")[0] for name in names} == {"ko", "zh", "bo", "mn"}
    assert "mn-nobridge-s1" in names


def test_a_smaller_grid_by_override():
    study, _ = load_study("laptop", ["trials.languages=[bo]", "trials.seeds=[3]"])
    assert [trial.name for trial in trial_grid(study)] == ["bo-bridge-s3", "bo-nobridge-s3"]


def test_a_third_condition_by_override():
    study, _ = load_study(
        "laptop", ["trials.languages=[ko]", "trials.conditions=[bridge, nobridge, deranged]"]
    )
    names = [trial.name for trial in trial_grid(study)]
    assert names[:3] == ["ko-bridge-s0", "ko-nobridge-s0", "ko-deranged-s0"]
    assert len(names) == 6
    assert find_trial(study, "ko-deranged-s1").condition == "deranged"
    assert study.trials.streams == ("bridge", "nobridge", "deranged")
    assert load_study("laptop")[0].trials.streams == ("bridge", "nobridge")
    with pytest.raises(UserError, match=r"^trial: 'ko-deranged-s0' is not in study 'laptop'"):
        find_trial(load_study("laptop")[0], "ko-deranged-s0")


def test_checkpoints_by_count_follow_the_steps():
    study, _ = load_study("laptop", ["trials.steps=300"])
    assert study.trials.checkpoint_steps == (100, 200, 300)


def test_an_override_reaches_one_language():
    study, _ = load_study("laptop", ["languages.bo.name=Lhasa Tibetan"])
    assert study.language("bo").name == "Lhasa Tibetan"
    assert study.language("ko").name == "Korean"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trials.stepz=3", "trials.stepz: unknown field; did you mean 'steps'?"),
        ("trials.steps=abc", "trials.steps: 'abc'"),
        ("trials.steps='300'", "trials.steps: '300'"),
        ("trials.steps=true", "trials.steps: True"),
        ("trials.steps=-1", "trials.steps: -1"),
        ("trials.checkpoints=[20, 50]", "must end at the last step, 60"),
        ("trials.conditions=[bridges]", "'bridges'"),
        ("trials.conditions=[bridge, derange]", "trials.conditions.1: 'derange'"),
        ("trials.languages=[ko, xx]", "names xx"),
        ("languages.xx.name=X", "no element has the code 'xx'"),
        ("languages.ko.isolation={keep: [Hangul], remove: [Latin]}", "exactly one of"),
        ("runtime.trials.workers=3", "not a multiple"),
        ("name=../../etc", "name: '../../etc'"),
        ("model.hidden_size=97", "not a multiple of"),
        ("trials.optimizer.learning_rate=.nan", "learning_rate"),
        ("sequence_length=4096", "above model.max_positions"),
        ("trials.steps", "not of the form"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field(override: str, expected: str):
    with pytest.raises(UserError) as raised:
        load_study("laptop", [override])
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_study_names_the_shipped_ones():
    with pytest.raises(UserError, match="laptop"):
        load_study("laptob")


def test_a_file_of_ones_own_starts_its_paths_in_its_folder(tmp_path: Path):
    tree = yaml.safe_load(shipped_studies()["laptop"].read_text("utf-8"))
    tree["name"] = "mine"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(tree), "utf-8")
    study, root = load_study(str(path))
    assert (study.name, root) == ("mine", tmp_path.resolve())


def test_broken_yaml_is_one_line(tmp_path: Path):
    path = tmp_path / "broken.yaml"
    path.write_text("name: [", "utf-8")
    with pytest.raises(UserError, match=r"broken\.yaml: not valid YAML") as raised:
        load_study(str(path))
    assert "\n" not in str(raised.value)


def test_an_unknown_trial_names_the_grid():
    study, _ = load_study("laptop")
    assert find_trial(study, "ko-bridge-s1").seed == 1
    with pytest.raises(UserError, match="'ko-bridge-s7' is not in study 'laptop'"):
        find_trial(study, "ko-bridge-s7")
