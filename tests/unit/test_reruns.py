"""Reruns: which steps are computed anew, and what is kept of what they replace."""

from pathlib import Path

import pytest

from ccx_ray.orchestration.graph import Graph
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.run import with_analysis_when_possible
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study
from ccx_ray.study_graph import RERUNS, count_reruns, read_reruns, study_graph


def graph_of(reruns: dict[str, int] | None = None) -> Graph:
    study, root = load_study("laptop")
    return study_graph(study, InputFiles(root), reruns)


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("trial-ko-bridge-s0", {"trial-ko-bridge-s0", "evaluate-ko-bridge-s0", "analysis"}),
        ("evaluate-mn-nobridge-s0", {"evaluate-mn-nobridge-s0", "analysis"}),
        ("validation", {"validation", "review", "analysis"}),
        ("analysis", {"analysis"}),
    ],
)
def test_a_rerun_moves_the_step_and_what_is_made_of_it(name: str, moved: set[str]) -> None:
    before, once, twice = graph_of(), graph_of({name: 1}), graph_of({name: 2})
    assert {n for n in before.steps if before[n].fingerprint != once[n].fingerprint} == moved
    assert {n for n in before.steps if twice[n].fingerprint != once[n].fingerprint} == moved
    assert once[name].replaced == before[name].fingerprint
    assert twice[name].replaced == once[name].fingerprint
    assert before[name].replaced is None


def test_reruns_are_counted_and_those_of_earlier_versions_are_kept(tmp_path: Path) -> None:
    assert read_reruns(tmp_path) == {}
    publish_json(tmp_path / RERUNS, {"ko-bridge-s0": 2})
    assert read_reruns(tmp_path) == {"trial-ko-bridge-s0": 2}
    count_reruns(tmp_path, ["analysis", "trial-ko-bridge-s0"])
    assert read_reruns(tmp_path) == {"trial-ko-bridge-s0": 3, "analysis": 1}


def test_the_analysis_is_made_again_when_nothing_else_is_missing(tmp_path: Path) -> None:
    folders, done = StepFolders(tmp_path), graph_of()
    for step in done.steps.values():
        folders.final(step).mkdir()
        publish_json(folders.final(step) / "_complete.json", {})

    def targets(name: str) -> list[str]:
        graph = graph_of({name: 1})
        return [step.name for step in with_analysis_when_possible(graph, folders, [name])]

    trial, evaluation = "trial-ko-bridge-s0", "evaluate-ko-bridge-s0"
    assert targets(trial) == [trial, evaluation, "analysis"]
    assert targets("frequency-ko") == ["frequency-ko", "analysis"]
    (folders.final(done["evaluate-zh-bridge-s0"]) / "_complete.json").unlink()
    assert targets(trial) == [trial, evaluation]
