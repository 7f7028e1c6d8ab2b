"""Training under Ray Train on a real local cluster."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from mlflow import MlflowClient

from ccx_ray.errors import UserError
from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import Tracking
from ccx_ray.training import trainer
from ccx_ray.training.checkpoints import checkpoint_folder, published_steps
from ccx_ray.training.history import read_history
from ccx_ray.training.run_time_files import GROUPS, INCIDENTS, FailureBudget, read_restarts
from ccx_ray.training.trainer import RunFailedError, train
from tests.training_runs import MODEL, CrashError, parameters_of, tiny_run, train_here, write_stream


def losses(folder: Path) -> list[float]:
    return [record.loss for record in read_history(folder / "losses.parquet")]


def processes_with(title: str) -> Iterator[psutil.Process]:
    """The processes of this test to which Ray gave such a title."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if title in "".join(process.cmdline()):
                yield process


def training_processes(name: str) -> list[psutil.Process]:
    """The Ray Train workers of the run ``name``, told by the working directory Ray gave them."""
    found = []
    for process in processes_with("RayTrainWorker"):
        with suppress(psutil.Error):
            if name in Path(process.cwd()).parts:
                found.append(process)
    return found


def newest_ray_process(title: str) -> psutil.Process:
    """The youngest process of this cluster that Ray gave a title with ``title`` in it: those of
    earlier tests may still be on their way out."""
    return max(processes_with(title), key=lambda process: process.create_time())


def wait_for_checkpoint(folder: Path, step: int, future: "Future[object]") -> None:
    deadline = time.monotonic() + 120
    while step not in published_steps(folder):
        assert not future.done(), "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_and_resumed_beside_another_run(tmp_path: Path, ray_cluster: None) -> None:
    killed = tiny_run(tmp_path / "killed", tmp_path, steps=240)
    other = tiny_run(tmp_path / "other", tmp_path, name="ko-nobridge-s1", seed=1)
    with ThreadPoolExecutor(2) as threads:
        future = threads.submit(train, killed)
        beside = threads.submit(train, other)
        wait_for_checkpoint(killed.folder, 80, future)
        training_processes(killed.name)[0].send_signal(signal.SIGKILL)
        counts = future.result()
        assert beside.result()["checkpoints"] == [3, 6, 9]
    assert counts["resumed_from"] in (80, 160), "the kill came too late to be one"
    assert counts["checkpoints"] == [80, 160, 240]
    assert counts["tokens"] == 240 * 8 * 32

    undisturbed = tiny_run(tmp_path / "undisturbed", tmp_path, steps=240)
    assert losses(killed.folder) == train_here(undisturbed)
    for step in (80, 160, 240):
        ours, theirs = (
            parameters_of(checkpoint_folder(run.folder, step)) for run in (killed, undisturbed)
        )
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert not (killed.folder / "resume").exists()
    starts = len(read_restarts(killed.folder, GROUPS))
    assert train(killed) == counts
    assert len(read_restarts(killed.folder, GROUPS)) == starts, (
        "a finished training is trained again"
    )
    # Workers may finish after their driver was killed; what it did not see is logged by the next.
    tracking = Tracking(default_tracking_uri(tmp_path), study="tiny", storage=tmp_path)
    mlflow_run = tracking.open_run(name=killed.name, kind="trial", fingerprint="f")
    train(replace(killed, tracking_uri=tracking.uri, mlflow_run_id=mlflow_run))
    history = MlflowClient(tracking.uri).get_metric_history(mlflow_run, "train/loss")
    assert [point.value for point in sorted(history, key=lambda point: point.step)] == losses(
        killed.folder
    )


def test_one_worker_goes_on_as_two(tmp_path: Path, ray_cluster: None) -> None:
    """The state of ZeRO stage 1 has no world size; padding is unevenly spread over the two."""
    run = tiny_run(tmp_path / "run", tmp_path)
    with pytest.raises(CrashError):
        train_here(run, crash_after=5)
    counts = train(replace(run, runtime=run.runtime.model_copy(update={"workers": 2})))
    assert (counts["workers"], counts["resumed_from"]) == (2, 3)
    whole = tiny_run(tmp_path / "whole", tmp_path)
    assert losses(run.folder) == pytest.approx(train_here(whole), rel=2e-6)
    ours, theirs = (parameters_of(checkpoint_folder(r.folder, 9)) for r in (run, whole))
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-5)


@pytest.mark.storm
def test_a_killed_controller_is_replaced_and_what_it_held_is_freed(
    tmp_path: Path, ray_cluster: None
) -> None:
    import ray

    steps = 1200
    run = tiny_run(tmp_path / "run", tmp_path, steps=steps, workers=2, max_failures=1)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(train, run)
        wait_for_checkpoint(run.folder, steps // 3, future)
        newest_ray_process("TrainController").send_signal(signal.SIGKILL)
        resumed = future.result()["resumed_from"]
        assert resumed in (steps // 3, steps // 3 * 2), "the kill came too late to be one"
    assert [record.step for record in read_history(run.folder / "losses.parquet")] == [
        *range(1, steps + 1)
    ]
    (incident,) = read_restarts(run.folder, INCIDENTS)
    assert incident["kind"] == "failure"
    assert "the controller failed" in incident["cause"]
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.2)


def test_a_mistake_that_a_worker_finds_is_not_tried_again(
    tmp_path: Path, ray_cluster: None
) -> None:
    from ccx_ray.training.model import build_model

    other = build_model(MODEL, vocabulary_size=100, eos_id=0, pad_id=1, seed=0)
    other.save_pretrained(tmp_path / "base")
    run = tiny_run(tmp_path / "run", tmp_path, max_failures=3, initial_model=tmp_path / "base")
    with pytest.raises(UserError, match="100"):
        train(run)
    assert not read_restarts(run.folder, INCIDENTS)


def test_failing_for_good_names_trial_and_cause(tmp_path: Path, ray_cluster: None) -> None:
    run = tiny_run(tmp_path / "run", tmp_path, max_failures=0, tokenizer_folder=tmp_path / "none")
    with pytest.raises(RunFailedError, match=r"^ko-bridge-s0: .*No such file.*none"):
        train(run)


@pytest.mark.parametrize(("address", "attached"), [("", False), ("10.0.0.1:6379", True)])
def test_an_empty_address_names_no_cluster(
    address: str, attached: bool, tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes are asked for, and a cloud that takes them is waited for, on a named cluster alone."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setenv(trainer.WATCHER, "unset")
    run = tiny_run(tmp_path / "run", tmp_path)
    built = trainer._trainer(run, FailureBudget(run.runtime, run.folder), [])
    assert built._policies["scaling_policy"]._asks_for_nodes is attached
    assert os.environ[trainer.WATCHER] == str(int(attached))


def test_mistakes_are_found_before_any_process_starts(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run", tmp_path)
    with pytest.raises(UserError, match="8 sequences per step cannot be divided over"):
        train(tiny_run(tmp_path / "run", tmp_path, sequences_per_device=3))
    with pytest.raises(CrashError):
        train_here(run, crash_after=4)
    other = write_stream(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="step-000003: was written with stream"):
        train(replace(run, stream_folder=other))
