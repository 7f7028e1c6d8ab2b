"""The training objective: next-token cross-entropy over the tokens that are not padding.

Invariant: loss and gradient equal ``torch.nn.functional.cross_entropy`` with ``reduction="sum"``
to rounding, whatever the chunk size.

Document masks: a token sees tokens of its own document of the row and nothing else. Transformers
builds block-diagonal causal masks out of position ids that start again at zero, where it is given
neither an attention mask nor a cache (``masking_utils.find_packed_sequence_indices``), so position
ids are all that is made here. A document ends with its end-of-text token alone: the separator
inside a bridge ends nothing, so the two halves of a bridge see each other; padding stands behind
the last token of a row, where no token can see it. Which tokens are predicted does not depend on
the masks: an end-of-text still predicts the first token of the next document.

Shape suffixes: B sequences, T tokens of a sequence, N = B * T positions, V vocabulary, E width of
the model, D documents. ``tokens_BT`` is int64. Needs torch alone, so that it also runs on a bare
GPU machine.
"""

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

IGNORED = -100
"""Label of a position that has no next token to predict; the default of ``cross_entropy``."""

CPU_CHUNK, DEVICE_CHUNK = 2**18, 2**28
"""Logits that are worked on at a time: a megabyte stays in a core's cache, on a GPU few launches
count. On one core with 2,048 positions and 4,096 tokens this takes a third off the whole step,
because torch's own kernels write five arrays of 32 MB to fresh pages."""


def next_token_labels(tokens_BT: Tensor, pad_id: int) -> Tensor:
    """Each position's next token; ``IGNORED`` at the end of a row and where it is padding.

    Shifting the labels instead of the logits spares a copy of the logits, the largest tensor.
    """
    labels_BT = torch.full_like(tokens_BT, IGNORED)
    labels_BT[:, :-1] = tokens_BT[:, 1:]
    return labels_BT.masked_fill_(labels_BT == pad_id, IGNORED)


