"""A model folder that is not whole is refused; its accuracies would be of nobody's model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import check_model_folder, choose_device, load_causal_model
from ccx_ray.evaluation.probes import Probe, ProbeItem
from ccx_ray.evaluation.scoring import encode_probe
from tests.probe_models import score_probe, write_random_model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("whole"), vocabulary_size=300)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "model")


@pytest.mark.parametrize(
    ("file", "kind"),
    [("config.json", "config"), ("model.safetensors", "weights"), ("tokenizer.json", "tokenizer")],
)
def test_a_missing_file_is_named_before_anything_is_loaded(folder: Path, file: str, kind: str):
    check_model_folder(folder)
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"no {kind} "):
        check_model_folder(folder)


def test_weights_that_are_not_there_are_not_made_up(folder: Path):
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights are not in its files, such as model\.norm"):
        load_causal_model(folder, "cpu")


def test_a_truncated_file_is_one_line(folder: Path):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot open it: SafetensorError") as raised:
        load_causal_model(folder, "cpu")
    assert "\n" not in str(raised.value)


def test_another_models_tokenizer_is_refused(folder: Path):
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 300, "content": "<x>"})
    path.write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(UserError, match="301 tokens, its model only 300"):
        load_causal_model(folder, "cpu")


def test_broken_weights_are_told_and_not_ranked(folder: Path):
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    item = ProbeItem(question="It is ___.", options=("red", "blue"), answer="red")
    with pytest.raises(UserError, match="scores are not finite"):
        score_probe(
            load_causal_model(folder, "cpu"),
            Probe(name="p", items=(item,)),
            tokens_per_batch=64,
        )


def test_a_tokenizer_that_would_cut_and_pad_does_not(whole: Path, folder: Path):
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["truncation"] = {
        "direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    tokenizer["padding"] = {
        "strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<|endoftext|>",
    }  # fmt: skip
    path.write_text(json.dumps(tokenizer), "utf-8")
    item = ProbeItem(question="The sky was _ that day.", options=("red", "b"), answer="b")
    probe = Probe(name="p", items=(item,))
    plain, cut = (
        encode_probe(load_causal_model(one, "cpu"), probe).items[0] for one in (whole, folder)
    )
    assert len(plain.filled[0]) > 8
    assert cut.filled == plain.filled
    assert cut.alone == plain.alone


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == choose_device("cpu") == "cpu"
    with pytest.raises(UserError, match="'cuda' is not available; torch finds no GPU"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device(one) for one in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(UserError, match="'cuda:2' is not available; torch finds cuda:0, cuda:1"):
        choose_device("cuda:2")
    for wrong in ("gpu", "cuda:", "cuda:-1", "CPU"):
        with pytest.raises(UserError, match="--device"):
            choose_device(wrong)


def test_the_precision_is_that_of_the_weights(folder: Path):
    assert load_causal_model(folder, "cpu").network.dtype == torch.float32
    assert load_causal_model(folder, "cpu", "bfloat16").network.dtype == torch.bfloat16
