"""The training loop with real DeepSpeed and real MLflow, in this process."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from ccx_ray.corpus.packing.stream import Stream, read_batches
from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import OptimizerSpec, WatchSpec
from ccx_ray.training.checkpoints import checkpoint_folder, published_steps
from ccx_ray.training.history import TrainingStoppedError, read_history
from ccx_ray.training.metrics import MetricFollower
from ccx_ray.training.read_ahead import row_checksum
from ccx_ray.training.run import TrainingRun
from tests.training_runs import PAD, CrashError, parameters_of, tiny_run, train_here, write_stream

STAGES = [0, 1, 2]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Path:
    """The folder of a run that nothing happened to."""
    run = tiny_run(tmp_path_factory.mktemp("undisturbed"), inputs)
    train_here(run)
    return run.folder


def losses(folder: Path) -> list[float]:
    return [record.loss for record in read_history(folder / "losses.parquet")]


def test_the_model_learns_and_the_history_tells_how(undisturbed: Path) -> None:
    history = read_history(undisturbed / "losses.parquet")
    assert [record.step for record in history] == list(range(1, 10))
    assert [(record.first_row, record.last_row) for record in history][:2] == [(0, 8), (8, 16)]
    assert history[0].loss == pytest.approx(np.log(320), abs=0.1)
    assert history[-1].loss < history[0].loss - 0.2
    # Rows 0 and 5 of the first step are half padding: 15 predictions instead of 31.
    assert history[0].tokens == 6 * 31 + 2 * 15
    assert all(record.gradient_norm > 0 for record in history)
    assert published_steps(undisturbed) == [3, 6, 9]
    progress = json.loads((undisturbed / "progress.json").read_text("utf-8"))
    assert progress.pop("tokens_per_second") > 0
    assert progress.pop("device_seconds") > sum(record.seconds for record in history[1:]) / 2
    assert progress == {"step": 9, "steps": 9, "loss": history[-1].loss}


@pytest.mark.parametrize("stage", STAGES)
def test_zero_stage_and_batch_split_change_nothing(
    tmp_path: Path, inputs: Path, undisturbed: Path, stage: int
) -> None:
    run = tiny_run(tmp_path, inputs, zero_stage=stage, sequences_per_device=2)
    assert train_here(run) == pytest.approx(losses(undisturbed), rel=2e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_crashed_and_resumed_is_the_same_bit_for_bit(
    tmp_path: Path, inputs: Path, stage: int
) -> None:
    whole = tiny_run(tmp_path / "whole", inputs, zero_stage=stage)
    expected = train_here(whole)
    run = tiny_run(tmp_path / "crashed", inputs, zero_stage=stage)
    with pytest.raises(CrashError):
        train_here(run, crash_after=5)
    assert published_steps(run.folder) == [3]
    assert train_here(run) == expected
    for step in (6, 9):
        ours, theirs = (parameters_of(checkpoint_folder(r.folder, step)) for r in (run, whole))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_state_written_between_checkpoints_is_resumed_from(
    tmp_path: Path, inputs: Path, undisturbed: Path
) -> None:
    run = tiny_run(tmp_path, inputs, resume_seconds=0.0)
    with pytest.raises(CrashError):
        train_here(run, crash_after=5)
    # The newest two; the older is also that of the last checkpoint.
    states = sorted(path.name for path in (tmp_path / "resume").iterdir())
    assert states == ["step-000003", "step-000004"]
    assert train_here(run) == losses(undisturbed)


def test_a_checkpoint_missing_beside_its_state_is_written_on_resume(
    tmp_path: Path, inputs: Path, undisturbed: Path
) -> None:
    """As after a kill between the two renames."""
    run = tiny_run(tmp_path, inputs)
    with pytest.raises(CrashError):
        train_here(run, crash_after=4)
    checkpoint_folder(tmp_path, 3).rename(tmp_path / "elsewhere")
    train_here(run)
    assert published_steps(tmp_path) == [3, 6, 9]
    ours, theirs = (parameters_of(checkpoint_folder(f, 3)) for f in (tmp_path, undisturbed))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_another_stream_is_refused(tmp_path: Path, inputs: Path) -> None:
    run = tiny_run(tmp_path / "run", inputs)
    with pytest.raises(CrashError):
        train_here(run, crash_after=4)
    other = write_stream(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="step-000003: was written with stream"):
        train_here(replace(run, stream_folder=other))


def test_a_trial_starts_from_the_base_checkpoint(
    tmp_path: Path, inputs: Path, undisturbed: Path
) -> None:
    """Its first loss is the base model's own, computed here by Hugging Face and torch alone."""
    base = checkpoint_folder(undisturbed, 9)
    run = tiny_run(tmp_path, inputs, initial_model=base, seed=5)
    first, *_ = train_here(run)
    stream = Stream.open(run.stream_folder)
    batch = next(
        read_batches(stream, first_row=0, rows_per_step=8, rank=0, world_size=1, reader="direct")
    )
    tokens_BT = torch.from_numpy(batch).long()
    with torch.no_grad():
        logits_BTV = AutoModelForCausalLM.from_pretrained(base)(tokens_BT).logits
    expected = torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten(), ignore_index=PAD
    )
    assert first == pytest.approx(expected.item(), rel=1e-6)


