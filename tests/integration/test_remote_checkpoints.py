"""Checkpoints in an object store: written, kept, fetched and trained from as on a disk."""

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import check_model_folder, load_causal_model
from ccx_ray.storage.object_stores import local_path
from ccx_ray.storage.remote_folders import check_remote_storage, fetch_checkpoint
from ccx_ray.training.checkpoints import (
    CheckpointError,
    CheckpointWriter,
    checkpoint_folder,
    prune_resume_states,
    published_steps,
    resume_steps,
)
from ccx_ray.training.run import TrainingRun
from tests.failing_store import BUCKET, FailingStore, failing_store
from tests.training_runs import CrashError, parameters_of, tiny_run, train_here
from tests.writing import RECORD, point, snapshot, tiny_model

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
    server.clear()
    yield server
    server.door.restore()


@pytest.fixture
def run(tmp_path: Path, inputs: Path, store: FailingStore) -> TrainingRun:
    return replace(tiny_run(tmp_path / NAME, inputs), checkpoint_storage=store.uri)


def equal(one: Path, other: Path) -> bool:
    """Whether two checkpoints have the same parameters bit for bit."""
    ours, theirs = (parameters_of(fetch_checkpoint(folder)) for folder in (one, other))
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[n], theirs[n]) for n in ours)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> tuple[Path, list[float]]:
    """A run on a disk that nothing happened to: its folder and losses."""
    run = tiny_run(tmp_path_factory.mktemp("undisturbed"), inputs)
    return run.folder, train_here(run)


def test_a_training_killed_and_resumed_from_the_store_is_the_same_bit_for_bit(
    run: TrainingRun, store: FailingStore, undisturbed: tuple[Path, list[float]]
) -> None:
    folder, losses = undisturbed
    run = replace(run, runtime=run.runtime.model_copy(update={"resume_seconds": 0.0}))
    with pytest.raises(CrashError):
        train_here(run, crash_after=5)
    assert resume_steps(run.folder) == [3, 4]
    assert not list(run.folder.rglob("*.safetensors"))
    assert train_here(run) == losses
    assert published_steps(run.folder) == [3, 6, 9]
    for step in (3, 6, 9):
        assert equal(checkpoint_folder(run.folder, step), checkpoint_folder(folder, step))


def test_a_training_goes_on_while_its_store_is_away(
    run: TrainingRun, store: FailingStore, undisturbed: tuple[Path, list[float]]
) -> None:
    folder, losses = undisturbed
    store.door.refuse()
    back = threading.Timer(15.0, store.door.restore)
    back.start()
    assert train_here(run) == losses
    back.join()
    assert published_steps(run.folder) == [3, 6, 9]
    assert equal(checkpoint_folder(run.folder, 9), checkpoint_folder(folder, 9))
    prune_resume_states(run.folder)
    assert store.objects().keys() == store.pointed_to(run.folder)


def test_states_are_removed_from_the_store_as_from_a_disk(
    run: TrainingRun, store: FailingStore
) -> None:
    model = tiny_model()
    with CheckpointWriter(run, model) as writer:
        for step in range(1, 6):
            writer.write(point(step), snapshot(model, step), [RECORD], checkpoint=step == 3)
    assert resume_steps(run.folder) == [3, 4, 5]
    assert store.objects().keys() == store.pointed_to(run.folder)
    prune_resume_states(run.folder)
    assert not store.objects("/resume/")
    assert store.objects().keys() == store.pointed_to(run.folder)
    assert store.objects("/checkpoints/step-000003-")


def test_a_checkpoint_is_fetched_once_verified_and_mended(
    run: TrainingRun, store: FailingStore
) -> None:
    model = tiny_model()
    state = snapshot(model, 3)
    with CheckpointWriter(run, model) as writer:
        writer.write_checkpoint(3, state)
    folder = checkpoint_folder(run.folder, 3)
    check_model_folder(folder)
    local = fetch_checkpoint(folder)
    assert local != folder
    assert local.parent.stat().st_mode & 0o777 == 0o700
    store.door.refuse()
    assert fetch_checkpoint(folder) == local
    store.door.restore()
    (local / "model.safetensors").write_bytes(b"damaged")
    assert fetch_checkpoint(folder) == local
    loaded = load_causal_model(folder, "cpu")
    assert torch.equal(
        loaded.network.get_input_embeddings().weight, state["parameter/model.embed_tokens.weight"]
    )
    (key,) = store.objects("model.safetensors")
    store.client.put_object(Bucket=BUCKET, Key=key, Body=b"damaged")
    shutil.rmtree(local)
    with pytest.raises(UserError, match=r"step-000003: has changed \(model.safetens"):
        load_causal_model(folder, "cpu")


def test_a_cache_that_somebody_else_can_write_is_refused(run: TrainingRun, tmp_path: Path) -> None:
    model = tiny_model()
    (tmp_path / f"ccx_ray-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"ccx_ray-{os.getuid()}").chmod(0o777)
    with (
        pytest.raises(CheckpointError, match="is accessible to other users"),
        CheckpointWriter(run, model) as writer,
    ):
        writer.write(point(3), snapshot(model, 3), [RECORD], checkpoint=False)


def test_a_storage_is_tried_before_any_compute(store: FailingStore, tmp_path: Path) -> None:
    check_remote_storage(store.uri)
    check_remote_storage(str(tmp_path / "folder"))
    assert not store.objects()
    for uri, message in (
        ("s3://no-such-bucket/x", "cannot be written"),
        ("s3://key:secret@bucket/x", "contains a credential"),
        ("s3://bucket/x?secret_key=abc", "contains a credential"),
        ("s3://bucket/x?endpoint_override=http%3A%2F%2Fme%3Aword%40host", "contains a credential"),
        ("http://host/x", "unknown scheme"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            check_remote_storage(uri)
        assert str(caught.value).startswith("runtime.checkpoint_storage: ")
        assert "\n" not in str(caught.value)
        assert not [word for word in ("secret@", "abc", "word") if word in str(caught.value)]
    store.door.refuse()
    with pytest.raises(UserError, match=r"cannot be written .*AWS_ENDPOINT_URL"):
        check_remote_storage(store.uri)


def test_the_options_of_a_store_travel_with_the_pointer(
    run: TrainingRun, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an evaluator on another node needs them, whose environment names no endpoint."""
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    place = f"{store.uri}?endpoint_override={endpoint.removeprefix('http://')}&scheme=http"
    model = tiny_model()
    with CheckpointWriter(replace(run, checkpoint_storage=place), model) as writer:
        writer.write_checkpoint(3, snapshot(model, 3))
    pointer = json.loads((checkpoint_folder(run.folder, 3) / "remote.json").read_text())
    assert pointer["uri"].endswith("&scheme=http")
    assert local_path(pointer["uri"]) is None
    assert (fetch_checkpoint(checkpoint_folder(run.folder, 3)) / "config.json").is_file()


def test_a_trial_starts_from_a_base_in_the_store(
    run: TrainingRun, inputs: Path, tmp_path: Path, undisturbed: tuple[Path, list[float]]
) -> None:
    train_here(run)
    bases = checkpoint_folder(run.folder, 9), checkpoint_folder(undisturbed[0], 9)
    losses = [
        train_here(tiny_run(tmp_path / f"trial-{number}", inputs, initial_model=base, steps=3))
        for number, base in enumerate(bases)
    ]
    assert losses[0] == losses[1]
