"""Study file: model, optimizer, steps and checkpoints, and the machines of a training.

Everything here except ``TrainingRuntime`` decides results and is part of the fingerprints.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ccx_ray.study.model_presets import MODEL_PRESETS
from ccx_ray.study.text_spec import Count, PositiveInt, Share, Spec


class ModelSpec(Spec):
    """A Hugging Face causal model built from its config, by architecture name.

    A plain string in a study file, such as ``qwen2.5-0.5b``, is the name of a preset.
    """

    architecture: str = "qwen2"
    """The ``model_type`` of a causal model of Transformers, such as ``qwen2`` or ``mamba``."""
    hidden_size: PositiveInt
    """Width of the model."""
    layers: PositiveInt
    """Number of layers."""
    attention_heads: PositiveInt | None = None
    """Attention heads; null for an architecture without attention."""
    key_value_heads: PositiveInt | None = None
    """Key-value heads (default: ``attention_heads``)."""
    intermediate_size: PositiveInt | None = None
    """Width of the feed-forward layer (default: the architecture's rule)."""
    tie_embeddings: bool = True
    """Whether input and output embeddings are the same weights."""
    rope_theta: Annotated[float, Field(gt=0)] = 10000.0
    """Base of the rotary position embedding."""
    max_positions: PositiveInt = 2048
    """Longest row of the model, in tokens."""
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Settings of this architecture only, by their names in its Hugging Face config, such as
    ``state_size`` of a state-space model."""

    @model_validator(mode="before")
    @classmethod
    def from_preset(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in MODEL_PRESETS:
            raise ValueError(f"unknown preset; the presets are {', '.join(MODEL_PRESETS)}")
        return MODEL_PRESETS[value]

    @model_validator(mode="after")
    def heads_divide(self) -> Self:
        if self.attention_heads is None:
            if self.key_value_heads is not None:
                raise ValueError("key_value_heads needs attention_heads")
            return self
        if self.hidden_size % self.attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"attention_heads {self.attention_heads}"
            )
        if self.key_value_heads is not None and self.attention_heads % self.key_value_heads:
            raise ValueError(
                f"attention_heads {self.attention_heads} is not a multiple of "
                f"key_value_heads {self.key_value_heads}"
            )
        return self


class OptimizerSpec(Spec):
    """AdamW with linear warm-up and cosine decay."""

    learning_rate: Annotated[float, Field(gt=0)]
    """Peak learning rate, reached after the warm-up."""
    warmup_steps: Count = 0
    """Steps in which the learning rate rises from 0."""
    final_learning_rate_share: Share = 0.1
    """Learning rate at the last step, as a share of ``learning_rate``."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of AdamW's two moments."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the denominator of AdamW's update."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Decoupled weight decay."""
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient; a larger one is scaled down."""


class WatchSpec(Spec):
    """How a training reacts to a bad step: stop, or skip it.

    ``skip`` restores the state of the last checkpoint and continues after the bad step. The rows
    in between are not learnt from. The decision depends on the losses only, so a rerun repeats it.
    """

    non_finite: Literal["stop", "skip"] = "stop"
    """Reaction to a loss or gradient that is NaN or infinite."""
    spike: Literal["stop", "skip"] = "stop"
    """Reaction to a loss far above the previous losses."""
    spike_nats: Annotated[float, Field(gt=0)] = 2.0
    """Distance above the median of the last ``spike_window`` losses that counts as a spike."""
    spike_window: PositiveInt = 32
    """Number of losses for the median."""
    max_skips: Count = 3
    """Skips before the next bad step stops the training."""


class TrainingSpec(Spec):
    """Steps, rows, checkpoints and optimizer of one training."""

    steps: PositiveInt
    """Optimizer steps."""
    sequences_per_step: PositiveInt
    """Rows per optimizer step, for any number of workers."""
    checkpoints: PositiveInt | tuple[PositiveInt, ...]
    """Kept and evaluated checkpoints: their number, evenly spaced, or a list of optimizer steps."""
    optimizer: OptimizerSpec
    """Learning rate and the other settings of AdamW."""
    document_masks: bool = False
    """Whether attention is limited to the token's own document. Without bridges this is the strict
    form of isolation. The two sentences of a bridge are one document."""
    watch: WatchSpec = WatchSpec()
    """How the training reacts to losses that are NaN, infinite or far too high."""

    @model_validator(mode="after")
    def checkpoints_fit(self) -> Self:
        if isinstance(self.checkpoints, int):
            if self.checkpoints > self.steps:
                raise ValueError(f"checkpoints {self.checkpoints} is above steps {self.steps}")
        elif list(self.checkpoints) != sorted(set(self.checkpoints)):
            raise ValueError(f"checkpoints {list(self.checkpoints)} must increase")
        elif self.checkpoints[-1:] != (self.steps,):
            raise ValueError(
                f"checkpoints {list(self.checkpoints)} must end at the last step, {self.steps}"
            )
        return self

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """The optimizer steps with a checkpoint; the last one is the last step."""
        if isinstance(self.checkpoints, int):
            count = self.checkpoints
            return tuple(self.steps * (i + 1) // count for i in range(count))
        return self.checkpoints


class TrainingRuntime(Spec):
    """Machines of one training."""

    workers: PositiveInt | tuple[PositiveInt, PositiveInt] = 1
    """Number of workers, or the lowest and highest number for an elastic training."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    """Logical CPUs of each worker."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of each worker; 0 trains on the CPU."""
    threads_per_worker: PositiveInt = 1
    """Torch threads of each worker."""
    sequences_per_device: PositiveInt = 16
    """Rows per forward pass; gradient accumulation completes ``sequences_per_step``."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """DeepSpeed ZeRO stage: what is sharded over the workers. 0: nothing; 1: optimizer state;
    2: also gradients; 3: also weights."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What DeepSpeed keeps in host memory. ``optimizer``: its state, from stage 1; ``parameters``:
    parameters and optimizer state, at stage 3."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of forward and backward pass; the optimizer's weights are always fp32."""
    activation_checkpointing: bool = False
    """Recompute each layer's activations in the backward pass, to save memory."""
    compile: bool = False
    """Use torch.compile: minutes at each start, then faster steps."""
    attention: Literal["sdpa", "flash_attention_2", "flex_attention", "eager"] = "sdpa"
    """Implementation of attention, by its name in Transformers."""
    fused_loss: bool = False
    """Fuse head and cross-entropy, so that the full logits are never in memory. Uses Liger on a
    GPU (the ``gpu`` extra), or torch 2.13 in fp32."""
    max_failures: Count = 3
    """Restarts after a failure of the program."""
    max_preemptions: Count = 100
    """Restarts after a lost node; counted separately."""
    resume_seconds: Annotated[float, Field(ge=0)] = 300.0
    """Longest time between resume states, so that a crash costs minutes even if checkpoints are
    hours apart."""
    keep_resume_states: PositiveInt = 2
    """Number of newest resume states to keep; an older one is used if the newest is damaged."""
    stall_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """Time without progress after which a worker is stalled; the workers are then restarted."""

    @model_validator(mode="after")
    def parts_agree(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"workers {list(self._range)} must be [lowest, highest]")
        needed = {"none": 0, "optimizer": 1, "parameters": 3}[self.offload]
        if self.zero_stage < needed:
            raise ValueError(
                f"offload {self.offload} needs zero_stage {needed} or more, not {self.zero_stage}"
            )
        return self

    @property
    def _range(self) -> tuple[int, int]:
        return (self.workers, self.workers) if isinstance(self.workers, int) else self.workers

    @property
    def min_workers(self) -> int:
        return self._range[0]

    @property
    def max_workers(self) -> int:
        return self._range[1]

    def worker_counts(self, sequences_per_step: int) -> tuple[int, ...]:
        """The numbers of workers, in increasing order, that divide a step evenly."""
        passes, rest = divmod(sequences_per_step, self.sequences_per_device)
        counts = range(self.min_workers, self.max_workers + 1)
        return () if rest else tuple(count for count in counts if passes % count == 0)
