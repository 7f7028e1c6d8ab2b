"""Checkpoints when disks are full, stores fail and processes are killed: nothing is lost."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ccx_ray.evaluation.models import load_causal_model
from ccx_ray.training.checkpoints import (
    CheckpointError,
    CheckpointWriter,
    checkpoint_folder,
    find_resume_point,
    load_resume_state,
    published_steps,
    resume_steps,
)
from ccx_ray.training.run import TrainingRun
from tests.failing_store import BUCKET, FailingStore, failing_store
from tests.training_runs import tiny_run
from tests.writing import RECORD, State, point, same, snapshot, tiny_model

OURS = {"fingerprint": "run", "stream_fingerprint": "stream"}
NAME = "trial-ko-bridge-s0-0123456789ab"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def server() -> Iterator[FailingStore]:
    with failing_store() as store:
        yield store


@pytest.fixture
def store(
    server: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FailingStore]:
    """The store, empty, and a cache that no other test has filled."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server.clear()
    yield server
    server.door.restore()


@pytest.fixture
def run(tmp_path: Path, inputs: Path, store: FailingStore) -> TrainingRun:
    return replace(tiny_run(tmp_path / NAME, inputs), checkpoint_storage=store.uri)


def newest(run: TrainingRun) -> tuple[int, State]:
    found = find_resume_point(run.folder, **OURS)
    assert found is not None
    return found.step, load_resume_state(run.folder, found)[0]


@pytest.mark.parametrize(("outage", "seconds"), [("refuse", 12.0), ("answer_503", 5.0)])
def test_a_store_that_fails_for_a_while_loses_nothing(
    run: TrainingRun, store: FailingStore, outage: str, seconds: float
) -> None:
    model = tiny_model()
    states = {step: snapshot(model, step) for step in (2, 3)}
    with CheckpointWriter(run, model) as writer:
        writer.write(point(2), states[2], [RECORD], checkpoint=False)
        writer.flush()
        getattr(store.door, outage)()
        # It comes back although nothing can be written before ``restore``: training goes on.
        writer.write(point(3), states[3], [RECORD] * 3, checkpoint=True)
        time.sleep(seconds)
        assert resume_steps(run.folder) == [2]
        assert published_steps(run.folder) == []
        store.door.restore()
    assert resume_steps(run.folder) == [2, 3]
    step, state = newest(run)
    assert step == 3
    assert same(state, states[3])
    loaded = load_causal_model(checkpoint_folder(run.folder, 3), "cpu")
    for name, parameter in loaded.network.named_parameters():
        assert torch.equal(parameter, states[3][f"parameter/{name}"])
    assert store.objects().keys() == store.pointed_to(run.folder)


def test_a_store_that_stays_away_ends_the_training_with_one_line(
    run: TrainingRun, store: FailingStore
) -> None:
    model = tiny_model()
    with CheckpointWriter(run, model) as writer:
        writer.write(point(2), snapshot(model, 2), [RECORD], checkpoint=False)
    store.door.refuse()
    with (
        pytest.raises(CheckpointError, match=f"step-000003: cannot be written .* of {store.uri}"),
        CheckpointWriter(run, model, retry_seconds=1.0) as writer,
    ):
        writer.write(point(3), snapshot(model, 3), [RECORD], checkpoint=False)
    store.door.restore()
    assert newest(run)[0] == 2
    with CheckpointWriter(run, model):
        pass  # a new attempt removes what the failed one could not
    assert store.objects().keys() == store.pointed_to(run.folder)


