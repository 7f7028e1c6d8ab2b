"""The DeepSpeed engine of one worker: its settings, the optimizer step, the state in and out.

Invariants: the gradient of a step is that of the mean loss over all of the step's predicted tokens,
however they are spread over forward passes and workers; a step whose gradient is no number changes
neither parameters nor moments, in any stage; nothing here draws random numbers, models are built
and loaded without dropout.

Shape suffixes: B sequences, T tokens of a sequence. ``tokens_BT`` is int64.
"""

import math
import resource
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import OptimizerSpec, TrainingRuntime
from ccx_ray.training.capabilities import compiled_layers
from ccx_ray.training.loss import IGNORED, NextTokenLoss, next_token_labels
from ccx_ray.training.model import has_attention
from ccx_ray.training.sharded_state import ShardedState, import_deepspeed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TrainingEngine:
    """One worker's model and optimizer; every method is called by all workers together, in a
    process group of ``torch.distributed``, also for a single worker."""

    def __init__(
        self,
        model: "PreTrainedModel",
        *,
        pad_id: int,
        optimizer: OptimizerSpec,
        runtime: TrainingRuntime,
        accumulation: int,
        device: torch.device,
        eos_id: int,
        document_masks: bool = False,
    ) -> None:
        """
        Args:
            model: whole and in fp32, the same on every worker.
            accumulation: forward passes of each worker in one optimizer step.
        """
        deepspeed = import_deepspeed(device)
        self.model = model
        self.device = device
        self.workers = dist.get_world_size()
        self.parameters = sum(p.numel() for p in model.parameters())
        """Counted before stage 3 shares the parameters out."""
        self._pad_id = pad_id
        self._eos_id = eos_id
        self._accumulation = accumulation
        self._runtime = runtime
        self._stage = runtime.zero_stage
        self._clip = optimizer.gradient_clip
        _prepare(model, runtime)
        loss = NextTokenLoss(
            model,
            precision=runtime.precision,
            masked_eos_id=eos_id if document_masks else None,
            fused=runtime.fused_loss,
        )
        adam = torch.optim.AdamW(
            parameter_groups(model, optimizer.weight_decay),
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.epsilon,
            fused=True,
        )
        self._engine, *_ = deepspeed.initialize(
            model=loss if runtime.offload == "parameters" else loss.to(device),
            optimizer=adam,
            config={
                "train_micro_batch_size_per_gpu": runtime.sequences_per_device,
                "gradient_accumulation_steps": accumulation,
                # Stage 0 clips in `step`, because DeepSpeed forgets the norm there.
                "gradient_clipping": optimizer.gradient_clip if self._stage else 0.0,
                "zero_optimization": _zero_settings(runtime, self.parameters, device),
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
                "steps_per_print": 1_000_000_000,
            },
            dist_init_required=False,
        )
        self._optimizer = self._engine.optimizer
        self._state = ShardedState(model, self._optimizer, stage=self._stage)

    def step(self, tokens_BT: Tensor, learning_rate: float) -> tuple[float, float, int]:
        """One optimizer step over this worker's share of the rows.

        Returns:
            Mean loss in nats and the number of predicted tokens, both over all workers, and
            between them the norm of the whole gradient before clipping. Where that is no finite
            number, nothing has been learnt from the step.
        """
        # On the host, where counting waits for no device.
        labels_BT = next_token_labels(tokens_BT, self._pad_id)
        predicted = labels_BT.ne(IGNORED).sum().double()
        tokens_BT, labels_BT, predicted = map(self._to_device, (tokens_BT, labels_BT, predicted))
        self._sum(predicted)
        # DeepSpeed divides by forward passes and by workers; the mean is over predicted tokens.
        scale = (self._accumulation * self.workers / predicted).float()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.train()
        norm = math.nan
        rows = self._runtime.sequences_per_device
        for index in range(self._accumulation):
            micro = slice(index * rows, (index + 1) * rows)
            loss = self._engine(tokens_BT[micro], labels_BT[micro])
            total += loss.detach()
            self._engine.backward(loss * scale)
            if index == self._accumulation - 1 and not self._stage:
                norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self._clip))
                if not math.isfinite(norm):
                    # Without gradients AdamW does nothing, as in the other stages.
                    self.model.zero_grad(set_to_none=True)
            self._engine.step()
        if self._stage:
            norm = float(self._engine.get_global_grad_norm())
        count = int(predicted)
        assert count, "a step of nothing but padding has no mean loss"
        return float(self._sum(total)) / count, norm, count

    def preflight(self, sequence_length: int) -> None:
        """One whole optimizer step over rows full of tokens, the most memory that a step takes;
        ``UserError`` when the device has not enough. The caller loads the state to start from
        afterwards."""
        runtime = self._runtime
        shape = (runtime.sequences_per_device * self._accumulation, sequence_length)
        random = torch.Generator().manual_seed(0)
        vocabulary = self.model.config.vocab_size
        tokens_BT = torch.randint(0, vocabulary, shape, generator=random)
        tokens_BT[tokens_BT == self._pad_id] = (self._pad_id + 1) % vocabulary
        # Two documents at least, so that masks are made where they are asked for.
        tokens_BT[:, sequence_length // 2] = self._eos_id
        try:
            self.step(tokens_BT, 0.0)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            # What torch's allocator of the CPU raises is a plain RuntimeError.
            out = "DefaultCPUAllocator" in str(error) or "not enough memory" in str(error)
            if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not out:
                raise
            raise UserError(
                f"runtime.sequences_per_device: {runtime.sequences_per_device} rows of "
                f"{sequence_length} tokens do not fit in the memory of {self.device} beside "
                f"{self.parameters / 1e6:.1f} M parameters (zero_stage {self._stage}, "
                f"{self.workers} workers); lower sequences_per_device, switch on "
                "activation_checkpointing or fused_loss, or raise zero_stage"
            ) from error

    def agree(self, wishes: Sequence[bool]) -> list[bool]:
        """For each wish, whether any worker has it; the same on all workers."""
        votes = torch.tensor([int(wish) for wish in wishes], device=self.device)
        if self.workers > 1:
            dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return [bool(vote) for vote in votes.tolist()]

    def total(self, value: int) -> int:
        """The sum of a number over all workers."""
        return int(self._sum(torch.tensor(value, dtype=torch.int64, device=self.device)))

    def state(self) -> dict[str, Tensor]:
        """The whole state, on rank 0: fp32 on the CPU, in memory that later steps do not touch.

        Returns:
            ``parameter/<name>``, ``exp_avg/<name>``, ``exp_avg_sq/<name>``, and ``buffer/<name>``
            for what else a model's file holds; empty on the other ranks.
        """
        return self._state.take()

    def load_state(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Load a whole state, as after ``updates`` optimizer steps; missing moments are zero."""
        self._state.load(state, updates)

    def peak_memory(self) -> int:
        """Bytes: of the GPU's memory that tensors took, or of the whole process on a CPU."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB

    def _to_device(self, value: Tensor) -> Tensor:
        if self.device.type == "cuda":
            # From pinned memory, or the copy would wait for what the device still computes.
            return value.pin_memory().to(self.device, non_blocking=True)
        return value.to(self.device)

    def _sum(self, value: Tensor) -> Tensor:
        if self.workers > 1:
            dist.all_reduce(value)
        return value


def _prepare(model: "PreTrainedModel", runtime: TrainingRuntime) -> None:
    """Set attention, recomputation and compilation, which ``capabilities.py`` has checked."""
    # Left open, attention is what Transformers chose: sdpa, or eager where sdpa would be wrong.
    if "attention" in runtime.model_fields_set and has_attention(model):
        model.set_attn_implementation(runtime.attention)
    if runtime.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if runtime.compile:
        # Layer by layer: they share one compilation, and the mask, whose form depends on the
        # tokens, is made outside of it.
        for layer in compiled_layers(model):
            layer.compile()


def _zero_settings(
    runtime: TrainingRuntime, parameters: int, device: torch.device
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "stage": runtime.zero_stage,
        # The default bucket of 5e8 elements would be allocated for the smallest model.
        "reduce_bucket_size": min(parameters, 500_000_000),
        "allgather_bucket_size": min(parameters, 500_000_000),
    }
    if runtime.zero_stage == 3:
        # What is smaller stays whole on every worker: norms and biases. The default of 1e5 would
        # be every matrix of a small model.
        settings["stage3_param_persistence_threshold"] = min(parameters // 100, 100_000)
    host = {"device": "cpu", "pin_memory": device.type == "cuda"}
    if runtime.offload != "none":
        settings["offload_optimizer"] = host
    if runtime.offload == "parameters":
        settings["offload_param"] = host
    return settings


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices (embeddings included), none on norms and biases."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups = (matrices, weight_decay), (others, 0.0)
    return [{"params": group, "weight_decay": decay} for group, decay in groups if group]
