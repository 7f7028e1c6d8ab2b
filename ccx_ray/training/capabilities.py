"""Checks of runtime options against the architecture, before any compute is spent.

Transformers says of each model class which attention kernels it has and whether it can recompute
activations. Whether documents stay apart, and whether the head is nothing but a matrix product, is
found by running a small model of the architecture. Invariant: what passes here does in training
what the option says; an architecture that would do something else is refused.
"""

import importlib.util
from typing import TYPE_CHECKING

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import ModelSpec, TrainingRuntime
from ccx_ray.training.loss import document_inputs, has_fused_cross_entropy
from ccx_ray.training.model import build_config, build_model, has_attention

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

EOS, PAD, VOCABULARY = 0, 1, 300
ATTENTION_FLAGS = {
    "sdpa": "_supports_sdpa",
    "flash_attention_2": "_supports_flash_attn",
    "flex_attention": "_supports_flex_attn",
}
NOTICEABLE = 1e-4
"""A larger difference of logits is not rounding; a leak of the probe's documents is above 1e-2."""


def check_capabilities(
    spec: ModelSpec, runtime: TrainingRuntime, *, document_masks: bool, part: str
) -> None:
    """Refuse options of ``base`` or ``trials`` that the architecture or the machine does not have.

    Raises:
        UserError: names the option, the architecture and what would be right.
    """

    def refuse(option: str, problem: str) -> None:
        raise UserError(f"runtime.{part}.{option}: {problem}")

    name = repr(spec.architecture)
    if "attention" in runtime.model_fields_set:
        problem = _attention_problem(spec, runtime)
        if problem:
            refuse("attention", problem)
    model_options = runtime.activation_checkpointing or runtime.compile or runtime.fused_loss
    if not model_options and not document_masks:
        return
    model = _small_model(spec)
    if runtime.activation_checkpointing and not model.supports_gradient_checkpointing:
        refuse("activation_checkpointing", f"{name} cannot recompute its activations; leave it off")
    if runtime.compile and not compiled_layers(model):
        refuse("compile", f"{name} has no layers that can be compiled one by one; leave it off")
    device_type = "cuda" if runtime.gpus_per_worker else "cpu"
    if runtime.fused_loss and not has_fused_cross_entropy(device_type, runtime.precision):
        refuse(
            "fused_loss",
            "needs the package liger-kernel and a GPU, or in fp32 torch 2.13; pip install "
            "'ccx_ray[gpu]', or leave it off",
        )
    if runtime.fused_loss and not head_is_plain(model):
        refuse(
            "fused_loss",
            f"{name} does more to its logits than one matrix product, which the fused loss would "
            "leave out; leave it off",
        )
    if document_masks and not keeps_documents_apart(model):
        raise UserError(
            f"{part}.document_masks: {name} ignores masks, so tokens see other documents of "
            "their row; leave them off, or use an architecture with attention layers only, such "
            "as qwen2 or llama"
        )


def _attention_problem(spec: ModelSpec, runtime: TrainingRuntime) -> str | None:
    """Why an attention kernel is not installed, not for this device, or not the model's, and one
    that works."""
    from transformers import AutoModelForCausalLM

    name = runtime.attention
    on_gpu = runtime.gpus_per_worker > 0
    if name == "flash_attention_2":
        if not on_gpu or runtime.precision != "bf16":
            return f"{name!r} needs a GPU and precision bf16; give 'sdpa'"
        if importlib.util.find_spec("flash_attn") is None:
            return (
                f"{name!r} needs the package flash-attn, which is not installed here; give 'sdpa'"
            )
    if name == "flex_attention" and not on_gpu:
        return f"{name!r} has no backward pass on a CPU; give 'sdpa'"
    config = build_config(spec, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD)
    model_class = AutoModelForCausalLM._model_mapping[type(config)]
    if name == "eager" or getattr(model_class, ATTENTION_FLAGS[name]):
        return None
    remedy = "give 'eager'" if hasattr(config, "num_attention_heads") else "leave it out"
    return f"{spec.architecture!r} has no {name!r} attention; {remedy}"


def compiled_layers(model: "PreTrainedModel") -> "list[nn.Module]":
    """The layers that ``runtime.compile`` compiles, one by one."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]


def keeps_documents_apart(model: "PreTrainedModel") -> bool:
    """Whether changing one document of a row leaves the logits of the next one as they are."""
    import torch

    if not has_attention(model):
        return False
    length, end = 24, 9
    random = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(2, VOCABULARY, (2, length), generator=random)
    others_BT = torch.randint(2, VOCABULARY, (2, length), generator=random)
    others_BT[:, end:] = tokens_BT[:, end:]
    tokens_BT[:, end] = others_BT[:, end] = EOS
    try:
        with torch.no_grad():
            here, there = (
                model(**document_inputs(rows_BT, EOS, flat=False)).logits[:, end + 1 :]
                for rows_BT in (tokens_BT, others_BT)
            )
    except (TypeError, ValueError):  # takes no position ids, or says itself that it cannot
        return False
    return float((here - there).abs().max()) < NOTICEABLE


def head_is_plain(model: "PreTrainedModel") -> bool:
    """Whether logits are the head's matrix product and nothing more: no softcap, no scale."""
    import torch

    tokens_BT = torch.arange(2, 18)[None]
    with torch.no_grad():
        logits_BTV = model(input_ids=tokens_BT).logits
        hidden_BTE = model.base_model(input_ids=tokens_BT).last_hidden_state
        plain_BTV = model.get_output_embeddings()(hidden_BTE)
    return plain_BTV.shape == logits_BTV.shape and bool(
        (plain_BTV - logits_BTV).abs().max() < NOTICEABLE
    )


def _small_model(spec: ModelSpec) -> "PreTrainedModel":
    """The architecture with all its layers, narrow, and with weights large enough to show leaks."""
    import torch

    narrow = spec.model_copy(
        update={
            "hidden_size": 16 * (spec.attention_heads or 4),
            "intermediate_size": spec.intermediate_size and 64,
            "max_positions": 64,
        }
    )
    with torch.random.fork_rng(devices=[]):
        try:
            model = _build(narrow)
        except (UserError, ValueError, RuntimeError, AssertionError):
            # Options can be bound to the true width, such as the heads of a state-space layer.
            model = _build(spec)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def _build(spec: ModelSpec) -> "PreTrainedModel":
    return build_model(spec, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=0)
