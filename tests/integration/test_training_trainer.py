"""Training under Ray Train on a real local cluster."""

import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from ccx_ray.errors import UserError
from ccx_ray.training.checkpoints import checkpoint_folder, published_steps
from ccx_ray.training.history import read_history
from ccx_ray.training.trainer import RunFailedError, train
from tests.training_runs import CrashError, parameters_of, tiny_run, train_here, write_stream


def losses(folder: Path) -> list[float]:
    return [record.loss for record in read_history(folder / "losses.parquet")]


def training_process(name: str) -> psutil.Process:
    """The Ray Train worker of the run ``name``, told by the working directory Ray gave it."""
    return next(
        process
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in "".join(process.cmdline()) and name in Path(process.cwd()).parts
    )


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
        training_process(killed.name).send_signal(signal.SIGKILL)
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
    began = time.monotonic()
    assert train(killed) == counts, "a finished training is not trained again"
    assert time.monotonic() - began < 1


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


def test_failing_for_good_names_trial_and_cause(tmp_path: Path, ray_cluster: None) -> None:
    run = tiny_run(tmp_path / "run", tmp_path, max_failures=0, tokenizer_folder=tmp_path / "none")
    with pytest.raises(RunFailedError, match=r"^ko-bridge-s0: .*No such file.*none"):
        train(run)


def test_mistakes_are_found_before_any_process_starts(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run", tmp_path)
    with pytest.raises(UserError, match="zero_stage: 3"):
        train(tiny_run(tmp_path / "run", tmp_path, zero_stage=3))
    with pytest.raises(CrashError):
        train_here(run, crash_after=4)
    other = write_stream(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="step-000003: was written with stream"):
        train(replace(run, stream_folder=other))
