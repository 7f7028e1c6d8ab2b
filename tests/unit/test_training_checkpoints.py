"""The files of a training: whole or absent, verified, and of this training."""

import json
import logging
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from ccx_ray.errors import UserError
from ccx_ray.storage.remote_folders import publish_verified
from ccx_ray.training.checkpoints import (
    checkpoint_folder,
    fill_checkpoint,
    fill_resume_state,
    find_resume_point,
    load_resume_state,
    prune_resume_states,
    published_steps,
    resume_folder,
    resume_point_at,
    resume_steps,
    retain_resume_states,
)
from tests.training_runs import write_tokenizer
from tests.writing import RECORD, point, same, snapshot, tiny_model

STATE = {"parameter/w": torch.randn(3, 2), "exp_avg/w": torch.randn(3, 2)}
OURS = {"fingerprint": "run", "stream_fingerprint": "stream"}


def publish_states(folder: Path, *steps: int, storage: str | None = None) -> None:
    for step in steps:
        fill = partial(fill_resume_state, point=point(step), state=STATE, history=[RECORD])
        publish_verified(resume_folder(folder, step), fill, storage=storage)


@pytest.fixture(params=["in the run's folder", "on another disk"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "in the run's folder" else str(tmp_path / "other disk")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "trial-ko-bridge-s0-0123456789ab"


def test_a_checkpoint_opens_with_hugging_face_and_no_key_missing(run: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer_folder = write_tokenizer(tmp_path / "tokenizer")
    (tokenizer_folder / "_complete.json").write_text("{}")
    model = tiny_model()
    state = snapshot(model, 20)
    folder = checkpoint_folder(run, 20)
    publish_verified(folder, lambda aside: fill_checkpoint(aside, model, tokenizer_folder, state))
    assert folder == run / "checkpoints" / "step-000020"
    assert not (folder / "_complete.json").exists()
    logging.disable(logging.NOTSET)
    loaded, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    for name, _ in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), state[f"parameter/{name}"])
        assert loaded.get_parameter(name).dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token_id == loaded.config.eos_token_id
    assert tokenizer.decode(tokenizer.encode("ལྷ་ས")) == "ལྷ་ས"


def test_what_is_not_published_is_not_seen(run: Path) -> None:
    assert published_steps(run) == []
    (run / "checkpoints" / ".step-000030.0a1b2c3d").mkdir(parents=True)
    (run / "checkpoints" / "damaged-step-000040").mkdir()
    for step in (100, 20):
        checkpoint_folder(run, step).mkdir()
    assert published_steps(run) == [20, 100]


def test_the_newest_state_is_found_and_comes_back_exactly(run: Path, storage: str | None) -> None:
    publish_states(run, 3, 6, storage=storage)
    (run / "resume" / ".step-000009.0a1b2c3d").mkdir()
    found = find_resume_point(run, **OURS)
    assert found == point(6)
    state, history = load_resume_state(run, found)
    assert same(state, STATE)
    assert history == [RECORD]


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 9)


def name_a_file_outside(manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    content["files"]["../../point.json"] = content["files"]["point.json"]
    manifest.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("state.safetensors", flip_a_bit, "state.safetensors: its SHA-256"),
        ("state.safetensors", truncate, "state.safetensors: .* bytes instead of"),
        ("history.parquet", Path.unlink, "history.parquet: No such file"),
        ("point.json", truncate, "point.json: .* bytes instead of"),
        ("manifest.json", truncate, "manifest.json: .*Error"),
        ("manifest.json", Path.unlink, "manifest.json: No such file"),
        ("manifest.json", name_a_file_outside, "'../../point.json' is not a file name"),
    ],
)
def test_a_damaged_newest_state_is_named_and_the_one_before_taken(
    run: Path,
    storage: str | None,
    caplog: pytest.LogCaptureFixture,
    file: str,
    damage: Callable[[Path], None],
    reason: str,
) -> None:
    publish_states(run, 3, 6, storage=storage)
    place = run if storage is None else Path(storage)
    (damaged,) = (path for path in place.rglob(file) if "step-000006" in str(path))
    damage(damaged)
    assert find_resume_point(run, **OURS) == point(3)
    (warning,) = caplog.records
    assert str(run / "resume" / "step-000006") in warning.message
    assert "kept as damaged-step-000006" in warning.message
    assert re.search(reason, warning.message)
    assert sorted(p.name for p in (run / "resume").iterdir()) == [
        "damaged-step-000006",
        "step-000003",
    ]
    publish_states(run, 6, storage=storage)
    assert find_resume_point(run, **OURS) == point(6)


def test_with_no_undamaged_state_a_training_starts_anew(run: Path, storage: str | None) -> None:
    publish_states(run, 3, 6, storage=storage)
    place = run if storage is None else Path(storage)
    for file in list(place.rglob("state.safetensors")):
        truncate(file)
    assert find_resume_point(run, **OURS) is None
    assert resume_steps(run) == []


def test_a_state_can_be_asked_for_by_its_step(run: Path) -> None:
    publish_states(run, 3, 6)
    assert resume_point_at(run, 3) == point(3)
    assert resume_point_at(run, 4) is None


def test_the_newest_states_and_the_last_of_a_checkpoint_are_kept(run: Path) -> None:
    publish_states(run, 3, 5, 6, 7, 8)
    retain_resume_states(run, keep=2, checkpoint_steps=(3, 6, 9))
    assert resume_steps(run) == [6, 7, 8]


def test_nothing_is_left_of_states_when_a_training_is_complete(
    run: Path, storage: str | None
) -> None:
    publish_states(run, 3, 6, storage=storage)
    (run / "resume" / "step-000006").rename(run / "resume" / "damaged-step-000006")
    (run / "resume" / ".step-000009.0a1b2c3d").mkdir()
    prune_resume_states(run)
    assert find_resume_point(run, **OURS) is None
    assert not (run / "resume").exists()
    assert storage is None or not [p for p in Path(storage).rglob("*") if p.is_file()]


@pytest.mark.parametrize("check", [find_resume_point, partial(find_resume_point, verify=False)])
@pytest.mark.parametrize(
    ("name", "fingerprint", "stream"), [("stream", "run", "x"), ("training", "x", "stream")]
)
def test_a_state_of_another_stream_or_training_is_refused(
    run: Path,
    storage: str | None,
    check: Callable[..., object],
    name: str,
    fingerprint: str,
    stream: str,
) -> None:
    publish_states(run, 3, storage=storage)
    with pytest.raises(UserError, match=f"step-000003: was written with {name} .* this run has"):
        check(run, fingerprint=fingerprint, stream_fingerprint=stream)
    check(run, **OURS)
