"""MLflow with a real SQLite store: runs are found again and no step is written twice."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import MetricLog, Tracking


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
