"""Document masks: a token sees tokens of its own document of the row and nothing else.

Transformers builds block-diagonal causal masks out of position ids that start again at zero, where
it is given neither an attention mask nor a cache (``masking_utils.find_packed_sequence_indices``).
So position ids are all that is made here, and each attention kernel gets the mask in its own form.

Invariant: a document ends with its end-of-text token and is told by that alone. The separator
inside a bridge ends nothing, so the two halves of a bridge see each other; padding stands behind
the last token of a row, where no token can see it.

Which tokens are predicted does not depend on the masks: an end-of-text still predicts the first
token of the next document (from its own document alone), so losses are means over equally many
tokens with and without masks.

Shape suffixes: B sequences, T tokens of a sequence, D documents. ``tokens_BT`` is int64. Needs
torch alone.
"""

from typing import Any

import torch
from torch import Tensor


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