def test_mlflow_has_every_step_once_after_a_crash(tmp_path: Path, inputs: Path) -> None:
    from ccx_ray.tracking.places import default_tracking_uri
    from ccx_ray.tracking.runs import Tracking

    tracking = Tracking(default_tracking_uri(tmp_path), study="tiny", storage=tmp_path)
    mlflow_run = tracking.open_run(name="ko-bridge-s0", kind="trial", fingerprint="f")
    run = tiny_run(tmp_path / "run", inputs, tracking_uri=tracking.uri, mlflow_run_id=mlflow_run)
    follower = partial(
        MetricFollower, run.folder, tracking_uri=tracking.uri, mlflow_run_id=mlflow_run
    )
    with pytest.raises(CrashError), follower():
        train_here(run, crash_after=5)
    with follower():
        expected = train_here(run)

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking.uri)
    for name in ("loss", "learning_rate", "gradient_norm", "tokens_per_second"):
        points = client.get_metric_history(mlflow_run, f"train/{name}")
        assert [point.step for point in sorted(points, key=lambda p: p.step)] == list(range(1, 10))
        if name == "loss":
            found = {point.step: point.value for point in points}
            assert [found[step] for step in range(1, 10)] == expected


def rows_of(*parts: tuple[str, int, int], length: int = 32) -> np.ndarray:
    """[rows, length] of ``(kind, rows, seed)``: ``count`` can be learnt, ``noise`` cannot."""
    kinds = []
    for kind, rows, seed in parts:
        random = np.random.default_rng(seed)
        counting = (random.integers(0, 97, (rows, 1)) + np.arange(length)) % 97 + 2
        noise = random.integers(100, 320, (rows, length))
        kinds.append(counting if kind == "count" else noise)
    return np.concatenate(kinds)


SPIKE = {"spike": "skip", "spike_nats": 1.0, "spike_window": 4}


def spiked_run(folder: Path, inputs: Path, **watch: object) -> TrainingRun:
    """40 steps with checkpoints after 20 and 40; step 27 is noise."""
    rows = rows_of(("count", 26 * 8, 0), ("noise", 8, 1), ("count", 13 * 8, 2))
    if not (inputs / "spiked").exists():
        write_stream(inputs / "spiked", rows=len(rows), tokens=rows)
    run = tiny_run(folder, inputs, stream_folder=inputs / "spiked", steps=40)
    training = run.training.model_copy(
        update={
            "checkpoints": 2,
            "watch": WatchSpec(**{**SPIKE, **watch}),
            "optimizer": OptimizerSpec(learning_rate=1e-2, warmup_steps=2),
        }
    )
    return replace(run, training=training)


def test_a_spike_is_skipped_back_to_the_last_checkpoint(tmp_path: Path, inputs: Path) -> None:
    """As if the training had gone from the state of step 20 right on with step 28."""
    run = spiked_run(tmp_path / "run", inputs)
    train_here(run)
    history = read_history(run.folder / "losses.parquet")
    assert [record.step for record in history if not record.applied] == list(range(21, 28))
    (bad,) = [record for record in history if record.problem]
    assert (bad.step, bad.first_row, bad.last_row) == (27, 208, 216)
    assert bad.problem.startswith("loss ")
    summary = json.loads((run.folder / "summary.json").read_text())
    assert (summary["updates"], list(summary["skipped"])) == (33, ["27"])
    # The loss at step 28 is that of the model of step 20 on the rows of step 28.
    stream = Stream.open(run.stream_folder)
    rows_BT = torch.from_numpy(stream.read(stream.physical_rows(27 * 8, 28 * 8))).long()
    model = AutoModelForCausalLM.from_pretrained(checkpoint_folder(run.folder, 20))
    with torch.no_grad():
        expected = model(rows_BT, labels=rows_BT).loss
    assert history[27].loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("crash_after", [24, 27, 31])
def test_killed_around_a_spike_is_the_same_bit_for_bit(
    tmp_path: Path, inputs: Path, crash_after: int
) -> None:
    whole = spiked_run(tmp_path / "whole", inputs)
    expected = train_here(whole)
    run = spiked_run(tmp_path / "run", inputs)
    run = replace(run, runtime=run.runtime.model_copy(update={"resume_seconds": 0.0}))
    with pytest.raises(CrashError):
        train_here(run, crash_after=crash_after)
    assert train_here(run) == expected
    ours, theirs = (parameters_of(checkpoint_folder(r.folder, 40)) for r in (run, whole))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_a_spike_stops_the_training_where_the_study_says_so(tmp_path: Path, inputs: Path) -> None:
    run = spiked_run(tmp_path / "run", inputs, spike="stop")
    message = r"^ko-bridge-s0: step 27, rows 208 to 216: loss .* trials\.watch\.spike is stop"
    for _ in range(2):  # going on meets it again
        with pytest.raises(TrainingStoppedError, match=message):
            train_here(run)
    assert published_steps(run.folder) == [20]


def test_a_model_that_gives_no_numbers_is_not_trained_on(
    tmp_path: Path, inputs: Path, undisturbed: Path
) -> None:
    """Weights that are no number: nothing is learnt, skipped or published."""
    base = tmp_path / "base"
    shutil.copytree(checkpoint_folder(undisturbed, 9), base)
    (base / "manifest.json").unlink()  # or it would be refused for its hash
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][3] = np.nan
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    run = tiny_run(tmp_path / "run", inputs, initial_model=base)
    with pytest.raises(TrainingStoppedError, match="step 1, rows 0 to 8: loss nan"):
        train_here(run)
    assert published_steps(run.folder) == []


def test_every_row_is_known_by_its_checksum(undisturbed: Path, inputs: Path) -> None:
    """The log of consumed rows is computed from what was read, not from what should have been."""
    stream = Stream.open(inputs / "stream")
    for record in read_history(undisturbed / "losses.parquet"):
        rows = stream.read(stream.physical_rows(record.first_row, record.last_row))
        places = range(record.first_row, record.last_row)
        expected = sum(map(row_checksum, rows, places))
        assert record.rows_checksum == expected
