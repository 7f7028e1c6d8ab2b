"""Parameters, FLOPs and model FLOPs utilization (MFU), for any architecture.

Invariant: parameters are counted on the model that Transformers builds, on torch's meta device
(no memory, no arithmetic), so a count is exact whatever the architecture's biases and norms are.
Imports nothing at first, because the GPU benchmark runs parts of it on bare machines.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from ccx_ray.study.training_spec import ModelSpec

EOS_ID, PAD_ID = 0, 1
"""Which ids the special tokens have changes no size."""

# Dense tensor-core peaks in FLOP/s from NVIDIA's data sheets (SXM parts, without sparsity), by a
# part of the name that CUDA gives the device. An unknown device has no MFU rather than a wrong one.
BF16_PEAKS = {
    "B200": 2250e12,
    "H200": 989.5e12,
    "H100": 989.5e12,
    "A100": 312e12,
    "L40S": 362e12,
}


PEAK_TFLOPS = "CCX_RAY_PEAK_TFLOPS"


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """Counts that follow from an architecture's shapes."""

    parameters: int
    """Each weight once: a tied head counts with the embedding. Qwen2.5-0.5B has 494,032,768, the
    published number."""
    multiplied_parameters: int
    """Without the input embedding where the head is a matrix of its own: a look-up computes
    nothing. N in the FLOPs of a token."""
    matrix_parameters: int
    """Of them in weight matrices, which autocast copies to bf16."""
    head_parameters: int
    attention_layers: int
    attention_width: int
    """Heads x dimensions a head; 0 without attention."""

    def flops_per_token(self, sequence_length: int) -> float:
        """FLOPs of the forward and the backward pass over one token."""
        return flops_per_token(
            parameters=self.multiplied_parameters,
            attention_layers=self.attention_layers,
            attention_width=self.attention_width,
            sequence_length=sequence_length,
        )


@lru_cache
def _model_size(model: str, vocabulary_size: int) -> ModelSize:
    import torch
    from transformers import AutoModelForCausalLM

    from ccx_ray.study.training_spec import ModelSpec
    from ccx_ray.training.model import build_config

    spec = ModelSpec.model_validate_json(model)
    config = build_config(spec, vocabulary_size=vocabulary_size, eos_id=EOS_ID, pad_id=PAD_ID)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)

    def count(parameters: "list[torch.nn.Parameter]") -> int:
        return sum(parameter.numel() for parameter in parameters)

    everything = list(built.parameters())
    embedding = built.get_input_embeddings().weight
    head = built.get_output_embeddings()
    tied = head is None or head.weight is embedding
    looked_up = 0 if tied else embedding.numel()
    parameters = count(everything)
    heads = spec.attention_heads or 0
    # A hybrid's state-space and convolution layers are named; all layers else attend.
    without = ("mamba", "conv", "linear", "recurrent", "mlp", "moe")
    attending = [kind for kind in layer_kinds(config) if heads and not kind.startswith(without)]
    dimensions = getattr(config, "head_dim", None) or spec.hidden_size // max(heads, 1)
    return ModelSize(
        parameters=parameters,
        multiplied_parameters=parameters - looked_up,
        matrix_parameters=count([p for p in everything if p.ndim >= 2]) - looked_up,
        head_parameters=(embedding if head is None else head.weight).numel(),
        attention_layers=len(attending),
        attention_width=int(heads * dimensions),
    )


def model_size(model: "ModelSpec", vocabulary_size: int) -> ModelSize:
    """Size of the model that ``build_model`` would build."""
    # Only what was given: a field left to the architecture is not the same as its default.
    return _model_size(model.model_dump_json(exclude_unset=True), vocabulary_size)


def flops_per_token(
    *, parameters: int, attention_layers: int, attention_width: int, sequence_length: int
) -> float:
    """FLOPs of the forward and the backward pass over one token: 6 N + 12 L d T.

    The convention of PaLM (arXiv 2204.02311, appendix B): N (``parameters``) counts the head's
    matrix, and the input embedding only where it is the same matrix; the attention's products,
    12 d T in each layer that attends (d: heads x dimensions a head), are not halved for causality;
    recomputed activations are no arithmetic of the model. What an architecture computes beyond its
    weight matrices and attention, such as a state-space scan, does not count: without attention
    this is 6 N.
    """
    return 6.0 * parameters + 12.0 * attention_layers * attention_width * sequence_length


def peak_flops(device_name: str, precision: str) -> float | None:
    """Peak FLOP/s of a device in the training's precision, None where it is not known.

    ``CCX_RAY_PEAK_TFLOPS`` says it of a device that is not in the table.
    """
    known = BF16_PEAKS if precision == "bf16" else {}
    peaks = (peak for name, peak in known.items() if name in device_name)
    return next(peaks, None) or float(os.environ.get(PEAK_TFLOPS, "0")) * 1e12 or None


def layer_kinds(config: "PretrainedConfig") -> list[str]:
    """The kind of every layer where the architecture has several, else one name for all."""
    for name in ("layers_block_type", "layer_types", "block_types"):
        kinds: Any = getattr(config, name, None)
        if kinds:
            return list(kinds)
    return ["layer"] * config.num_hidden_layers
