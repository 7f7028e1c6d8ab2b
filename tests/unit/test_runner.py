"""The runner and the step folders, with steps that only write files."""

import io
import json
import multiprocessing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ccx_ray.errors import UserError
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.lock import driver_lock
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.runner import Outcome, Runner, StepWork
from ccx_ray.orchestration.step_folders import MARKER, StepFolders


def step(name: str, *upstream: Step, follows: tuple[Step, ...] = (), **identity: Any) -> Step:
    return Step(
        name=name, kind="write", version=1, identity=identity, upstream=upstream, follows=follows
    )


def run(
    graph: Graph, folder: Path, action: Callable[[StepWork], Mapping[str, Any]], limit: int = 99
) -> Outcome:
    with StudyProgress(graph, Console(file=io.StringIO())) as progress:
        runner = Runner(graph, StepFolders(folder), progress)
        runner.reuse()
        return runner.run({"write": action}, limit=lambda _: limit)


def write_name(work: StepWork) -> Mapping[str, Any]:
    (work.folder / "name.txt").write_text(work.step.name)
    return {"characters": len(work.step.name)}


def test_a_second_run_computes_nothing(tmp_path: Path):
    first = step("first")
    graph = Graph([step("second", first)])
    ran: list[str] = []

    def action(work: StepWork) -> Mapping[str, Any]:
        ran.append(work.step.name)
        return write_name(work)

    assert set(run(graph, tmp_path, action).states.values()) == {"done"}
    assert set(run(graph, tmp_path, action).states.values()) == {"reused"}
    assert ran == ["first", "second"]


def test_the_marker_holds_provenance(tmp_path: Path):
    only = step("only", size=3)
    run(Graph([only]), tmp_path, write_name)
    marker = json.loads((tmp_path / only.folder_name / MARKER).read_text())
    assert marker["identity"] == {"size": 3}
    assert marker["counts"] == {"characters": 4}
    assert marker["files"]["name.txt"]["bytes"] == 4
    assert marker["versions"]["numpy"]
    assert marker["started"] <= marker["finished"]


@pytest.mark.parametrize("damage", ["change", "remove", "add"])
def test_a_changed_result_is_an_error_that_names_the_file(tmp_path: Path, damage: str):
    only = step("only")
    run(Graph([only]), tmp_path, write_name)
    path = tmp_path / only.folder_name / "name.txt"
    if damage == "change":
        path.write_text("onlx")
    elif damage == "remove":
        path.unlink()
    else:
        path.with_name("more.txt").write_text("more")
    with pytest.raises(UserError, match="only cannot be reused"):
        run(Graph([only]), tmp_path, write_name)


def test_a_failure_stops_only_what_depends_on_it(tmp_path: Path):
    bad, good = step("bad"), step("good")
    graph = Graph([step("after-bad", bad), step("after-good", good)])

    def action(work: StepWork) -> Mapping[str, Any]:
        if work.step.name == "bad":
            (work.folder / "half.txt").write_text("half")
            raise ValueError("the disk is on fire")
        return write_name(work)

    outcome = run(graph, tmp_path, action)
    assert outcome.states == {
        "bad": "failed", "good": "done", "after-bad": "skipped", "after-good": "done",
    }  # fmt: skip
    assert outcome.errors == {"bad": "ValueError: the disk is on fire"}
    assert not (tmp_path / bad.folder_name).exists(), "half a result must not look like one"
    assert run(graph, tmp_path, write_name).complete


def test_a_follower_starts_while_the_step_it_follows_runs(tmp_path: Path):
    leader = step("leader")
    follower = step("follower", follows=(leader,))
    both = multiprocessing.get_context("spawn").Barrier(2)

    def action(work: StepWork) -> Mapping[str, Any]:
        both.wait(timeout=20)  # broken unless both run at the same time
        return write_name(work)

    assert run(Graph([follower]), tmp_path, action).complete


def test_the_limit_holds(tmp_path: Path):
    running: list[str] = []
    most: list[int] = []

    def action(work: StepWork) -> Mapping[str, Any]:
        running.append(work.step.name)
        most.append(len(running))
        running.remove(work.step.name)
        return write_name(work)

    graph = Graph([step(f"s{i}") for i in range(6)])
    assert run(graph, tmp_path, action, limit=1).complete
    assert max(most) == 1


def hold_lock(folder: str, held: Any, done: Any) -> None:
    with driver_lock(Path(folder)):
        held.set()
        done.wait(30)


def test_the_second_driver_refuses_and_a_killed_one_leaves_no_lock(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    process = context.Process(target=hold_lock, args=(str(tmp_path), held, done))
    process.start()
    assert held.wait(30)
    with pytest.raises(UserError, match="another driver"), driver_lock(tmp_path):
        pass
    process.kill()
    process.join()
    with driver_lock(tmp_path):
        pass
