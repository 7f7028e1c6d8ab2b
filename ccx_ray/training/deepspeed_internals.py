"""The private parts of DeepSpeed that are used here: its start, and the layout of its optimizers.

No other module touches them. They may move in any release, so ``pyproject.toml`` allows no minor
version that was not tested, and ``DEEPSPEED_NAMES`` is checked at every start.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ccx_ray.orchestration.private_names import check_private_names

DEEPSPEED_TESTED = "0.19.8"
_STAGES = "deepspeed.runtime.zero.stage_1_and_2:DeepSpeedZeroOptimizer"
_STAGE_3 = "deepspeed.runtime.zero.stage3:DeepSpeedZeroOptimizer_Stage3"
_STATE = "taking the whole state out of any ZeRO stage, and into it"

DEEPSPEED_NAMES = {
    "deepspeed.ops:__compatible_ops__": "gloo's collectives instead of compiling DeepSpeed's",
    "deepspeed.runtime.engine:DeepSpeedEngine.get_global_grad_norm(self)": "the gradient's norm",
    f"{_STAGES}.optimizer": _STATE,
    f"{_STAGES}.bit16_groups": _STATE,
    f"{_STAGES}.single_partition_of_fp32_groups": _STATE,
    f"{_STAGES}.refresh_fp32_params(self)": _STATE,
    f"{_STAGE_3}.optimizer": _STATE,
    f"{_STAGE_3}.fp32_partitioned_groups_flat": _STATE,
    f"{_STAGE_3}.refresh_fp32_params(self)": _STATE,
    "deepspeed.runtime.zero:GatheredParameters.__init__.modifier_rank": _STATE,
    "deepspeed.utils:safe_get_full_fp32_param(param)": _STATE,
    "deepspeed.utils:safe_get_full_optimizer_state(param, optim_state_key)": _STATE,
    "deepspeed.utils:safe_set_full_optimizer_state(param, value, optim_state_key)": _STATE,
    "deepspeed.utils:lazy_init_hp_params_optimizer_state"
    "(lp_param_list, flat_hp_partition, optimizer_state)": _STATE,
}
"""As ``private_names.RAY_NAMES``."""


def import_deepspeed(device: torch.device) -> Any:
    """DeepSpeed, attached to the process group that is there already."""
    if device.type == "cpu":
        # Read when deepspeed is first imported.
        os.environ["DS_ACCELERATOR"] = "cpu"
    with _without_module("mlflow"):
        # DeepSpeed's autotuner, which nobody calls here, would load it: three quarters of the
        # second and a quarter of a core that importing DeepSpeed takes.
        import deepspeed
    import deepspeed.ops

    # DeepSpeed 0.19 calls collectives by names that torch 2.13 deprecates: a warning a call.
    warnings.filterwarnings(
        "ignore", message=r"`torch\.distributed\.\w+` is deprecated", category=FutureWarning
    )
    if device.type == "cpu":
        # DeepSpeed would compile its shared-memory collective at the first start on a machine
        # (50 s on two cores), also for a single worker. gloo does the same work.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    check_private_names("deepspeed", tested=DEEPSPEED_TESTED, names=DEEPSPEED_NAMES)
    deepspeed.init_distributed(
        dist_backend=dist.get_backend(), auto_mpi_discovery=False, dist_init_required=False
    )
    return deepspeed


def flat_shares(optimizer: Any, *, stage: int) -> list[Tensor]:
    """This worker's share of each flat group of parameters, which AdamW updates (stages 1 to 3)."""
    name = "fp32_partitioned_groups_flat" if stage == 3 else "single_partition_of_fp32_groups"
    return list(getattr(optimizer, name))


def link_moments(optimizer: Any) -> None:
    """Let DeepSpeed find the moments of a parameter within this worker's share (stages 1 and 2).

    DeepSpeed 0.19 links parameters to their moments after the first group's first step, when
    the second group has none yet, and never again; with moments there from the start the
    link is right for every group.
    """
    from deepspeed.utils import lazy_init_hp_params_optimizer_state

    shares = flat_shares(optimizer, stage=1)
    for parameters, share in zip(optimizer.bit16_groups, shares, strict=True):
        lazy_init_hp_params_optimizer_state(parameters, share, optimizer.optimizer.state)


@contextmanager
def _without_module(name: str) -> Iterator[None]:
    """Make ``import name`` fail in the body, where it has not been imported yet."""
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[name]
