"""The runner and the step folders, with steps that only write files."""

import atexit
import functools
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console

from ccx_ray.cli.command import exit_code
from ccx_ray.cli.outcome import print_outcome
from ccx_ray.errors import InputError, UserError
from ccx_ray.orchestration.driver import Interrupted, driver_lock
from ccx_ray.orchestration.graph import Graph, Step, counted_reruns
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.record import RunRecord, read_record, request_stop
from ccx_ray.orchestration.runner import Outcome, Runner, Services, StepWork
from ccx_ray.orchestration.step_folders import MARKER, StepFolders
from ccx_ray.run import StudyRun
from ccx_ray.study.loading import load_study
from ccx_ray.tracking.runs import Tracking

Action = Callable[[StepWork], Mapping[str, Any]]


def step(
    name: str, *upstream: Step, follows: Step | None = None, pool: str = "", **identity: Any
) -> Step:
    """A step that does what ``run`` is told."""
    return Step(
        name=name,
        kind="write",
        version=1,
        identity=identity,
        run=lambda work: ACTIONS[work.study_folder](work),
        needs={"inputs": {other.name: other for other in upstream}},
        follows=follows,
        pool=pool,
    )


ACTIONS: dict[Path, Action] = {}


@functools.cache
def tracking() -> Tracking:
    """One for all tests of this process: a new database takes seconds."""
    folder = Path(tempfile.mkdtemp(prefix="tracking-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Tracking(f"sqlite:///{folder / 'mlflow.db'}", study="s", storage=folder)


def run(
    graph: Graph, folder: Path, action: Action, limit: int = 99, *, every_byte: bool = False
) -> Outcome:
    ACTIONS[folder] = action
    with StudyProgress(graph, Console(file=io.StringIO())) as progress:
        runner = Runner(graph, StepFolders(folder), progress)
        runner.reuse(every_byte=every_byte)
        return runner.run(Services(tracking()), limit=lambda _: limit)


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
    follower = step("follower", follows=leader)
    both = multiprocessing.get_context("spawn").Barrier(2)

    def action(work: StepWork) -> Mapping[str, Any]:
        both.wait(timeout=20)  # broken unless both run at the same time
        return write_name(work)

    assert run(Graph([follower]), tmp_path, action).complete


def test_the_limit_of_a_pool_holds_for_the_sum_of_its_kinds(tmp_path: Path):
    running: set[str] = set()
    most: list[int] = []

    def action(work: StepWork) -> Mapping[str, Any]:
        if work.step.pool:
            running.add(work.step.name)
            time.sleep(0.05)
            most.append(len(running))
            running.remove(work.step.name)
        return write_name(work)

    data = [replace(step(f"s{i}", pool="data"), kind=f"kind{i}") for i in range(7)]
    assert run(Graph([*data, step("free")]), tmp_path, action, limit=2).complete
    assert max(most) == 2


def test_damage_that_keeps_size_and_time_is_found_when_every_byte_is_read(tmp_path: Path):
    only = step("only")
    run(Graph([only]), tmp_path, write_name)
    path = tmp_path / only.folder_name / "name.txt"
    before = path.stat()
    path.write_text("onlx")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    run(Graph([only]), tmp_path, write_name)
    with pytest.raises(UserError, match=r"name\.txt: changed since it was written"):
        run(Graph([only]), tmp_path, write_name, every_byte=True)


def test_a_start_reads_only_files_whose_time_of_change_is_another(tmp_path: Path):
    only = step("only")
    run(Graph([only]), tmp_path, write_name)
    path = tmp_path / only.folder_name / "name.txt"
    assert times_opened(path, lambda: run(Graph([only]), tmp_path, write_name)) == 0
    os.utime(path, ns=(0, 1))  # as a copy of the study, say
    assert times_opened(path, lambda: run(Graph([only]), tmp_path, write_name)) > 0
    assert times_opened(path, lambda: run(Graph([only]), tmp_path, write_name)) == 0


def times_opened(path: Path, act: Callable[[], object]) -> int:
    """How often a file is opened during ``act``."""
    opened: list[str] = []
    HOOKED.append(opened)
    try:
        act()
    finally:
        HOOKED.remove(opened)
    return opened.count(str(path))


HOOKED: list[list[str]] = []


def note_opening(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        for opened in HOOKED:
            opened.append(str(arguments[0]))


sys.addaudithook(note_opening)


STOPPED = """
import sys, threading, time
from pathlib import Path
from tests.unit.test_runner import run, step
from ccx_ray.orchestration.graph import Graph
from ccx_ray.cli.command import run_command

def action(work):
    work.on_interrupt(lambda seconds: Path(sys.argv[1], "saved").write_text("state"))
    print("running", flush=True)
    time.sleep(600)
    return {}

run_command(lambda: run(Graph([step("endless")]), Path(sys.argv[1]), action))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_while_its_step_goes_on(tmp_path: Path, number: signal.Signals):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)  # the step would take 600 s
    assert process.returncode == 128 + number
    assert "interrupted; give the same command again to continue" in errors
    assert (tmp_path / "saved").read_text() == "state"


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


def test_what_is_wrong_with_an_input_is_the_jobs_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Once, and not beside the other steps' causes, with the exit code of a user's mistake."""
    graph = Graph([step("second", step("first")), step("third")])
    line = "a.jsonl: file ends in the middle at line 3; give the whole file"
    console = io.StringIO()

    def action(work: StepWork) -> Mapping[str, Any]:
        if work.step.name == "first":
            raise InputError(line)
        return write_name(work)

    ACTIONS[tmp_path] = action
    study, _ = load_study("laptop")
    with StudyProgress(graph, Console(file=console)) as progress:
        runner = Runner(graph, StepFolders(tmp_path), progress)
        outcome = runner.run(Services(tracking()), limit=lambda _: 9)
    found = StudyRun(
        study=study,
        graph=graph,
        outcome=outcome,
        folders=runner.folders,
        tracking_uri="sqlite:///x",
        seconds=1,
    )
    assert outcome.states == {"first": "failed", "second": "skipped", "third": "done"}
    assert "first: failed\n" in console.getvalue()
    print_outcome(found)
    assert exit_code(found) == 2
    said = capsys.readouterr()
    assert said.err == f"error: {line}\n"
    assert line not in said.out + console.getvalue()
    outcome.mistakes.clear()
    assert exit_code(found) == 1


def test_what_a_text_warns_of_is_said_also_when_it_is_reused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    graph = Graph([step("text-ko")])
    line = "languages.ko.monolingual: nothing is kept in 1 of 2 files of '*.jsonl': a.jsonl (empty)"
    for action in (lambda work: {"warnings": [line]}, write_name):
        outcome = run(graph, tmp_path, action)
        study, _ = load_study("laptop")
        folders = StepFolders(tmp_path)
        print_outcome(
            StudyRun(
                study=study,
                graph=graph,
                outcome=outcome,
                folders=folders,
                tracking_uri="sqlite:///x",
                seconds=1,
            )
        )
        assert f"warning  {line}\n" in capsys.readouterr().out


def test_a_run_that_is_asked_to_stop_saves_and_ends_as_by_a_signal(tmp_path: Path):
    folder, graph, saved = tmp_path / "s", Graph([step("endless")]), threading.Event()

    def action(work: StepWork) -> Mapping[str, Any]:
        work.on_interrupt(lambda seconds: saved.set())
        request_stop(folder)
        time.sleep(60)
        return {}

    ACTIONS[folder] = action
    folder.mkdir()
    with (
        pytest.raises(Interrupted) as ended,
        RunRecord(folder, graph, graph.steps, {}) as record,
        StudyProgress(graph, Console(file=io.StringIO()), record) as progress,
    ):
        Runner(graph, StepFolders(folder), progress).run(Services(tracking()), limit=lambda _: 9)
    assert ended.value.exit_code == 128 + signal.SIGTERM
    assert saved.is_set()
    _, state = read_record(folder) or ({}, {})
    assert (state["outcome"], state["steps"]["endless"]["state"]) == ("stopped", "running")
    with RunRecord(folder, graph, graph.steps, {}) as record:
        assert not record.is_stop_requested(), "the request was of the run before"


def test_a_rerun_names_the_run_that_it_replaces(tmp_path: Path):
    """The old folder stays, and the old MLflow run is tagged with the new one."""

    def record_it(work: StepWork) -> Mapping[str, Any]:
        work.record({"a": 1.0})
        return write_name(work)

    old = step("measured", of=str(tmp_path))
    run(Graph([old]), tmp_path, record_it)
    with counted_reruns({"measured": 1}):
        new = step("measured", of=str(tmp_path))
    run(Graph([new]), tmp_path, record_it)
    assert StepFolders(tmp_path).is_done(old)
    assert StepFolders(tmp_path).is_done(new)
    runs = [tracking().find_run("write", one.fingerprint) for one in (old, new)]
    client = MlflowClient(tracking_uri=tracking().uri)
    assert client.get_run(runs[0]).data.tags["ccx.superseded_by"] == runs[1]
    assert "ccx.superseded_by" not in client.get_run(runs[1]).data.tags
