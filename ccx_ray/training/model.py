"""The model: any Hugging Face causal architecture, built from the spec's config by name.

Invariants: two models of one spec and seed are equal bit for bit; a setting of the spec that the
architecture cannot take is refused, never silently ignored.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import ModelSpec

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

# Spec field -> the names that Hugging Face configs give it. GPT-2 and its kin call the layer sizes
# n_embd, n_layer, ...; their configs map the standard names, except for the feed-forward size.
CONFIG_NAMES = {
    "hidden_size": ("hidden_size",),
    "layers": ("num_hidden_layers",),
    "attention_heads": ("num_attention_heads",),
    "key_value_heads": ("num_key_value_heads",),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "max_positions": ("max_position_embeddings",),
    "tie_embeddings": ("tie_word_embeddings",),
}


def check_architecture(spec: ModelSpec) -> None:
    """Refuse an architecture that Transformers has no causal language model for.

    Raises:
        UserError: the name is unknown or not a causal language model's, or it cannot take one of
            the spec's sizes.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if spec.architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UserError(
            f"model.architecture: {spec.architecture!r} is not a causal language model of "
            "Transformers; give a model type such as qwen2, llama, gpt2 or mistral"
        )
    build_config(spec, vocabulary_size=300, eos_id=0, pad_id=1)


def build_config(
    spec: ModelSpec, *, vocabulary_size: int, eos_id: int, pad_id: int
) -> "PretrainedConfig":
    """The architecture's config with the spec's sizes and the tokenizer's ids.

    Raises:
        UserError: the architecture cannot take a field of the spec.
    """
    from transformers import AutoConfig

    known = AutoConfig.for_model(spec.architecture)
    settings: dict[str, Any] = {
        "vocab_size": vocabulary_size,
        "bos_token_id": eos_id,
        "eos_token_id": eos_id,
        "pad_token_id": pad_id,
        # The cache is for generation; training would only fill it.
        "use_cache": False,
        "dtype": "float32",
    }
    for field, names in CONFIG_NAMES.items():
        name = next((name for name in names if hasattr(known, name)), None)
        if name is not None:
            settings[name] = getattr(spec, field)
        elif field != "key_value_heads" or spec.key_value_heads != spec.attention_heads:
            raise UserError(
                f"model.{field}: {getattr(spec, field)!r} cannot be given to architecture "
                f"{spec.architecture!r}, which has no such setting"
                + ("; give as many as attention_heads" if field == "key_value_heads" else "")
            )
    if (
        spec.attention_heads
        and hasattr(known, "head_dim")
        and "head_dim" not in known.attribute_map
    ):
        settings["head_dim"] = spec.hidden_size // spec.attention_heads
    if hasattr(known, "rope_parameters"):
        settings["rope_parameters"] = {"rope_type": "default", "rope_theta": spec.rope_theta}
    else:
        logger.warning("model.rope_theta is ignored: %s has no rotary positions", spec.architecture)
    return AutoConfig.for_model(spec.architecture, **settings)


def build_model(
    spec: ModelSpec, *, vocabulary_size: int, eos_id: int, pad_id: int, seed: int
) -> "PreTrainedModel":
    """A model with fresh fp32 weights drawn from ``seed`` alone."""
    import torch
    from transformers import AutoModelForCausalLM

    config = build_config(spec, vocabulary_size=vocabulary_size, eos_id=eos_id, pad_id=pad_id)
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config)


def load_model(folder: Path, *, vocabulary_size: int) -> "PreTrainedModel":
    """The fp32 model of a Hugging Face folder, ready to be trained on.

    Raises:
        UserError: the folder is not there, or its vocabulary is not the stream's.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise UserError(f"initial model: {str(folder)!r} is not a Hugging Face model folder")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if model.config.vocab_size != vocabulary_size:
        raise UserError(
            f"initial model: {str(folder)!r} has a vocabulary of {model.config.vocab_size}, "
            f"the training stream has {vocabulary_size}; use the tokenizer it was trained with"
        )
    model.config.use_cache = False
    return model
