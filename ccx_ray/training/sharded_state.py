"""DeepSpeed's private parts: its start, and the state in and out of its ZeRO stages, by name.

Parameters and AdamW's moments are taken out and put in whole. Invariants: a checkpoint fits any
number of workers and any ZeRO stage; what was loaded is taken out again bit for bit, at any time
between two steps.

Stage 0 keeps moments by parameter. Stages 1 and 2 keep the parameters whole and, flattened into one
array a group, a share of the fp32 masters and moments on each worker. Stage 3 shares the parameters
out as well. No other module touches private names of DeepSpeed. They may move in any release, so
``pyproject.toml`` allows no minor version that was not tested, and ``DEEPSPEED_NAMES`` is checked
at every start.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

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


PARAMETER, BUFFER = "parameter", "buffer"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's state of a parameter, by the names that torch gives it."""


def import_deepspeed(device: torch.device) -> Any:
    """DeepSpeed, attached to the process group that is there already."""
    if device.type == "cpu":
        # Read when deepspeed is first imported.
        os.environ["DS_ACCELERATOR"] = "cpu"
    if "mlflow" in sys.modules:
        import deepspeed
    else:
        # DeepSpeed's autotuner, which nobody calls here, would load it: three quarters of the
        # second and a quarter of a core that importing DeepSpeed takes.
        sys.modules["mlflow"] = None  # type: ignore[assignment]
        try:
            import deepspeed
        finally:
            del sys.modules["mlflow"]
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


class ShardedState:
    """The state of a model that DeepSpeed trains; all workers call its methods together."""

    def __init__(self, model: nn.Module, optimizer: Any, *, stage: int) -> None:
        # DeepSpeed's own at stages 1 to 3, which holds torch's; torch's at stage 0.
        self._model = model
        self._optimizer = optimizer
        self._adam = optimizer.optimizer if stage else optimizer
        self._stage = stage
        self._buffers = persistent_buffers(model)
        # Before the first step AdamW has no moments; with zeros they can be taken out at any time.
        self._set_moments({}, updates=0)
        if stage in (1, 2):
            self._link_moments()

    def take(self) -> dict[str, Tensor]:
        """A copy of the whole state on the CPU for rank 0, nothing for the others."""
        state = {}
        keep = dist.get_rank() == 0
        for name, parameter in self._model.named_parameters():
            for kind, whole in self._whole(parameter):
                if keep:
                    copy = whole.detach().to("cpu", torch.float32, copy=True)
                    state[f"{kind}/{name}"] = copy.contiguous()
        if keep:
            for name, buffer in self._buffers.items():
                state[f"{BUFFER}/{name}"] = buffer.detach().to("cpu", copy=True).contiguous()
        return state

    def load(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Take over ``state``, which every worker has whole, as after so many updates."""
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                value = state[f"{PARAMETER}/{name}"]
                if self._stage == 3:
                    from deepspeed.runtime.zero import GatheredParameters

                    with GatheredParameters([parameter], modifier_rank=0):
                        parameter.data.copy_(value)
                else:
                    parameter.copy_(value)
            if self._stage:
                self._optimizer.refresh_fp32_params()
            for name, buffer in self._buffers.items():
                buffer.copy_(state[f"{BUFFER}/{name}"])
            self._set_moments(state, updates=updates)

    def _whole(self, parameter: nn.Parameter) -> Iterator[tuple[str, Tensor]]:
        """The parameter and its moments, each whole; workers exchange shares meanwhile."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        yield PARAMETER, safe_get_full_fp32_param(parameter) if self._stage == 3 else parameter
        for moment in MOMENTS:
            if self._stage:
                yield moment, safe_get_full_optimizer_state(parameter, moment)
            else:
                yield moment, self._adam.state[parameter][moment]

    def _set_moments(self, state: Mapping[str, Tensor], *, updates: int) -> None:
        """AdamW's moments, zero where ``state`` has none, and the count of its updates."""
        for share in self._shares():
            held = self._adam.state[share]
            if not held:
                held |= {moment: torch.zeros_like(share.detach()) for moment in MOMENTS}
                held["step"] = torch.zeros((), device=share.device)
            held["step"].fill_(updates)
            for moment in MOMENTS:
                held[moment].zero_()
        for name, parameter in self._model.named_parameters():
            for moment in MOMENTS:
                whole = state.get(f"{moment}/{name}")
                if whole is None:
                    continue
                if self._stage:
                    from deepspeed.utils import safe_set_full_optimizer_state

                    safe_set_full_optimizer_state(parameter, whole, moment)
                else:
                    self._adam.state[parameter][moment].copy_(whole)

    def _shares(self) -> list[Tensor]:
        """The tensors that AdamW updates: parameters, or this worker's share of each flat group."""
        if self._stage == 0:
            return [p for group in self._adam.param_groups for p in group["params"]]
        if self._stage == 3:
            return list(self._optimizer.fp32_partitioned_groups_flat)
        return list(self._optimizer.single_partition_of_fp32_groups)

    def _link_moments(self) -> None:
        """Let DeepSpeed find the moments of a parameter within this worker's share (stages 1 and
        2). DeepSpeed 0.19 links parameters to their moments after the first group's first step,
        when the second group has none yet, and never again; with moments there from the start the
        link is right for every group.
        """
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        for parameters, share in zip(self._optimizer.bit16_groups, self._shares(), strict=True):
            lazy_init_hp_params_optimizer_state(parameters, share, self._adam.state)


def start_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of a fresh model for ``ShardedState.load``: its tensors, without moments."""
    parameters = {f"{PARAMETER}/{name}": p.detach() for name, p in model.named_parameters()}
    buffers = persistent_buffers(model).items()
    return parameters | {f"{BUFFER}/{name}": buffer for name, buffer in buffers}


def persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that are saved with a model."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    saved = model.state_dict().keys() - parameters
    return {name: buffer for name, buffer in model.named_buffers() if name in saved}
