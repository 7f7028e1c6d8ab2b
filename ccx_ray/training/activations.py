"""Bytes of activations of one forward and backward pass, counted by running it on fake tensors.

Fake tensors have shapes and types alone, so attention kernels, autocast's copies
and recomputation count as they really happen, for every architecture, in tenths of a second.
Invariant: nothing here allocates memory of the model's size or computes with it.
"""

import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ccx_ray.study.training_spec import ModelSpec
from ccx_ray.training.model import build_config
from ccx_ray.training.size import EOS_ID, PAD_ID, layer_kinds

if TYPE_CHECKING:
    from transformers import PretrainedConfig

TRACED_VOCABULARY = 64
"""Of the traced decoder; embedding and head are not counted here."""


@dataclass(frozen=True, kw_only=True)
class Activations:
    """Bytes of one pass through the decoder, without its head and without gradients of weights."""

    kept: int
    """Alive when the forward pass ends: what all layers keep for the backward pass, autocast's
    copies of their weights included."""
    backward: int
    """The most beyond ``kept`` while the backward pass goes through a layer."""


def decoder_activations(
    spec: ModelSpec,
    *,
    sequences: int,
    sequence_length: int,
    bf16: bool,
    checkpointing: bool,
    attention: str,
) -> Activations:
    """Activations of a pass over ``sequences`` rows.

    Layers of one kind are alike, so one and two of them are traced and the rest is extrapolated; a
    hybrid is traced whole. An architecture whose code looks at the values of its tensors raises
    whatever it likes.
    """
    return _decoder_activations(
        spec.model_dump_json(exclude_unset=True),
        sequences,
        sequence_length,
        bf16=bf16,
        checkpointing=checkpointing,
        # Flash and flex attention keep what torch's own fused kernel keeps: the output and one
        # number for each head and position.
        attention="eager" if attention == "eager" else "sdpa",
    )


@lru_cache
def _decoder_activations(
    model: str, sequences: int, length: int, *, bf16: bool, checkpointing: bool, attention: str
) -> Activations:
    spec = ModelSpec.model_validate_json(model)

    def config(layers: int) -> "PretrainedConfig":
        config = build_config(
            spec.model_copy(update={"layers": layers}),
            vocabulary_size=TRACED_VOCABULARY,
            eos_id=EOS_ID,
            pad_id=PAD_ID,
        )
        config._attn_implementation = attention if spec.attention_heads else "eager"
        return config

    def traced(layers: int) -> Activations:
        return _trace(config(layers), sequences, length, bf16, checkpointing)

    if len(set(layer_kinds(config(spec.layers)))) > 1 or spec.layers < 3:
        return traced(spec.layers)
    one, two = traced(1), traced(2)
    return Activations(
        kept=one.kept + (spec.layers - 1) * (two.kept - one.kept), backward=two.backward
    )


def _trace(
    config: "PretrainedConfig", sequences: int, length: int, bf16: bool, checkpointing: bool
) -> Activations:
    from transformers import AutoModelForCausalLM

    # Some architectures keep small constants that were made outside.
    with FakeTensorMode(allow_non_fake_inputs=True):
        decoder = AutoModelForCausalLM.from_config(config).base_model.train()
        if checkpointing:
            with warnings.catch_warnings():
                # Transformers 5.23 has another name for it beside this one.
                warnings.simplefilter("ignore", FutureWarning)
                decoder.gradient_checkpointing_enable({"use_reentrant": False})
        tokens_BT = torch.zeros((sequences, length), dtype=torch.long)
        live = LiveBytes([*decoder.parameters(), *decoder.buffers(), tokens_BT])
        for parameter in decoder.parameters():
            parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
        with live, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            hidden_BTD = decoder(input_ids=tokens_BT)[0]
        kept = live.peak = live.now
        with live:
            hidden_BTD.sum().backward()
        return Activations(kept=kept, backward=live.peak - kept)


class LiveBytes(TorchDispatchMode):  # type: ignore[misc]
    """Counts the bytes of all tensors that operations make while it is entered, but for ``known``
    ones."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(
        self, operation: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self.now -= size
