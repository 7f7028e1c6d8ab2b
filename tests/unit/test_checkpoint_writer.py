"""The writer: what was handed over is there, in order, and a failure is told once."""

import json
import logging
from pathlib import Path

import pytest
import torch

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
from tests.training_runs import parameters_of, tiny_run
from tests.writing import RECORD, State, point, snapshot, tiny_model


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture
def run(tmp_path: Path, inputs: Path) -> TrainingRun:
    return tiny_run(tmp_path / "trial-ko-bridge-s0-0123456789ab", inputs)


def resumed(run: TrainingRun) -> "tuple[int, State]":
    found = find_resume_point(run.folder, fingerprint="run", stream_fingerprint="stream")
    assert found is not None
    return found.step, load_resume_state(run.folder, found)[0]


def holds(checkpoint: Path, state: "State") -> bool:
    found = parameters_of(checkpoint)
    return all(torch.equal(torch.from_numpy(found[n]), state[f"parameter/{n}"]) for n in found)


def test_states_and_checkpoints_are_those_that_were_handed_over(run: TrainingRun) -> None:
    model = tiny_model()
    history = [RECORD]
    states = {step: snapshot(model, step) for step in (3, 4)}
    with CheckpointWriter(run, model) as writer:
        writer.write(point(3), states[3], history, checkpoint=True)
        history.append(RECORD)
        writer.write(point(4), states[4], history, checkpoint=False)
        history.append(RECORD)
    step, state = resumed(run)
    assert step == 4
    assert state.keys() == states[4].keys()
    assert all(torch.equal(state[name], states[4][name]) for name in state)
    found = find_resume_point(run.folder, fingerprint="run", stream_fingerprint="stream")
    assert found is not None
    assert load_resume_state(run.folder, found)[1] == [RECORD, RECORD]
    assert published_steps(run.folder) == [3]
    assert holds(checkpoint_folder(run.folder, 3), states[3])
    assert writer.blocked_seconds > 0


def test_the_spec_says_how_many_states_are_kept(run: TrainingRun) -> None:
    model = tiny_model()
    with CheckpointWriter(run, model) as writer:
        for step in (1, 2, 3, 4, 5, 6, 7, 8):
            writer.write(point(step), snapshot(model, step), [RECORD], checkpoint=step % 3 == 0)
    assert resume_steps(run.folder) == [6, 7, 8]  # two, and the newest of a checkpoint
    assert published_steps(run.folder) == [3, 6]


def test_on_another_disk_the_run_keeps_only_pointers(run: TrainingRun, tmp_path: Path) -> None:
    from dataclasses import replace

    run = replace(run, checkpoint_storage=str(tmp_path / "other disk"))
    model = tiny_model()
    state = snapshot(model, 3)
    with CheckpointWriter(run, model) as writer:
        writer.write(point(3), state, [RECORD], checkpoint=True)
    for folder in ("resume/step-000003", "checkpoints/step-000003"):
        (pointer,) = (run.folder / folder).iterdir()
        assert pointer.name == "remote.json"
        assert (tmp_path / "other disk" / run.folder.name) in Path(
            json.loads(pointer.read_text())["uri"].removeprefix("file://").replace("%20", " ")
        ).parents
    assert resumed(run)[0] == 3


def test_a_checkpoint_that_its_state_lacks_is_written_on_resume(run: TrainingRun) -> None:
    model = tiny_model()
    state = snapshot(model, 3)
    with CheckpointWriter(run, model) as writer:
        writer.write(point(3), state, [RECORD], checkpoint=False)
    with CheckpointWriter(run, model) as writer:
        writer.write_checkpoint(3, resumed(run)[1])
    assert holds(checkpoint_folder(run.folder, 3), state)


def test_a_whole_checkpoint_is_left_alone_and_a_damaged_one_written_anew(run: TrainingRun) -> None:
    model = tiny_model()
    state = snapshot(model, 3)
    with CheckpointWriter(run, model) as writer:
        writer.write_checkpoint(3, state)
        writer.flush()
        weights = checkpoint_folder(run.folder, 3) / "model.safetensors"
        written = weights.stat().st_ino
        writer.write_checkpoint(3, state)
        writer.flush()
        assert weights.stat().st_ino == written
        weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
        writer.write_checkpoint(3, state)
    assert holds(checkpoint_folder(run.folder, 3), state)
    assert (run.folder / "checkpoints" / "damaged-step-000003").is_dir()
    assert published_steps(run.folder) == [3]


def test_a_failure_is_told_once_with_its_place_and_cause(run: TrainingRun) -> None:
    model = tiny_model()
    with CheckpointWriter(run, model, retry_seconds=0.0) as writer:
        writer.write(point(3), snapshot(model, 3), [RECORD], checkpoint=False)
        writer.flush()
        (run.folder / "resume").rename(run.folder / "elsewhere")
        (run.folder / "resume").write_text("in the way")
        writer.write(point(4), snapshot(model, 4), [RECORD], checkpoint=False)
        with pytest.raises(CheckpointError, match=r"resume/step-000004: .*NotADirectory") as caught:
            writer.write(point(5), snapshot(model, 5), [RECORD], checkpoint=False)
        assert "again; the training continues from the start" in str(caught.value)
        assert "\n" not in str(caught.value)
        (run.folder / "resume").unlink()
        (run.folder / "elsewhere").rename(run.folder / "resume")
        writer.flush()
        writer.write(point(6), snapshot(model, 6), [RECORD], checkpoint=False)
    assert resume_steps(run.folder) == [3, 6]


def test_what_may_not_pass_is_not_tried_again(run: TrainingRun) -> None:
    """With the seconds of a real run: the test would take them if it were."""
    model = tiny_model()
    state = snapshot(model, 3) | {"exp_avg/odd": torch.zeros(4, 4).t()}
    with CheckpointWriter(run, model, retry_seconds=3600.0) as writer:
        writer.write(point(3), state, [RECORD], checkpoint=False)
        with pytest.raises(CheckpointError, match="non contiguous"):
            writer.flush()
    assert list((run.folder / "resume").iterdir()) == []


def test_the_error_that_ended_the_training_is_the_one_that_is_raised(
    run: TrainingRun, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model()
    (run.folder / "resume").write_text("in the way")
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(ZeroDivisionError),
        CheckpointWriter(run, model, retry_seconds=0.0) as writer,
    ):
        writer.write(point(3), snapshot(model, 3), [RECORD], checkpoint=False)
        _ = 1 / 0
    assert "step-000003: cannot be written" in caplog.text
