"""The optimizer step on DeepSpeed: the one place that knows its settings and its state's layout.

Invariants: the gradient of a step is that of the mean loss over all of the step's predicted tokens,
however they are spread over forward passes and workers; optimizer state goes in and out by
parameter name and whole, never as one worker's share, so a checkpoint fits any number of workers.

Shape suffixes: B sequences, T tokens of a sequence. ``tokens_BT`` is int64.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ccx_ray.study.training_spec import OptimizerSpec, TrainingRuntime
from ccx_ray.training.loss import IGNORED, NextTokenLoss, next_token_labels

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's state of a parameter, by the names that torch gives it."""
SHARDED_STAGES = (1, 2)


class TrainingEngine:
    """One worker's model and optimizer; every method is called by all workers together.

    Needs an initialized ``torch.distributed`` process group, also for a single worker.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        *,
        pad_id: int,
        optimizer: OptimizerSpec,
        runtime: TrainingRuntime,
        accumulation: int,
        device: torch.device,
    ) -> None:
        """
        Args:
            accumulation: forward passes of each worker in one optimizer step.
        """
        deepspeed = _import_deepspeed(device)
        self.model = model
        self.device = device
        self.workers = dist.get_world_size()
        self._pad_id = pad_id
        self._accumulation = accumulation
        self._sharded = runtime.zero_stage in SHARDED_STAGES
        self._clip = optimizer.gradient_clip
        loss = NextTokenLoss(model, precision=runtime.precision)
        adam = torch.optim.AdamW(
            parameter_groups(model, optimizer.weight_decay),
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.epsilon,
            fused=True,
        )
        parameters = sum(p.numel() for p in model.parameters())
        self._engine, *_ = deepspeed.initialize(
            model=loss.to(device),
            optimizer=adam,
            config={
                "train_micro_batch_size_per_gpu": runtime.sequences_per_device,
                "gradient_accumulation_steps": accumulation,
                # Stage 0 clips in `_gradient_norm`, because DeepSpeed forgets the norm there.
                "gradient_clipping": optimizer.gradient_clip if self._sharded else 0.0,
                "zero_optimization": {
                    "stage": runtime.zero_stage,
                    # The default bucket of 5e8 elements would be allocated for the smallest model.
                    "reduce_bucket_size": min(parameters, 500_000_000),
                    "allgather_bucket_size": min(parameters, 500_000_000),
                },
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
                "steps_per_print": 1_000_000_000,
            },
            dist_init_required=False,
        )
        self._optimizer = self._engine.optimizer
        if self._sharded:
            self._create_sharded_state()

    def step(self, tokens_BT: Tensor, learning_rate: float) -> tuple[float, float, int]:
        """One optimizer step over this worker's share of the rows.

        Returns:
            Mean loss in nats and the number of predicted tokens, both over all workers, and
            between them the norm of the whole gradient before clipping.
        """
        tokens_BT = tokens_BT.to(self.device)
        labels_BT = next_token_labels(tokens_BT, self._pad_id)
        predicted = int(self._sum(labels_BT.ne(IGNORED).sum()))
        assert predicted, "a step of nothing but padding has no mean loss"
        # DeepSpeed divides by forward passes and by workers; the mean is over predicted tokens.
        scale = self._accumulation * self.workers / predicted
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.train()
        norm = math.nan
        for index in range(self._accumulation):
            micro = slice(
                index * len(tokens_BT) // self._accumulation,
                (index + 1) * len(tokens_BT) // self._accumulation,
            )
            loss = self._engine(tokens_BT[micro], labels_BT[micro])
            total += loss.detach()
            self._engine.backward(loss * scale)
            if index == self._accumulation - 1 and not self._sharded:
                norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self._clip))
            self._engine.step()
        if self._sharded:
            norm = float(self._engine.get_global_grad_norm())
        return float(self._sum(total)) / predicted, norm, predicted

    def agree(self, wish: bool) -> bool:
        """Rank 0's wish, made known to all workers."""
        if self.workers == 1:
            return wish
        vote = torch.tensor([int(wish)], device=self.device)
        dist.broadcast(vote, src=0)
        return bool(vote.item())

    def state(self) -> dict[str, Tensor]:
        """Whole fp32 parameters and moments on the CPU, as ``<kind>/<parameter name>``."""
        state = {}
        for name, parameter in self.model.named_parameters():
            state[f"parameter/{name}"] = parameter.detach()
            for moment in MOMENTS:
                state[f"{moment}/{name}"] = self._moment(parameter, moment)
        return {key: value.float().cpu().contiguous() for key, value in state.items()}

    def load_moments(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Take over AdamW's moments after ``steps`` steps; parameters are the model's already."""
        for name, parameter in self.model.named_parameters():
            whole = {moment: state[f"{moment}/{name}"].to(self.device) for moment in MOMENTS}
            if self._sharded:
                from deepspeed.utils import safe_set_full_optimizer_state

                for moment, value in whole.items():
                    safe_set_full_optimizer_state(parameter, value, moment)
            else:
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(steps), device=self.device),
                    **whole,
                }
        if self._sharded:
            for share in self._optimizer.optimizer.state.values():
                share["step"].fill_(steps)

    def _moment(self, parameter: nn.Parameter, moment: str) -> Tensor:
        if not self._sharded:
            whole: Tensor = self._optimizer.state[parameter][moment]
            return whole
        from deepspeed.utils import safe_get_full_optimizer_state

        return safe_get_full_optimizer_state(parameter, moment)

    def _create_sharded_state(self) -> None:
        """Zero moments of this worker's share, as AdamW would make them at its first step.

        DeepSpeed 0.19 links parameters to their moments after the first group's first step, when
        the second group has none yet, and never again; with moments there from the start the
        link is right for every group.
        """
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        zero = self._optimizer
        for parameters, share in zip(
            zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True
        ):
            zero.optimizer.state[share] = {
                "step": torch.zeros((), device=self.device),
                **{moment: torch.zeros_like(share) for moment in MOMENTS},
            }
            lazy_init_hp_params_optimizer_state(parameters, share, zero.optimizer.state)

    def _sum(self, value: Tensor) -> Tensor:
        if self.workers > 1:
            dist.all_reduce(value)
        return value


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices (embeddings included), none on norms and biases."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups: Sequence[tuple[float, Iterable[nn.Parameter]]] = (
        (weight_decay, [p for p in parameters if p.ndim >= 2]),
        (0.0, [p for p in parameters if p.ndim < 2]),
    )
    return [{"params": group, "weight_decay": decay} for decay, group in groups if group]


def _import_deepspeed(device: torch.device) -> Any:
    """DeepSpeed, attached to the process group that is there already."""
    if device.type == "cpu":
        # Read when deepspeed is first imported.
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import deepspeed.ops

    if device.type == "cpu":
        # DeepSpeed would compile its shared-memory collective at the first start on a machine
        # (50 s on two cores), also for a single worker. gloo does the same work.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(
        dist_backend=dist.get_backend(), auto_mpi_discovery=False, dist_init_required=False
    )
    return deepspeed
