import logging
from pathlib import Path

import pytest
import torch

from ccx_ray.errors import UserError
from ccx_ray.training.checkpoints import (
    ResumePoint,
    checkpoint_folder,
    find_resume_point,
    load_resume_state,
    prune_resume_states,
    publish_checkpoint,
    publish_resume_state,
    published_steps,
)
from ccx_ray.training.history import StepRecord
from tests.training_runs import MODEL, write_tokenizer

RECORD = StepRecord(
    step=1, loss=1.0 / 3, learning_rate=1e-3, gradient_norm=0.7, tokens=120,
    first_row=0, last_row=8, seconds=0.25,
)  # fmt: skip
STATE = {"parameter/w": torch.randn(3, 2), "exp_avg/w": torch.randn(3, 2)}


def point(step: int) -> ResumePoint:
    return ResumePoint(
        step=step, rows=8 * step, seed=0, fingerprint="run", stream_fingerprint="stream"
    )


def test_a_checkpoint_opens_with_hugging_face_and_no_key_missing(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ccx_ray.training.model import build_model

    tokenizer_folder = write_tokenizer(tmp_path / "tokenizer")
    (tokenizer_folder / "_complete.json").write_text("{}")
    model = build_model(MODEL, vocabulary_size=320, eos_id=0, pad_id=1, seed=0)
    publish_checkpoint(tmp_path, 20, model, tokenizer_folder)
    folder = checkpoint_folder(tmp_path, 20)
    assert folder == tmp_path / "checkpoints" / "step-000020"
    assert not (folder / "_complete.json").exists()
    logging.disable(logging.NOTSET)
    loaded, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    for name, parameter in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), parameter)
        assert loaded.get_parameter(name).dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token_id == loaded.config.eos_token_id
    assert tokenizer.decode(tokenizer.encode("ལྷ་ས")) == "ལྷ་ས"


def test_what_is_not_published_is_not_seen(tmp_path: Path) -> None:
    assert published_steps(tmp_path) == []
    (tmp_path / "checkpoints" / ".step-000030.partial").mkdir(parents=True)
    for step in (100, 20):
        checkpoint_folder(tmp_path, step).mkdir()
    assert published_steps(tmp_path) == [20, 100]


def test_the_newest_state_is_found_and_comes_back_exactly(tmp_path: Path) -> None:
    publish_resume_state(tmp_path, point(3), STATE, [RECORD])
    publish_resume_state(tmp_path, point(6), STATE, [RECORD, RECORD])
    (tmp_path / "resume" / ".step-000009.partial").mkdir()
    found = find_resume_point(tmp_path, fingerprint="run", stream_fingerprint="stream")
    assert found == point(6)
    state, history = load_resume_state(tmp_path, found)
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)
    assert history == [RECORD, RECORD]


def test_only_the_newest_state_is_kept_and_none_when_complete(tmp_path: Path) -> None:
    for step in (3, 6):
        publish_resume_state(tmp_path, point(step), STATE, [RECORD])
    prune_resume_states(tmp_path, before=6)
    assert [p.name for p in (tmp_path / "resume").iterdir()] == ["step-000006"]
    prune_resume_states(tmp_path)
    assert find_resume_point(tmp_path, fingerprint="run", stream_fingerprint="stream") is None


@pytest.mark.parametrize(
    ("name", "run", "stream"), [("stream", "run", "x"), ("training", "x", "stream")]
)
def test_a_state_of_another_stream_or_training_is_refused(
    tmp_path: Path, name: str, run: str, stream: str
) -> None:
    publish_resume_state(tmp_path, point(3), STATE, [RECORD])
    with pytest.raises(UserError, match=f"step-000003: was written with {name} .* this run has"):
        find_resume_point(tmp_path, fingerprint=run, stream_fingerprint=stream)
