"""The learning rate as a function of the step alone, so that a schedule has no state to lose."""

import math

from ccx_ray.study.training_spec import OptimizerSpec


def learning_rate(step: int, *, steps: int, optimizer: OptimizerSpec) -> float:
    """The learning rate of optimizer step ``step``, counted from 1.

    Linear warm-up reaches the peak at step ``warmup_steps``; a half cosine then falls to
    ``final_learning_rate_share`` of the peak at step ``steps``.
    """
    assert 1 <= step <= steps, f"step {step} of {steps}"
    peak, warmup = optimizer.learning_rate, optimizer.warmup_steps
    if step <= warmup:
        return peak * step / warmup
    progress = (step - warmup) / (steps - warmup)
    share = optimizer.final_learning_rate_share
    return peak * (share + (1 - share) * 0.5 * (1 + math.cos(math.pi * progress)))
