"""The driver logs to a real MLflow what a training writes down: each step once."""

import json
import time
from pathlib import Path

import pytest

from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import Tracking
from ccx_ray.training.metrics import STEP_LINES, MetricFollower


def line(step: int, loss: float) -> str:
    return json.dumps({"step": step, "metrics": {"loss": loss, "workers": 1.0}})


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return Tracking(default_tracking_uri(tmp_path), study="tiny", storage=tmp_path)


def points(tracking: Tracking, run: str) -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    history = MlflowClient(tracking.uri).get_metric_history(run, "train/loss")
    return sorted((point.step, point.value) for point in history)


def test_steps_appear_while_they_are_written(tmp_path: Path, tracking: Tracking) -> None:
    run = tracking.open_run(name="ko-bridge-s0", kind="trial", fingerprint="f")
    lines = tmp_path / STEP_LINES
    with MetricFollower(tmp_path, tracking_uri=tracking.uri, mlflow_run_id=run):
        lines.write_text(line(1, 3.5) + "\n" + line(2, 3.25) + "\n" + line(3, 9.0)[:7])
        deadline = time.monotonic() + 60
        while len(points(tracking, run)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert points(tracking, run) == [(1, 3.5), (2, 3.25)]
        # The third line was torn by a kill; the step is done again.
        with lines.open("a") as file:
            file.write("\n" + line(3, 3.125) + "\n")
    assert points(tracking, run) == [(1, 3.5), (2, 3.25), (3, 3.125)]


def test_a_second_driver_adds_what_the_first_did_not_see(
    tmp_path: Path, tracking: Tracking
) -> None:
    run = tracking.open_run(name="ko-bridge-s0", kind="trial", fingerprint="f")
    lines = tmp_path / STEP_LINES
    for text in (line(1, 3.5) + "\n", line(1, 3.5) + "\n" + line(2, 3.0) + "\n"):
        with lines.open("a") as file:
            file.write(text)
        with MetricFollower(tmp_path, tracking_uri=tracking.uri, mlflow_run_id=run):
            pass
    assert points(tracking, run) == [(1, 3.5), (2, 3.0)]


def test_metrics_that_cannot_be_logged_are_an_error(tmp_path: Path, tracking: Tracking) -> None:
    (tmp_path / STEP_LINES).write_text(line(1, 3.5) + "\n")
    follower = MetricFollower(tmp_path, tracking_uri=tracking.uri, mlflow_run_id="none")
    with pytest.raises(Exception, match="Run with id=none not found"), follower:
        pass
