import subprocess
import sys

import pytest
import torch

from ccx_ray.training.loss import IGNORED, NextTokenLoss, SummedCrossEntropy, next_token_labels
from tests.training_runs import MODEL, PAD


def test_labels_are_the_next_tokens_and_never_padding() -> None:
    tokens_BT = torch.tensor([[5, 6, 0, 7], [5, 0, 1, 1]])
    labels_BT = next_token_labels(tokens_BT, pad_id=1)
    assert labels_BT.tolist() == [[6, 0, 7, IGNORED], [0, IGNORED, IGNORED, IGNORED]]


@pytest.mark.parametrize("positions", [1, 63, 400])
def test_loss_and_gradient_equal_torch_whatever_the_number_of_chunks(positions: int) -> None:
    torch.manual_seed(0)
    # 64 positions of 4,096 tokens are one chunk on the CPU.
    logits = (torch.randn(positions, 4096) * 5).requires_grad_()
    expected = logits.detach().clone().requires_grad_()
    labels = torch.randint(0, 4096, (positions,))
    labels[1::3] = IGNORED
    loss = SummedCrossEntropy.apply(logits, labels)
    reference = torch.nn.functional.cross_entropy(expected, labels, reduction="sum")
    (loss * 0.25).backward()
    (reference * 0.25).backward()
    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(logits.grad, expected.grad, rtol=1e-5, atol=1e-7)


def test_huge_logits_do_not_overflow() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = SummedCrossEntropy.apply(logits, torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert logits.grad is not None and logits.grad.tolist() == [[1.0, -1.0, 0.0]]


def test_padding_changes_neither_loss_nor_gradient() -> None:
    from ccx_ray.training.model import build_model

    model = build_model(MODEL, vocabulary_size=320, eos_id=0, pad_id=PAD, seed=0)
    objective = NextTokenLoss(model, precision="fp32")
    results = []
    for tail in (0, 9):
        tokens_BT = torch.cat([torch.arange(2, 20)[None], torch.full((1, tail), PAD)], dim=1)
        model.zero_grad()
        loss = objective(tokens_BT, next_token_labels(tokens_BT, PAD))
        loss.backward()
        results.append((loss.detach(), model.get_input_embeddings().weight.grad.clone()))
    torch.testing.assert_close(results[0], results[1])


def test_bf16_computes_in_half_and_keeps_full_weights_and_gradients() -> None:
    from ccx_ray.training.model import build_model

    model = build_model(MODEL, vocabulary_size=320, eos_id=0, pad_id=PAD, seed=0)
    tokens_BT = torch.arange(2, 66).view(2, 32)
    labels_BT = next_token_labels(tokens_BT, PAD)
    full = NextTokenLoss(model, precision="fp32")(tokens_BT, labels_BT)
    half = NextTokenLoss(model, precision="bf16")(tokens_BT, labels_BT)
    half.backward()
    assert half.item() != full.item()
    assert half.item() == pytest.approx(full.item(), rel=5e-3)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.skipif(
    not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="torch before 2.13"
)
@pytest.mark.parametrize("architecture", ["qwen2", "gpt_neox", "phi"])
def test_fused_loss_and_gradients_are_those_of_the_plain_loss(architecture: str) -> None:
    """Phi's head has a bias."""
    from ccx_ray.training.model import build_model

    spec = MODEL.model_copy(
        update={"architecture": architecture, "key_value_heads": None, "tie_embeddings": False}
    )
    model = build_model(spec, vocabulary_size=320, eos_id=0, pad_id=PAD, seed=0)
    tokens_BT = (torch.arange(256) * 7 % 300 + 2).view(8, 32)
    tokens_BT[0, 20:] = PAD
    labels_BT = next_token_labels(tokens_BT, PAD)
    results = []
    for fused in (False, True):
        model.zero_grad()
        loss = NextTokenLoss(model, precision="fp32", fused=fused)(tokens_BT, labels_BT)
        (loss * 0.01).backward()
        results.append((loss.item(), [p.grad.clone() for p in model.parameters()]))
    (plain, plain_gradients), (fused_loss, fused_gradients) = results
    assert fused_loss == pytest.approx(plain, rel=1e-6)
    for ours, theirs in zip(fused_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_loss_and_masks_need_torch_alone() -> None:
    """So that they run on a GPU machine that holds little else."""
    program = (
        "import sys; import ccx_ray.training.loss;"
        "print(*sorted({'pydantic', 'transformers', 'deepspeed', 'ray'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
