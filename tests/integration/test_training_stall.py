"""A worker that hangs under Ray Train is named and replaced, and nothing is lost."""

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ccx_ray.training.history import read_history
from ccx_ray.training.run_time_files import INCIDENTS, read_restarts
from ccx_ray.training.trainer import train
from tests.integration.test_training_trainer import training_processes, wait_for_checkpoint
from tests.training_runs import tiny_run, train_here


@pytest.mark.storm
def test_a_stopped_worker_is_named_and_replaced(tmp_path: Path, ray_cluster: None) -> None:
    run = tiny_run(tmp_path / "run", tmp_path, steps=240, workers=2, stall_seconds=30.0)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(train, run)
        wait_for_checkpoint(run.folder, 80, future)
        training_processes(run.name)[0].send_signal(signal.SIGSTOP)
        counts = future.result()
    assert counts["resumed_from"] in (80, 160), "the stop came too late to be one"
    (incident,) = read_restarts(run.folder, INCIDENTS)
    assert incident["kind"] == "failure"
    assert re.match(r"rank [01] has not moved for \d+ s \(step \d+, ", incident["cause"])
    undisturbed = tiny_run(tmp_path / "undisturbed", tmp_path, steps=240)
    history = read_history(run.folder / "losses.parquet")
    assert [record.loss for record in history] == pytest.approx(train_here(undisturbed), rel=2e-5)
