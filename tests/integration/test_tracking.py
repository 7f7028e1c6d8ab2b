"""MLflow with a real SQLite store: runs are found again and no step is written twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ccx_ray.tracking.datasets import Dataset
from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import GROUP, MetricLog, Tracking


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    storage = tmp_path_factory.mktemp("tracking")
    return Tracking(default_tracking_uri(storage), study="tiny", storage=storage)


def test_a_run_is_found_again_by_its_fingerprint(tracking: Tracking):
    first = tracking.open_run(
        name="ko-bridge-s0", kind="trial", fingerprint="f1", tags={"ccx.language": "ko"},
        parameters={"steps": 3},
    )  # fmt: skip
    tracking.finish(first, failed=True)
    assert tracking.open_run(name="ko-bridge-s0", kind="trial", fingerprint="f1") == first
    other = tracking.open_run(name="ko-bridge-s0", kind="trial", fingerprint="f2")
    assert other != first
    run = MlflowClient(tracking.uri).get_run(first)
    assert "mlflow.parentRunId" not in run.data.tags, "MLflow's page opens with children collapsed"
    assert run.data.tags["ccx.language"] == "ko"
    assert run.data.params["steps"] == "3"
    assert run.info.status == "RUNNING"


def test_a_restart_doubles_no_step(tracking: Tracking):
    run = tracking.open_run(name="base", kind="base", fingerprint="b")
    before = MetricLog(tracking.uri, run)
    for step in range(1, 6):
        before.log(step, {"train/loss": 10.0 - step})
    before.close()
    after = MetricLog(tracking.uri, run)
    for step in range(3, 9):
        after.log(step, {"train/loss": 10.0 - step, "train/learning_rate": 0.1})
    after.close()
    client = MlflowClient(tracking.uri)
    losses = {m.step: m.value for m in client.get_metric_history(run, "train/loss")}
    assert len(client.get_metric_history(run, "train/loss")) == 8
    assert losses == {step: 10.0 - step for step in range(1, 9)}
    assert len(client.get_metric_history(run, "train/learning_rate")) == 6


def test_a_second_driver_process_finds_the_same_experiment(tracking: Tracking, tmp_path: Path):
    again = Tracking(tracking.uri, study="tiny", storage=tmp_path)
    assert again.parent == tracking.parent


def test_a_revised_value_follows_the_first_and_an_equal_one_is_left_alone(tracking: Tracking):
    run = tracking.open_run(name="revised", kind="analysis", fingerprint="r")
    for value in (0.25, 0.25, 0.5):
        log = MetricLog(tracking.uri, run)
        log.log(30, {"transfer/en-ko": value}, revised=True)
        log.log(30, {"train/loss": value})
        log.close()
    client = MlflowClient(tracking.uri)
    assert [m.value for m in client.get_metric_history(run, "transfer/en-ko")] == [0.25, 0.5]
    assert client.get_run(run).data.metrics == {"transfer/en-ko": 0.5, "train/loss": 0.25}


def test_a_checkpoint_is_one_logged_model_whoever_was_killed(tracking: Tracking):
    run = tracking.open_run(name="models", kind="trial", fingerprint="m")
    about = {"name": "ko-bridge-s0", "parameters": {"sha256": "ab"}, "tags": {"ccx.kind": "trial"}}
    first = tracking.models(run).log(30, **about)
    assert tracking.models(run).log(30, **about) == first
    second = tracking.models(run).log(60, **about)
    client = MlflowClient(tracking.uri)
    models = client.search_logged_models([tracking.experiment])
    assert {(m.model_id, m.params["step"]) for m in models} == {(first, "30"), (second, "60")}
    outputs = client.get_run(run).outputs.model_outputs
    assert {(one.model_id, one.step) for one in outputs} == {(first, 30), (second, 60)}


def test_trials_of_other_settings_are_a_group_of_their_own(tmp_path: Path):
    tracking = Tracking(default_tracking_uri(tmp_path), study="groups", storage=tmp_path)
    opened = {}
    for name, settings in (("first", "aaaaaa"), ("same", "aaaaaa"), ("other", "bbbbbb")):
        tags = tracking.group_tags("ko bridge", settings)
        opened[name] = tracking.open_run(name=name, kind="trial", fingerprint=name, tags=tags)
    client = MlflowClient(tracking.uri)

    def group(name: str) -> str:
        found: str = client.get_run(opened[name]).data.tags[GROUP]
        return found

    assert [*map(group, opened)] == ["ko bridge", "ko bridge", "ko bridge, settings bbbbbb"]
    tracking.supersede("first", "same")
    assert group("first") == "superseded"


def test_runs_that_begin_at_once_note_the_same_new_data_set(tmp_path: Path):
    tracking = Tracking(default_tracking_uri(tmp_path), study="datasets", storage=tmp_path)
    runs = [tracking.open_run(name=f"r{n}", kind="trial", fingerprint=f"d{n}") for n in range(8)]
    texts = [
        Dataset(name=f"text-{n}", digest="ab12", uri="file:///t", size={"num_rows": 1},
                context="training")
        for n in range(20)
    ]  # fmt: skip
    together = threading.Barrier(len(runs))

    def note(run: str) -> None:
        together.wait()
        for text in texts:
            tracking.log_datasets(run, [text])

    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(note, runs))
    client = MlflowClient(tracking.uri)
    for run in runs:
        noted = client.get_run(run).inputs.dataset_inputs
        assert sorted(one.dataset.name for one in noted) == sorted(text.name for text in texts)