@pytest.mark.parametrize("change", ["another byte", "truncated", "deleted", "pointer"])
def test_a_damaged_state_in_the_store_is_passed_over(
    run: TrainingRun, store: FailingStore, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    model = tiny_model()
    states = {step: snapshot(model, step) for step in (2, 4)}
    with CheckpointWriter(run, model) as writer:
        for step, state in states.items():
            writer.write(point(step), state, [RECORD], checkpoint=False)
    (key,) = (key for key in store.objects("step-000004") if key.endswith("safetensors"))
    body = store.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    if change == "another byte":
        body = body[:-1] + bytes([body[-1] ^ 1])
    elif change == "truncated":
        body = body[: len(body) // 2]
    if change == "deleted":
        store.client.delete_object(Bucket=BUCKET, Key=key)
    elif change == "pointer":
        (run.folder / "resume" / "step-000004" / "remote.json").write_text('{"uri": ')
    else:
        store.client.put_object(Bucket=BUCKET, Key=key, Body=body)
    step, state = newest(run)
    assert step == 2
    assert same(state, states[2])
    expected = "remote.json" if change == "pointer" else "state.safetensors"
    assert f"resume/step-000004: damaged ({expected}: " in caplog.text
    assert (run.folder / "resume" / "damaged-step-000004").is_dir()


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from ccx_ray.training.checkpoints import CheckpointWriter
from tests.training_runs import tiny_run
from tests.writing import RECORD, point, snapshot, tiny_model

folder, inputs, storage = sys.argv[1:]
run = replace(tiny_run(Path(folder), Path(inputs)), checkpoint_storage=storage)
model = tiny_model()
with CheckpointWriter(run, model) as writer:
    writer.write(point(4), snapshot(model, 4), [RECORD], checkpoint=False)
"""


def test_a_process_killed_during_an_upload_leaves_no_half_state(
    run: TrainingRun, store: FailingStore, inputs: Path, project: Path
) -> None:
    model = tiny_model()
    first = snapshot(model, 2)
    with CheckpointWriter(run, model) as writer:
        writer.write(point(2), first, [RECORD], checkpoint=False)
    store.door.stall_after(50_000)
    writing = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(run.folder), str(inputs), store.uri], cwd=project
    )
    try:
        assert store.door.stalled.wait(timeout=180)
    finally:
        os.kill(writing.pid, signal.SIGKILL)
        writing.wait()
    store.door.restore()
    begun = [path.name for path in (run.folder / "resume").iterdir() if path.name.startswith(".")]
    assert begun and begun[0].startswith(".step-000004.")
    assert newest(run)[0] == 2
    assert same(newest(run)[1], first)
    with CheckpointWriter(run, model) as writer:
        writer.write(point(4), snapshot(model, 4), [RECORD], checkpoint=False)
    assert newest(run)[0] == 4
    assert sorted(path.name for path in (run.folder / "resume").iterdir()) == [
        "step-000002",
        "step-000004",
    ]
    assert store.objects().keys() == store.pointed_to(run.folder)
    assert not list(Path(tempfile.gettempdir()).glob("ccx_ray-*/writing-*"))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, as small as it says."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs the rights of root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("freed", [True, False], ids=["freed in time", "not freed"])
def test_a_full_disk(
    tmp_path: Path, inputs: Path, caplog: pytest.LogCaptureFixture, freed: bool
) -> None:
    model = tiny_model()
    states = {step: snapshot(model, step) for step in (2, 3)}
    with small_disk(tmp_path / "disk", "2m") as disk:
        run = tiny_run(disk / NAME, inputs)
        with CheckpointWriter(run, model, retry_seconds=60.0 if freed else 1.0) as writer:
            writer.write(point(2), states[2], [RECORD], checkpoint=False)
            writer.flush()
            ballast = disk / "ballast"
            left = shutil.disk_usage(disk).free
            ballast.write_bytes(bytes(left - 200_000))  # less than a state
            writer.write(point(3), states[3], [RECORD], checkpoint=True)
            if freed:
                while "No space left on device" not in caplog.text:
                    time.sleep(0.05)
                ballast.unlink()
                writer.flush()
                assert published_steps(run.folder) == [3]
            else:
                message = "step-000003: cannot be written .*No space left .*continues from step 2"
                with pytest.raises(CheckpointError, match=message):
                    writer.flush()
                assert published_steps(run.folder) == []
        step, state = newest(run)
        assert step == (3 if freed else 2)
        assert same(state, states[step])
        expected = ["step-000002", "step-000003"][: step - 1]
        assert sorted(path.name for path in (run.folder / "resume").iterdir()) == expected
