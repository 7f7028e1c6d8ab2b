"""What the memory estimate refuses, and what it must agree with."""

from dataclasses import replace

import pytest

from ccx_ray.errors import UserError
from ccx_ray.study.loading import load_study
from ccx_ray.study.training_spec import ModelSpec, TrainingRuntime
from ccx_ray.training.memory import (
    GIB,
    STAGES,
    NoEstimateError,
    Workload,
    check_memory,
    estimate_memory,
    workload,
)

HALF_BILLION = Workload(
    model=ModelSpec.model_validate("qwen2.5-0.5b"),
    vocabulary_size=151_936,
    sequence_length=2048,
    sequences_per_step=256,
    runtime=TrainingRuntime(gpus_per_worker=1, precision="bf16", sequences_per_device=8),
    workers=1,
)


def changed(**settings: object) -> Workload:
    runtime = HALF_BILLION.runtime.model_copy(update=settings)
    return replace(HALF_BILLION, runtime=runtime)


def gib(work: Workload) -> float:
    return estimate_memory(work).total / GIB


def test_the_papers_study_fits_in_80_gb_with_8_sequences_a_pass() -> None:
    eight = [f"runtime.{part}.sequences_per_device=8" for part in ("base", "trials")]
    study, _ = load_study("paper", eight)
    check_memory(study)


def test_seven_billion_parameters_on_one_gpu_are_refused_and_told_why() -> None:
    changes = ["model=qwen2.5-7b", "runtime.base.workers=1", "runtime.base.sequences_per_device=1"]
    study, _ = load_study("paper", changes)
    with pytest.raises(UserError) as refusal:
        check_memory(study)
    (line,) = str(refusal.value).splitlines()
    assert line.startswith("runtime.base: needs ")
    assert "at zero_stage 1 with 1 worker, more than 95% of runtime.cost.memory_gib 80" in line
    assert "the largest part is optimizer moments with 56.7 GiB" in line


def test_the_setting_that_a_refusal_names_fits() -> None:
    sixteen = [f"runtime.{part}.sequences_per_device=16" for part in ("base", "trials")]
    study, _ = load_study("paper", ["model=qwen2.5-1.5b", *sixteen])
    with pytest.raises(UserError, match="with sequences_per_device=4 needs") as refusal:
        check_memory(study)
    named = str(refusal.value).partition("runtime.base with ")[2].split()[0]
    settings = [f"runtime.{part}.{named}" for part in ("base", "trials")]
    check_memory(load_study("paper", ["model=qwen2.5-1.5b", *sixteen, *settings])[0])


def test_a_study_on_cpus_is_never_refused() -> None:
    study, _ = load_study("laptop", ["runtime.cost.memory_gib=0.001"])
    check_memory(study)


def test_a_study_is_judged_at_its_least_number_of_workers() -> None:
    study, _ = load_study("paper", ["runtime.base.workers=[2, 4]"])
    assert workload(study, "base").workers == 2


def test_state_is_shared_among_workers_from_the_stage_that_shares_it() -> None:
    four = replace(HALF_BILLION, workers=4)
    terms = [estimate_memory(four, zero_stage=stage).terms for stage in STAGES]
    parameters = 494_032_768
    assert [t["optimizer moments"] for t in terms] == [
        8 * parameters,
        *[2 * parameters] * 3,
    ]
    assert [t["weights"] for t in terms[:3]] == [4 * parameters] * 3
    one = [estimate_memory(HALF_BILLION, zero_stage=stage).total for stage in STAGES]
    assert one[0] < one[1], "on one worker ZeRO only adds its copy of the weights"


def test_what_saves_memory_lowers_the_estimate() -> None:
    whole = gib(HALF_BILLION)
    for settings in (
        {"activation_checkpointing": True},
        {"fused_loss": True},
        {"sequences_per_device": 4},
        {"offload": "optimizer"},
    ):
        assert gib(changed(**settings)) < whole - 1, settings
    assert gib(changed(attention="eager")) > whole + 10, "scores of all pairs of positions"
    assert gib(changed(precision="fp32")) > whole


def test_half_the_sequences_have_half_the_logits() -> None:
    """8 x 2,048 positions x 151,936 tokens in bf16, twice, and the fp32 chunk of the loss."""
    terms = estimate_memory(HALF_BILLION).terms
    logits = 8 * 2048 * 151_936
    assert terms["logits and their gradient"] == 4 * logits + 4 * 2**28


def test_eager_attention_keeps_its_scores() -> None:
    """What fused attention spares: the probabilities of 14 heads, 2,048 x 2,048, in 24 layers."""
    from ccx_ray.training.activations import decoder_activations

    sizes = {"sequences": 1, "sequence_length": 2048, "bf16": False, "checkpointing": False}
    eager, fused = (
        decoder_activations(HALF_BILLION.model, attention=attention, **sizes).kept
        for attention in ("eager", "sdpa")
    )
    assert eager - fused == pytest.approx(4 * 24 * 14 * 2048**2, rel=0.1)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "gpt2", "mamba", "mamba2"])
def test_activations_are_those_of_the_real_model(architecture: str) -> None:
    """The tensors that autograd really keeps, counted on the real model with real memory."""
    import torch

    from ccx_ray.training.activations import decoder_activations
    from ccx_ray.training.model import build_model

    heads = None if architecture.startswith("mamba") else 4
    options = {"num_heads": 8, "head_dim": 16} if architecture == "mamba2" else {}
    spec = ModelSpec(
        architecture=architecture,
        hidden_size=64,
        layers=4,
        attention_heads=heads,
        key_value_heads=heads,
        intermediate_size=heads and 256,
        options=options,
    )
    model = build_model(spec, vocabulary_size=320, eos_id=0, pad_id=1, seed=0)
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.base_model(input_ids=torch.zeros((2, 64), dtype=torch.long))
    estimated = decoder_activations(
        spec,
        sequences=2,
        sequence_length=64,
        bf16=False,
        checkpointing=False,
        attention="sdpa",
    )
    real = sum(storage.nbytes() for storage in kept.values())
    assert estimated.kept == pytest.approx(real, rel=0.1)


def test_an_architecture_that_cannot_be_counted_is_named() -> None:
    work = replace(
        HALF_BILLION,
        model=ModelSpec(
            architecture="mixtral",
            hidden_size=64,
            layers=2,
            attention_heads=4,
            key_value_heads=4,
            intermediate_size=128,
            options={"num_local_experts": 4},
        ),
    )
    with pytest.raises(NoEstimateError, match=r"^mixtral: "):
        estimate_memory(work)
