from pathlib import Path

import pytest
import torch

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import ModelSpec
from ccx_ray.training.model import build_model, check_architecture, load_model
from tests.training_runs import MODEL


def model_of(spec: ModelSpec, seed: int = 0) -> torch.nn.Module:
    return build_model(spec, vocabulary_size=320, eos_id=0, pad_id=1, seed=seed)


def test_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (model_of(MODEL, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "mistral", "qwen3", "gpt2", "opt"])
def test_every_size_of_the_spec_reaches_the_model(architecture: str) -> None:
    classic = architecture in ("gpt2", "opt")
    spec = MODEL.model_copy(
        update={"architecture": architecture, "key_value_heads": 4 if classic else 2}
    )
    check_architecture(spec)
    model = model_of(spec)
    config = model.config
    assert config.model_type == architecture
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (32, 2, 4)
    assert model.get_input_embeddings().weight.shape[0] == 320
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    shapes = {tuple(sorted(p.shape)) for p in model.parameters() if p.ndim == 2}
    assert (32, 64) in shapes, "the feed-forward size"
    assert (config.eos_token_id, config.pad_token_id) == (0, 1)
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_rotary_base_reaches_the_model() -> None:
    spec = MODEL.model_copy(update={"rope_theta": 5e5})
    assert model_of(spec).config.rope_parameters["rope_theta"] == 5e5


@pytest.mark.parametrize("architecture", ["qwen22", "vit", ""])
def test_an_unknown_architecture_is_named(architecture: str) -> None:
    spec = MODEL.model_copy(update={"architecture": architecture})
    with pytest.raises(UserError, match=rf"model\.architecture: '{architecture}' is not a causal"):
        check_architecture(spec)


def test_a_size_that_the_architecture_cannot_take_is_refused() -> None:
    spec = MODEL.model_copy(update={"architecture": "gpt2"})
    with pytest.raises(UserError, match=r"model\.key_value_heads: 2 .*'gpt2'.*attention_heads"):
        check_architecture(spec)


def test_an_initial_model_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    model_of(MODEL).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="vocabulary of 320, the training stream has 400"):
        load_model(tmp_path, vocabulary_size=400)


def test_a_missing_initial_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.* is not a Hugging Face model folder"):
        load_model(tmp_path / "nowhere", vocabulary_size=320)
