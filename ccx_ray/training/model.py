"""Building, loading and saving the model: any Hugging Face causal architecture, by name.

Invariants: two models of one spec and seed are equal bit for bit; a setting of the spec that the
architecture cannot take is refused, never silently ignored; nothing in a model is random while it
trains, because losses may not depend on how many workers draw the numbers; a folder that
``save_model`` wrote opens with no key missing or unexpected, with the trained model's logits.
"""

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor
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
SET_BY_THE_STUDY = {
    "vocab_size": "the tokenizer",
    "bos_token_id": "the tokenizer",
    "eos_token_id": "the tokenizer",
    "pad_token_id": "the tokenizer",
    "rope_parameters": "model.rope_theta",
    "rope_theta": "model.rope_theta",
    "use_cache": "the training",
    "dtype": "the training",
    "model_type": "model.architecture",
}
RANDOM_WHILE_TRAINING = ("drop", "jitter")
"""Parts of names of settings: ``attn_pdrop``, ``layerdrop``, ``router_jitter_noise``, ..."""


def check_architecture(spec: ModelSpec) -> None:
    """Refuse an architecture that Transformers has no causal language model for, or that cannot
    take one of the spec's sizes or options."""
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
    """The architecture's config with the spec's sizes and the tokenizer's ids; ``UserError`` for a
    field or an option that it cannot take, or needs and has not."""
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
        **_sizes(spec, known),
    }
    has_dimension = hasattr(known, "head_dim") and "head_dim" not in known.attribute_map
    if spec.attention_heads and has_dimension:
        settings["head_dim"] = spec.hidden_size // spec.attention_heads
    if hasattr(known, "rope_parameters"):
        settings["rope_parameters"] = {"rope_type": "default", "rope_theta": spec.rope_theta}
    elif "rope_theta" in spec.model_fields_set:
        logger.warning("model.rope_theta is ignored: %s has no rotary positions", spec.architecture)
    settings |= _options(spec, known)
    try:
        config = AutoConfig.for_model(spec.architecture, **settings)
    except Exception as error:  # configs validate with exceptions of several libraries
        reason = " ".join(str(error).split())
        raise UserError(f"model: {spec.architecture!r} refuses these settings: {reason}") from error
    _switch_randomness_off(config)
    return config


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
    from transformers import AutoConfig, AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise UserError(f"initial model: {str(folder)!r} is not a Hugging Face model folder")
    config = AutoConfig.from_pretrained(folder)
    if config.vocab_size != vocabulary_size:
        raise UserError(
            f"initial model: {str(folder)!r} has a vocabulary of {config.vocab_size}, "
            f"the training stream has {vocabulary_size}; use the tokenizer it was trained with"
        )
    _switch_randomness_off(config)
    config.use_cache = False
    return AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32)


def save_model(model: "PreTrainedModel", state: "Mapping[str, Tensor]", folder: Path) -> None:
    """Write the Hugging Face folder of a model whose state ``TrainingEngine.state`` gave.

    May be called by a thread while the model trains on: of the live model only names, ties and
    config are read.
    """
    tensors = {
        key.partition("/")[2]: tensor
        for key, tensor in state.items()
        if key.startswith(("parameter/", "buffer/"))
    }
    model.save_pretrained(folder, state_dict=tensors)


def has_attention(model: "PreTrainedModel") -> bool:
    """Whether the model has attention layers."""
    return hasattr(model.config, "num_attention_heads")


def _sizes(spec: ModelSpec, known: "PretrainedConfig") -> dict[str, Any]:
    """The spec's sizes under the names of the config ``known``, which is all defaults."""
    settings: dict[str, Any] = {}
    for field, names in CONFIG_NAMES.items():
        value = getattr(spec, field)
        name = next((name for name in names if hasattr(known, name)), None)
        if name is not None and value is not None:
            settings[name] = value
        elif name is not None:
            settings |= _default(spec, known, field, name)
        elif value is not None and field in spec.model_fields_set:
            if field == "key_value_heads" and value == spec.attention_heads:
                continue
            raise UserError(
                f"model.{field}: {value!r} does not work, because architecture "
                f"{spec.architecture!r} has no such setting"
                + ("; give as many as attention_heads" if field == "key_value_heads" else "")
            )
    return settings


def _default(spec: ModelSpec, known: "PretrainedConfig", field: str, name: str) -> dict[str, Any]:
    """The value of a size that the spec leaves open; nothing: the architecture's own rule."""
    from transformers import AutoConfig

    if field == "key_value_heads":
        return {name: spec.attention_heads} if spec.attention_heads else {}
    if field == "intermediate_size":
        ours = AutoConfig.for_model(spec.architecture, hidden_size=2 * known.hidden_size)
        # None stands for a rule (GPT-2: four times the width); so does a number that follows.
        if getattr(ours, name) is None or getattr(ours, name) != getattr(known, name):
            return {}
    raise UserError(
        f"model.{field}: architecture {spec.architecture!r} has no rule for it; give a number"
    )


def _options(spec: ModelSpec, known: "PretrainedConfig") -> dict[str, Any]:
    """The spec's options, when the config has settings of these names that nothing else sets."""
    taken = dict(SET_BY_THE_STUDY)
    for field, names in CONFIG_NAMES.items():
        taken |= {known.attribute_map.get(name, name): f"model.{field}" for name in names}
        taken |= dict.fromkeys(names, f"model.{field}")
    available = known.to_dict().keys() | known.attribute_map.keys()
    for name, value in spec.options.items():
        if name not in available:
            near = difflib.get_close_matches(name, sorted(available - taken.keys()))
            raise UserError(
                f"model.options.{name}: {spec.architecture!r} has no such setting"
                + (f"; similar names are {', '.join(near)}" if near else "")
            )
        if name in taken:
            raise UserError(f"model.options.{name}: is set by {taken[name]}; remove it here")
        if _is_random(name) and value:
            raise UserError(
                f"model.options.{name}: {value!r} would make losses depend on the number of "
                "workers; training has no dropout; remove it"
            )
    return dict(spec.options)


def _switch_randomness_off(config: "PretrainedConfig") -> None:
    for name, value in config.to_dict().items():
        if _is_random(name) and isinstance(value, float):
            setattr(config, name, 0.0)


def _is_random(name: str) -> bool:
    return any(part in name for part in RANDOM_WHILE_TRAINING)
