"""Documents of one row do not see each other, in every kind of attention layer."""

from itertools import pairwise

import pytest
import torch
from transformers import PreTrainedModel

from ccx_ray.study.training_spec import ModelSpec
from ccx_ray.training.loss import (
    IGNORED,
    NextTokenLoss,
    document_inputs,
    document_positions,
    next_token_labels,
)
from ccx_ray.training.model import build_model
from tests.training_runs import EOS, MODEL, PAD, VOCABULARY

ARCHITECTURES = ["qwen2", "llama", "gpt_neox", "gpt2"]
SEPARATOR = 2
BOUNDS = (0, 10, 17, 24)
"""Of the three documents of ``packed_row``; the second is a bridge, the third is cut by the row."""


def model_of(architecture: str, attention: str = "sdpa") -> PreTrainedModel:
    classic = architecture in ("gpt_neox", "gpt2")
    spec: ModelSpec = MODEL.model_copy(
        update={"architecture": architecture, "key_value_heads": None if classic else 2}
    )
    model = build_model(spec, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=0)
    model.set_attn_implementation(attention)
    with torch.no_grad():
        for parameter in model.parameters():
            # Fresh weights are so small that a leak would hardly show.
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model.eval()


def packed_row(seed: int = 0) -> torch.Tensor:
    """[1, 28] a document, a bridge with its separator, a document that the row cuts, padding."""
    random = torch.Generator().manual_seed(seed)
    row_T = torch.randint(3, VOCABULARY, (28,), generator=random)
    row_T[[9, 16]] = EOS
    row_T[13] = SEPARATOR
    row_T[24:] = PAD
    return row_T[None]


def test_positions_start_again_behind_each_end_of_text() -> None:
    tokens_BT = torch.tensor([[5, 6, EOS, 7, SEPARATOR, 8, EOS, EOS, 9, PAD], [EOS, *[5] * 9]])
    assert document_positions(tokens_BT, EOS).tolist() == [
        [0, 1, 2, 0, 1, 2, 3, 0, 0, 1],
        [0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    ]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_document_changes_no_logit(architecture: str, attention: str) -> None:
    model = model_of(architecture, attention)
    row_BT = packed_row()
    with torch.no_grad():
        logits_BTV = model(**document_inputs(row_BT, EOS, flat=False)).logits
        for begin, end in pairwise(BOUNDS):
            others_BT = packed_row(seed=1)
            others_BT[:, begin:end] = row_BT[:, begin:end]
            changed_BTV = model(**document_inputs(others_BT, EOS, flat=False)).logits
            difference_TV = (changed_BTV - logits_BTV)[0]
            assert difference_TV[begin:end].abs().max() == 0
            assert difference_TV.abs().max() > 0.1, "the others did change"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_halves_of_a_bridge_see_each_other(architecture: str) -> None:
    model = model_of(architecture)
    row_BT, other_BT = packed_row(), packed_row()
    other_BT[0, 11] += 1
    with torch.no_grad():
        here, there = (
            model(**document_inputs(rows, EOS, flat=False)).logits[0] for rows in (row_BT, other_BT)
        )
    assert (here - there)[14:17].abs().amax(-1).min() > 0.01


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_loss_is_the_sum_of_the_documents_alone(architecture: str) -> None:
    """Each document, with the same labels, in a row of its own; without masks it is another."""
    model = model_of(architecture)
    row_BT = packed_row()
    labels_BT = next_token_labels(row_BT, PAD)
    masked = NextTokenLoss(model, precision="fp32", masked_eos_id=EOS)
    unmasked = NextTokenLoss(model, precision="fp32")
    with torch.no_grad():
        packed = masked(row_BT, labels_BT).item()
        alone = sum(
            unmasked(row_BT[:, begin:end], labels_BT[:, begin:end]).item()
            for begin, end in pairwise(BOUNDS)
        )
        together = unmasked(row_BT, labels_BT).item()
    assert packed == pytest.approx(alone, rel=1e-5)
    assert together != pytest.approx(alone, rel=1e-3)


def test_masks_change_no_label() -> None:
    """An end-of-text predicts the first token of the next document, with masks as without."""
    row_BT = packed_row()
    labels_BT = next_token_labels(row_BT, PAD)
    assert labels_BT[0, 9] == row_BT[0, 10]
    assert int(labels_BT.ne(IGNORED).sum()) == 23


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_end_to_end_are_the_same_documents(architecture: str) -> None:
    """The form that flash attention needs; also here the other kernels take it."""
    model = model_of(architecture)
    rows_BT = torch.cat([packed_row(0), packed_row(1)])
    flat = document_inputs(rows_BT, EOS, flat=True)
    assert flat["cu_seq_lens_q"].tolist() == [0, 10, 17, 28, 38, 45, 56]
    with torch.no_grad():
        expected_BTV = model(**document_inputs(rows_BT, EOS, flat=False)).logits
        found_BTV = model(**flat).logits.view_as(expected_BTV)
    torch.testing.assert_close(found_BTV, expected_BTV, rtol=1e-4, atol=1e-5)
