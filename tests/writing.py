"""Snapshots to hand to the writer of checkpoints, without a training."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ccx_ray.training.checkpoints import ResumePoint
from ccx_ray.training.history import StepRecord
from ccx_ray.training.model import build_model
from tests.training_runs import EOS, MODEL, PAD, VOCABULARY

State = dict[str, Tensor]

RECORD = StepRecord(
    step=1, loss=1.0 / 3, learning_rate=1e-3, gradient_norm=0.7, tokens=120,
    first_row=0, last_row=8, seconds=0.25, data_seconds=0.01, rows_checksum=7, workers=1,
)  # fmt: skip


def tiny_model() -> PreTrainedModel:
    return build_model(MODEL, vocabulary_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=0)


def snapshot(model: PreTrainedModel, step: int) -> State:
    """Parameters and moments as an engine gives them, other ones for every step."""
    parameters = {name: p.detach() + step for name, p in model.named_parameters()}
    return {
        f"{kind}/{name}": parameter * factor
        for kind, factor in (("parameter", 1.0), ("exp_avg", 0.1), ("exp_avg_sq", 0.01))
        for name, parameter in parameters.items()
    }


def point(step: int) -> ResumePoint:
    return ResumePoint(
        step=step, rows=8 * step, seed=0, fingerprint="run", stream_fingerprint="stream"
    )


def same(one: State, other: State) -> bool:
    """Whether two states are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
