"""What the driver tells Prometheus, read off real folders; and the thread that keeps it current."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccx_ray.corpus.steps import RECORDS, records_of
from ccx_ray.orchestration.gauges import Gauge, Gauges, Reading
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.runner import Runner
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.loading import load_study
from ccx_ray.study.training_spec import TrainingRuntime
from ccx_ray.study_gauges import DRIVER_GAUGES, watch_study
from ccx_ray.training.run_time_files import GROUPS, FailureBudget, log_restart

PRICE = 3.6
DONE, TRIAL = "text-ko", "trial-ko-bridge-s0"


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Of a text that is done, a trial that runs, and one that waits."""
    kinds = {DONE: "text", TRIAL: "training", "trial-ko-nobridge-s0": "training"}
    steps = [
        Step(name=name, kind=kind, version=1, identity={}, run=lambda work: {})
        for name, kind in kinds.items()
    ]
    graph = Graph(steps)
    runner = Runner(graph, StepFolders(tmp_path), StudyProgress(graph))
    runner.states |= {DONE: "done", TRIAL: "running"}
    (runner.folders.final(graph[TRIAL])).mkdir()
    return runner


@pytest.fixture
def gauges(runner: Runner) -> Gauges:
    study, _ = load_study("laptop", [f"runtime.cost.dollars_per_device_hour={PRICE}"])
    found = Gauges()
    watch_study(found, study, runner)
    return found


def values(gauges: Gauges) -> dict[tuple[str, ...], float]:
    return {(gauge.name, *tags): value for gauge, tags, value in gauges.read()}


def test_steps_and_trials_are_counted_by_state(gauges: Gauges) -> None:
    found = values(gauges)
    assert found["steps", "text", "done"] == found["steps", "training", "running"] == 1
    assert found["steps", "text", "failed"] == 0
    trials = {name[1]: value for name, value in found.items() if name[0] == "trials" and value}
    assert trials == {"running": 1, "waiting": 1}
    assert 0 < found["storage_free_bytes",] < found["storage_bytes",]


def test_a_training_is_read_off_its_folder(runner: Runner, gauges: Gauges) -> None:
    folder = runner.folders.final(runner.graph[TRIAL])
    name = TRIAL.removeprefix("trial-")
    assert values(gauges)["training_device_seconds", name] == 0
    log_restart(folder, GROUPS, workers=2, resumed_from=0)
    budget = FailureBudget(TrainingRuntime(), folder)
    budget.charge("preemption", "a node died")
    budget.charge("preemption", "a node died")
    publish_json(folder / "progress.json", {"step": 7, "device_seconds": 500.0})
    found = values(gauges)
    assert found["training_starts", name] == 1
    assert found["training_incidents", name, "preemption"] == 2
    assert found["training_incidents", name, "failure"] == 0
    assert found["training_dollars", name] == pytest.approx(500 / 3600 * PRICE)
    assert not any(tags[1:2] == ("ko-nobridge-s0",) for tags in found), "it has not begun"


def test_silence_grows_until_the_training_says_something_or_ends(
    runner: Runner, gauges: Gauges, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr("ccx_ray.study_gauges.time.monotonic", lambda: float(next(clock)))
    quiet = "training_quiet_seconds", TRIAL.removeprefix("trial-")
    next(clock)
    assert [values(gauges)[quiet] for _ in range(3)] == [0, 100, 200]
    publish_json(runner.folders.final(runner.graph[TRIAL]) / "progress.json", {"step": 1})
    assert [values(gauges)[quiet] for _ in range(2)] == [0, 100]
    runner.states[TRIAL] = "failed"
    assert [values(gauges)[quiet] for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("result", "records"),
    [
        ({"kind": "pairs", "blocks": [], "counts": {"read": 7}, "removed": {}}, 7),
        ({"documents": 5, "text_tokens": 900, "fallback": ""}, 5),
        ({"counts": {"documents": 7}, "rejected": {}, "first": ""}, 0),
        ({"content": "abc", "rows": 64}, 0),
    ],
)
def test_records_are_counted_once(result: dict[str, Any], records: int) -> None:
    assert records_of(result) == records


def test_counts_add_up() -> None:
    gauges = Gauges()
    for records in (3, 4):
        gauges.count(RECORDS, ("text-ko",), records)
    gauges.count(RECORDS, ("text-en",), 1)
    assert values(gauges) == {("corpus_records", "text-ko"): 7, ("corpus_records", "text-en"): 1}


def test_a_reader_that_fails_keeps_no_other_from_being_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def lost() -> Iterator[Reading]:
        yield Gauge("first", ""), (), 1.0
        raise OSError("stale file handle")

    gauges = Gauges()
    gauges.watch("storage", lost)
    gauges.watch("more", lambda: [(Gauge("second", ""), (), 2.0)])
    with caplog.at_level(logging.WARNING):
        assert values(gauges) == values(gauges)
    assert ("second",) in values(gauges)
    (warned,) = caplog.messages
    assert "storage" in warned and "stale file handle" in warned


def test_all_are_set_at_once_and_none_after_the_end() -> None:
    told, seen = threading.Event(), []

    def set_gauge(*reading: Any) -> None:
        seen.append(reading)
        told.set()

    gauges = Gauges()
    gauges.count(RECORDS, ("text-ko",), 3)
    with gauges.refreshed(set_gauge):
        assert told.wait(10)
    assert seen == [(RECORDS, ("text-ko",), 3)]


def test_names_are_told_apart() -> None:
    assert len({gauge.name for gauge in DRIVER_GAUGES}) == len(DRIVER_GAUGES)
