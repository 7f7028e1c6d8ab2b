"""The arithmetic of ``--dry-run`` against published numbers."""

from pathlib import Path

import pytest

from ccx_ray.study.folders import StepFolders
from ccx_ray.study.loading import load_study
from ccx_ray.study.plan import flops_per_token, parameter_count, plan_study
from ccx_ray.study.steps import InputFiles, study_graph
from ccx_ray.study.training_spec import ModelSpec

QWEN_HALF_BILLION = ModelSpec(
    hidden_size=896, layers=24, attention_heads=14, key_value_heads=2, intermediate_size=4864
)


def test_parameters_equal_the_published_count():
    assert parameter_count(QWEN_HALF_BILLION, 151_936) == 494_032_768


def test_flops_a_token():
    assert flops_per_token(QWEN_HALF_BILLION, 151_936, 2048) == pytest.approx(3.49e9, rel=0.002)


def test_parameters_equal_what_transformers_builds():
    from transformers import AutoConfig, AutoModelForCausalLM

    study, _ = load_study("laptop")
    spec = study.model
    config = AutoConfig.for_model(
        "qwen2",
        vocab_size=4096,
        hidden_size=spec.hidden_size,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.attention_heads,
        num_key_value_heads=spec.key_value_heads,
        intermediate_size=spec.intermediate_size,
        tie_word_embeddings=spec.tie_embeddings,
    )
    built = AutoModelForCausalLM.from_config(config)
    assert parameter_count(spec, 4096) == sum(p.numel() for p in built.parameters())


def test_a_plan_counts_every_training_once(tmp_path: Path):
    study, root = load_study("laptop")
    graph = study_graph(study, InputFiles(root, allow_missing=True))
    plan = plan_study(study, graph, StepFolders(tmp_path))
    trained = [item for item in plan if item.tokens]
    assert len(trained) == 17
    assert not any(item.done for item in plan)
    trial_tokens = study.trials.steps * study.trials.sequences_per_step * study.sequence_length
    assert sum(item.tokens == trial_tokens for item in trained) == 16
