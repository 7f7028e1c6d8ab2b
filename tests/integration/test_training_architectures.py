"""Each architecture is built, trained, saved, and opened by Transformers as the trained model."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from ccx_ray.study.training_spec import ModelSpec, OptimizerSpec, TrainingRuntime
from ccx_ray.training.engine import TrainingEngine
from ccx_ray.training.model import build_model, check_architecture, save_model
from tests.training_runs import EOS, LENGTH, PAD, VOCABULARY, join_process_group

SIZES: dict[str, Any] = {"hidden_size": 32, "layers": 2}
ATTENTION = {**SIZES, "attention_heads": 4, "intermediate_size": 64}
GROUPED = {**ATTENTION, "key_value_heads": 2}

SPECS = {
    "qwen2": {**GROUPED, "architecture": "qwen2"},
    "qwen2-untied": {**GROUPED, "architecture": "qwen2", "tie_embeddings": False},
    "qwen3": {**GROUPED, "architecture": "qwen3"},
    "llama": {**GROUPED, "architecture": "llama", "tie_embeddings": False},
    "llama-biases": {
        **GROUPED,
        "architecture": "llama",
        "options": {"attention_bias": True, "mlp_bias": True},
    },
    "gpt_neox": {**ATTENTION, "architecture": "gpt_neox", "tie_embeddings": False},
    "gpt_neox-sequential": {
        **ATTENTION,
        "architecture": "gpt_neox",
        "options": {"use_parallel_residual": False, "attention_bias": False},
    },
    "gpt2": {**ATTENTION, "architecture": "gpt2"},
    "opt": {**ATTENTION, "architecture": "opt"},
    "bloom": {**SIZES, "attention_heads": 4, "architecture": "bloom"},
    "mixtral": {**GROUPED, "architecture": "mixtral", "options": {"num_local_experts": 4}},
    "deepseek_v3": {
        **ATTENTION,
        "architecture": "deepseek_v3",
        "options": {
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "moe_intermediate_size": 16,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    },
    "mamba": {**SIZES, "architecture": "mamba", "options": {"state_size": 4}},
    "mamba2": {
        **SIZES,
        "architecture": "mamba2",
        "options": {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1},
    },
    "falcon_h1": {
        **GROUPED,
        "architecture": "falcon_h1",
        "options": {
            "mamba_n_heads": 8,
            "mamba_d_head": 8,
            "mamba_d_ssm": 64,
            "mamba_d_state": 8,
            "mamba_n_groups": 1,
        },
    },
}


def trained(spec: ModelSpec, stage: int = 1) -> tuple[TrainingEngine, list[float]]:
    join_process_group()
    engine = TrainingEngine(
        build_model(spec, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=0),
        pad_id=PAD,
        eos_id=EOS,
        optimizer=OptimizerSpec(learning_rate=5e-3),
        runtime=TrainingRuntime(sequences_per_device=4, zero_stage=stage),
        accumulation=2,
        device=torch.device("cpu"),
    )
    rows_BT = (torch.arange(8)[:, None] * 11 + torch.arange(LENGTH)) % 97 + 2
    return engine, [engine.step(rows_BT, 5e-3)[0] for _ in range(3)]


@pytest.mark.parametrize("name", SPECS)
def test_trains_saves_and_loads(name: str, tmp_path: Path) -> None:
    spec = ModelSpec(**SPECS[name])
    check_architecture(spec)
    engine, losses = trained(spec)
    assert losses[0] > losses[1] > losses[2]
    save_model(engine.model, engine.state(), tmp_path)
    loaded, found = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(found.values()), found
    assert loaded.config.model_type == spec.architecture
    ties = loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert ties == spec.tie_embeddings
    tokens_BT = torch.arange(2, 2 + LENGTH)[None]
    with torch.no_grad():
        ours_BTV, theirs_BTV = (
            model.eval()(input_ids=tokens_BT).logits for model in (engine.model, loaded)
        )
    assert torch.equal(ours_BTV, theirs_BTV)


@pytest.mark.parametrize("name", ["gpt_neox", "mamba", "mixtral", "deepseek_v3", "falcon_h1"])
def test_partitioned_parameters_are_trained_and_saved_alike(name: str, tmp_path: Path) -> None:
    """ZeRO stage 3 leaves no whole parameter in the live model."""
    spec = ModelSpec(**SPECS[name])
    engine, losses = trained(spec, stage=3)
    plain, expected = trained(spec)
    assert losses == pytest.approx(expected, rel=2e-6)
    save_model(engine.model, engine.state(), tmp_path)
    loaded, found = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(found.values()), found
    for parameter_name, parameter in plain.model.named_parameters():
        torch.testing.assert_close(
            loaded.get_parameter(parameter_name), parameter, rtol=1e-3, atol=1e-4
        )


def test_persistent_buffers_are_part_of_the_state(tmp_path: Path) -> None:
    """The router's correction is no parameter, but the model's file holds it."""
    engine, _ = trained(ModelSpec(**SPECS["deepseek_v3"]))
    name = "model.layers.1.mlp.gate.e_score_correction_bias"
    engine.model.get_buffer(name).fill_(0.25)
    state = engine.state()
    assert torch.equal(state[f"buffer/{name}"], torch.full((4,), 0.25))
    engine.model.get_buffer(name).zero_()
    engine.load_state(state, 3)
    save_model(engine.model, state, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    for model in (engine.model, loaded):
        assert torch.equal(model.get_buffer(name), torch.full((4,), 0.25))


def test_a_setting_that_an_architecture_does_not_have_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        check_architecture(ModelSpec(**SPECS["gpt2"]))
        assert not caplog.messages
        check_architecture(ModelSpec(**SPECS["gpt2"], rope_theta=5e5))
    assert any("rope_theta is ignored: gpt2" in message for message in caplog.messages)
