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
from ccx_ray.training.loss import has_fused_cross_entropy
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
    """Refuse runtime options that the architecture or the machine does not support.

    Args:
        part: ``base`` or ``trials``, for the messages.

    Raises:
        UserError: names the option, the architecture and what would be right.
    """
    field = f"runtime.{part}"
    if "attention" in runtime.model_fields_set:
        check_attention(spec, runtime, field=field)
    model = _small_model(spec) if _asks_for_a_model(runtime) or document_masks else None
    if model is None:
        return
    if runtime.activation_checkpointing and not model.supports_gradient_checkpointing:
        raise UserError(
            f"{field}.activation_checkpointing: {spec.architecture!r} cannot recompute its "
            "activations; leave it off"
        )
    if runtime.compile and not compiled_layers(model):
        raise UserError(
            f"{field}.compile: {spec.architecture!r} has no layers that can be compiled one by "
            "one; leave it off"
        )
    if runtime.fused_loss:
        _check_fused_loss(model, runtime, field=field, architecture=spec.architecture)
    if document_masks and not keeps_documents_apart(model):
        raise UserError(
            f"{part}.document_masks: {spec.architecture!r} lets a token see other documents of its "
            "row also with masks; leave them off, or take an architecture of attention layers "
            "alone, such as qwen2 or llama"
        )


def check_attention(spec: ModelSpec, runtime: TrainingRuntime, *, field: str) -> None:
    """Refuse an attention kernel that is not installed, not for this device, or not the model's.

    Raises:
        UserError: names the kernel and one that works.
    """
    name = runtime.attention
    on_gpu = runtime.gpus_per_worker > 0
    if name == "flash_attention_2":
        if not on_gpu or runtime.precision != "bf16":
            raise UserError(
                f"{field}.attention: {name!r} needs a GPU and precision bf16; give 'sdpa'"
            )
        if importlib.util.find_spec("flash_attn") is None:
            raise UserError(
                f"{field}.attention: {name!r} needs the package flash-attn, which is not installed "
                "here; give 'sdpa'"
            )
    if name == "flex_attention" and not on_gpu:
        raise UserError(f"{field}.attention: {name!r} has no backward pass on a CPU; give 'sdpa'")
    from transformers import AutoModelForCausalLM

    config = build_config(spec, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD)
    model_class = AutoModelForCausalLM._model_mapping[type(config)]
    flag = ATTENTION_FLAGS.get(name)
    if flag is None or getattr(model_class, flag):
        return
    raise UserError(
        f"{field}.attention: {spec.architecture!r} has no {name!r} attention; "
        + ("give 'eager'" if hasattr(config, "num_attention_heads") else "leave it out")
    )


def compiled_layers(model: "PreTrainedModel") -> "list[nn.Module]":
    """The layers that ``runtime.compile`` compiles, one by one."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]


def keeps_documents_apart(model: "PreTrainedModel") -> bool:
    """Whether changing one document of a row leaves the logits of the next one as they are."""
    import torch

    from ccx_ray.training.loss import document_inputs

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


def _asks_for_a_model(runtime: TrainingRuntime) -> bool:
    return runtime.activation_checkpointing or runtime.compile or runtime.fused_loss


def _check_fused_loss(
    model: "PreTrainedModel", runtime: TrainingRuntime, *, field: str, architecture: str
) -> None:
    device_type = "cuda" if runtime.gpus_per_worker else "cpu"
    if not has_fused_cross_entropy(device_type, runtime.precision):
        raise UserError(
            f"{field}.fused_loss: needs the package liger-kernel and a GPU, or in fp32 torch 2.13; "
            "pip install 'ccx_ray[gpu]', or leave it off"
        )
    if not head_is_plain(model):
        raise UserError(
            f"{field}.fused_loss: {architecture!r} does more to its logits than one matrix "
            "product, which the fused loss would leave out; leave it off"
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
        model = None
        for candidate in (narrow, spec):
            try:
                model = _build(candidate)
                break
            except (UserError, ValueError, RuntimeError, AssertionError):
                # Options can be bound to the true width, such as the heads of a state-space layer.
                if candidate is spec:
                    raise
        assert model is not None
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model.eval()


def _build(spec: ModelSpec) -> "PreTrainedModel":
    return build_model(spec, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=0)