class NextTokenLoss(nn.Module):  # type: ignore[misc]
    """A causal language model that returns its *summed* cross-entropy.

    The sum, because the mean is over the whole optimizer step, whose padding no single forward
    pass knows. Weights stay fp32; with ``bf16`` the forward pass runs in autocast, so a
    checkpoint is exact in both precisions.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        precision: str,
        masked_eos_id: int | None = None,
        fused: bool = False,
    ) -> None:
        """
        Args:
            masked_eos_id: end-of-text, when the documents that it ends may not see each other.
            fused: head and cross-entropy together, so that the logits are never whole in memory.
                Right for heads that are one matrix product, without softcap or scale.
        """
        super().__init__()
        self.model = model
        self._bf16 = precision == "bf16"
        self._masked_eos_id = masked_eos_id
        self._fused = fused

    def forward(self, tokens_BT: Tensor, labels_BT: Tensor) -> Tensor:
        inputs: dict[str, Any] = {"input_ids": tokens_BT}
        if self._masked_eos_id is not None:
            flat = self.model.config._attn_implementation.startswith("flash")
            inputs = document_inputs(tokens_BT, self._masked_eos_id, flat=flat)
        with torch.autocast(tokens_BT.device.type, torch.bfloat16, enabled=self._bf16):
            if self._fused:
                hidden_NE = self.model.base_model(**inputs).last_hidden_state.flatten(0, 1)
                head = self.model.get_output_embeddings()
                weight_VE, bias_V = head.weight, head.bias
                if self._bf16:
                    # Cast once. Left to autocast, the head would be cast anew for every chunk of
                    # positions; a wide vocabulary makes hundreds of them.
                    hidden_NE, weight_VE = hidden_NE.bfloat16(), weight_VE.bfloat16()
                    bias_V = None if bias_V is None else bias_V.bfloat16()
                return fused_cross_entropy(hidden_NE, weight_VE, bias_V, labels_BT.flatten())
            logits_BTV = self.model(**inputs).logits
        loss: Tensor = SummedCrossEntropy.apply(logits_BTV.flatten(0, 1), labels_BT.flatten())
        return loss


def has_fused_cross_entropy(device_type: str, precision: str) -> bool:
    """Whether ``fused_cross_entropy`` can be had here, on ``cpu`` or ``cuda``.

    torch's own (2.13 and later) returns the sum in the precision of its operands, and a sum in
    bf16 is off by half a percent; so bf16 needs Liger.
    """
    by_torch = precision == "fp32" and hasattr(nn.functional, "linear_cross_entropy")
    return _has_liger(device_type) or by_torch


def fused_cross_entropy(
    hidden_NE: Tensor, weight_VE: Tensor, bias_V: Tensor | None, labels_N: Tensor
) -> Tensor:
    """Summed cross-entropy of the head's logits, which are made a chunk of positions at a time.

    By Liger's kernels on a GPU where they are installed, else by torch's own.
    """
    loss: Tensor
    if _has_liger(hidden_NE.device.type):
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        # The head's gradient is a sum over chunks; in bf16 it would lose its small terms.
        liger = LigerFusedLinearCrossEntropyLoss(
            ignore_index=IGNORED, reduction="sum", accum_dtype=torch.float32
        )
        loss = liger(weight_VE, hidden_NE, labels_N, bias_V)
    else:
        loss = nn.functional.linear_cross_entropy(
            hidden_NE,
            weight_VE,
            labels_N,
            linear_bias=bias_V,
            ignore_index=IGNORED,
            reduction="sum",
            options=nn.LinearCrossEntropyOptions(),
        )
    return loss


def _has_liger(device_type: str) -> bool:
    return device_type == "cuda" and importlib.util.find_spec("liger_kernel") is not None


class SummedCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """Summed cross-entropy that computes its gradient on the way forward, chunk by chunk.

    The gradient is the only array of the logits' size that it makes. Reductions are fp32, the
    total is summed in fp64.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, labels_N: Tensor) -> Tensor:
        gradient_NV = torch.empty_like(logits_NV)
        elements = CPU_CHUNK if logits_NV.device.type == "cpu" else DEVICE_CHUNK
        rows = max(1, elements // logits_NV.shape[-1])
        total = torch.zeros((), dtype=torch.float64, device=logits_NV.device)
        for logits, gradient, labels in zip(
            logits_NV.split(rows), gradient_NV.split(rows), labels_N.split(rows), strict=True
        ):
            valid_N1 = labels.ne(IGNORED)[:, None]
            target_N1 = labels.clamp(min=0)[:, None]
            highest_N1 = logits.amax(-1, keepdim=True).float()
            shares = torch.sub(logits, highest_N1).exp_()
            sums_N1 = shares.sum(-1, keepdim=True)
            losses_N1 = sums_N1.log() + highest_N1 - logits.gather(1, target_N1)
            total += losses_N1.masked_fill(~valid_N1, 0).sum(dtype=torch.float64)
            # softmax - one-hot, and nothing where there is no token to predict
            shares.mul_(valid_N1 / sums_N1)
            shares.scatter_add_(1, target_N1, -valid_N1.to(shares.dtype))
            gradient.copy_(shares)
        ctx.save_for_backward(gradient_NV)
        return total.float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient_NV,) = ctx.saved_tensors
        # In place: this is the only use of it, and a copy would be the largest array of the step.
        return gradient_NV.mul_(gradients[0]), None


def document_positions(tokens_BT: Tensor, eos_id: int) -> Tensor:
    """[B, T] place of each token in its document, counted from 0 in each row anew."""
    places_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    begins_BT = torch.zeros_like(tokens_BT, dtype=torch.bool)
    begins_BT[:, 1:] = tokens_BT[:, :-1] == eos_id
    first_BT = torch.where(begins_BT, places_T, 0).cummax(dim=1).values
    positions_BT: Tensor = places_T - first_BT
    return positions_BT


def document_inputs(tokens_BT: Tensor, eos_id: int, *, flat: bool) -> dict[str, Any]:
    """What a Hugging Face model is called with, so that documents do not see each other.

    Args:
        flat: all rows as one of B * T tokens with the bounds of the documents, which is the only
            form in which flash attention keeps documents apart. Given the bounds, it does not look
            for them in every layer, which would wait for the device each time.
    """
    positions_BT = document_positions(tokens_BT, eos_id)
    if not flat:
        return {"input_ids": tokens_BT, "position_ids": positions_BT}
    begins_D = positions_BT.flatten().eq(0).nonzero().flatten()
    end = torch.tensor([tokens_BT.numel()], device=tokens_BT.device)
    bounds = torch.cat([begins_D, end]).to(torch.int32)
    return {
        "input_ids": tokens_BT.reshape(1, -1),
        "position_ids": positions_BT.reshape(1, -1),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        # An upper bound; the longest document itself would have to be waited for.
        "max_length_q": tokens_BT.shape[1],
        "max_length_k": tokens_BT.shape[1],
    }
