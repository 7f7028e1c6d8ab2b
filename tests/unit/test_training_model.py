import importlib.util
from pathlib import Path

import pytest
import torch

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import ModelSpec, TrainingRuntime
from ccx_ray.training.capabilities import check_capabilities
from ccx_ray.training.model import build_model, check_architecture, load_model
from tests.training_runs import MODEL

MAMBA = ModelSpec(architecture="mamba", hidden_size=32, layers=2, options={"state_size": 4})


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


def with_options(**options: object) -> ModelSpec:
    return MODEL.model_copy(update={"options": options})


def test_options_are_settings_of_the_architecture_itself() -> None:
    model = model_of(with_options(rms_norm_eps=1e-3, hidden_act="gelu"))
    assert (model.config.rms_norm_eps, model.config.hidden_act) == (1e-3, "gelu")
    assert model_of(MAMBA).config.state_size == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (with_options(rms_norm_epsilon=1.0), r"rms_norm_epsilon: 'qwen2' has no .*rms_norm_eps"),
        (with_options(num_hidden_layers=3), r"num_hidden_layers: is set by model\.layers"),
        (with_options(vocab_size=3), "vocab_size: is set by the tokenizer"),
        (with_options(attention_dropout=0.1), "attention_dropout: 0.1 .* no dropout"),
        (with_options(rms_norm_eps="small"), "'qwen2' refuses these settings: .*rms_norm_eps"),
        (
            MODEL.model_copy(update={"architecture": "gpt2", "options": {"n_embd": 3}}),
            r"n_embd: is set by model\.hidden_size",
        ),
        (
            MODEL.model_copy(update={"attention_heads": None, "key_value_heads": None}),
            "attention_heads: architecture 'qwen2' has no rule",
        ),
        (
            MODEL.model_copy(update={"intermediate_size": None}),
            "intermediate_size: architecture 'qwen2' has no rule",
        ),
        (
            ModelSpec(architecture="mamba", hidden_size=32, layers=2, attention_heads=4),
            "attention_heads: 4 does not work, because architecture 'mamba'",
        ),
    ],
)
def test_settings_that_would_not_take_effect_are_refused(spec: ModelSpec, message: str) -> None:
    if spec.architecture == "gpt2":
        spec = spec.model_copy(update={"key_value_heads": None})
    with pytest.raises(UserError, match=message) as caught:
        check_architecture(spec)
    assert "\n" not in str(caught.value)


def test_a_size_left_open_follows_the_rule_of_the_architecture() -> None:
    spec = MODEL.model_copy(
        update={"architecture": "gpt2", "key_value_heads": None, "intermediate_size": None}
    )
    shapes = {tuple(sorted(p.shape)) for p in model_of(spec).parameters()}
    assert (32, 4 * 32) in shapes
    assert model_of(MAMBA).config.intermediate_size == 2 * 32
    without = MODEL.model_copy(update={"key_value_heads": None})
    assert model_of(without).config.num_key_value_heads == 4


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "opt"])
def test_nothing_is_random_while_training(architecture: str, tmp_path: Path) -> None:
    """Also where the config of a published model switches dropout on."""
    spec = MODEL.model_copy(update={"architecture": architecture, "key_value_heads": None})
    built = model_of(spec)
    published = model_of(spec)
    for name in ("resid_pdrop", "attn_pdrop", "hidden_dropout", "dropout"):
        if hasattr(published.config, name):
            setattr(published.config, name, 0.5)
    published.save_pretrained(tmp_path)
    tokens_BT = torch.arange(2, 34)[None]
    for model in (built, load_model(tmp_path, vocabulary_size=320)):
        model.train()
        with torch.no_grad():
            first, again = (model(input_ids=tokens_BT).logits for _ in range(2))
        assert torch.equal(first, again)


FALCON_H1 = MODEL.model_copy(
    update={
        "architecture": "falcon_h1",
        "options": {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_ssm": 64, "mamba_n_groups": 1},
    }
)


@pytest.mark.parametrize(
    ("spec", "runtime", "masks", "message"),
    [
        (MAMBA, {}, True, r"base\.document_masks: 'mamba' ignores masks"),
        (FALCON_H1, {}, True, r"base\.document_masks: 'falcon_h1' ignores masks"),
        (
            MODEL.model_copy(update={"architecture": "opt", "key_value_heads": None}),
            {},
            True,
            "opt",
        ),
        (MODEL, {"attention": "flash_attention_2"}, False, "needs a GPU and precision bf16"),
        (MODEL, {"attention": "flex_attention"}, False, "no backward pass on a CPU"),
        (
            MODEL.model_copy(update={"architecture": "gemma2"}),
            {"attention": "sdpa"},
            False,
            "'gemma2' has no 'sdpa' attention; give 'eager'",
        ),
        (MODEL, {"fused_loss": True, "precision": "bf16"}, False, "needs the package liger-kernel"),
        (
            MODEL.model_copy(update={"architecture": "gemma2"}),
            {"fused_loss": True},
            False,
            "'gemma2' does more to its logits",
        ),
    ],
)
def test_options_that_could_not_be_followed_are_refused(
    spec: ModelSpec, runtime: dict[str, object], masks: bool, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check_capabilities(spec, TrainingRuntime(**runtime), document_masks=masks, part="base")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "gpt_neox", "gpt2", "gemma2"])
def test_options_that_can_be_followed_pass(architecture: str) -> None:
    spec = MODEL.model_copy(update={"architecture": architecture})
    if architecture.startswith("gpt"):
        spec = spec.model_copy(update={"key_value_heads": None})
    runtime = TrainingRuntime(attention="eager", activation_checkpointing=True, compile=True)
    check_capabilities(spec, runtime, document_masks=True, part="trials")


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "mamba"])
def test_a_plain_head_can_be_fused(architecture: str) -> None:
    if not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip("this torch has no fused loss for the CPU")
    spec = MAMBA if architecture == "mamba" else MODEL
    spec = spec.model_copy(update={"architecture": architecture})
    runtime = TrainingRuntime(fused_loss=True)
    check_capabilities(spec, runtime, document_masks=False, part="base")


def test_a_package_that_is_not_installed_is_named() -> None:
    if importlib.util.find_spec("flash_attn"):
        pytest.skip("flash-attn is installed")
    runtime = TrainingRuntime(gpus_per_worker=1, precision="bf16", attention="flash_attention_2")
    with pytest.raises(UserError, match="needs the package flash-attn"):
        check_capabilities(MODEL, runtime, document_masks=False, part="base")
