"""Study file: model, optimizer, steps and checkpoints, and the machines of a training.

Everything here except ``TrainingRuntime`` is identity: it decides the numbers.
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
    """Null for an architecture without attention."""
    key_value_heads: PositiveInt | None = None
    """As many as ``attention_heads`` when absent."""
    intermediate_size: PositiveInt | None = None
    """Of the feed-forward layer; the architecture's own rule when absent."""
    tie_embeddings: bool = True
    """Whether input and output embeddings are the same weights."""
    rope_theta: Annotated[float, Field(gt=0)] = 10000.0
    """Base of the rotary position embedding."""
    max_positions: PositiveInt = 2048
    """The longest row that the model takes, in tokens."""
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Settings that only this architecture has, by their names in its Hugging Face config, such as
    ``state_size`` of a state-space model."""

    @model_validator(mode="before")
    @classmethod
    def from_preset(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in MODEL_PRESETS:
            raise ValueError(f"no preset of this name; there are {', '.join(MODEL_PRESETS)}")
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
    """The highest, reached after the warm-up."""
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
    """What is done about a step that must not be trained through.

    ``skip`` goes back to the state of the last checkpoint and on after the bad step: the rows in
    between are never learnt from. What is done depends on the losses alone, so a rerun repeats it.
    """

    non_finite: Literal["stop", "skip"] = "stop"
    """A loss or a gradient that is no number."""
    spike: Literal["stop", "skip"] = "stop"
    """A loss far above those before it."""
    spike_nats: Annotated[float, Field(gt=0)] = 2.0
    """How far above the median of the last ``spike_window`` losses."""
    spike_window: PositiveInt = 32
    """How many losses the median is taken over."""
    max_skips: Count = 3
    """The next bad step after so many stops the training."""


class TrainingSpec(Spec):
    """How long one model trains; step ``s`` consumes ``sequences_per_step`` rows."""

    steps: PositiveInt
    """Optimizer steps."""
    sequences_per_step: PositiveInt
    """Rows that one optimizer step consumes, on whatever number of workers."""
    checkpoints: PositiveInt | tuple[PositiveInt, ...]
    """Kept and evaluated checkpoints: how many, evenly spaced, or after which optimizer steps."""
    optimizer: OptimizerSpec
    """Learning rate and the other settings of AdamW."""
    document_masks: bool = False
    """Whether a token sees nothing of the other documents of its row. Without bridges this is the
    strict form of isolation; the two halves of a bridge are one document and see each other."""
    watch: WatchSpec = WatchSpec()
    """What is done about losses that are no number or far too high."""

    @model_validator(mode="after")
    def checkpoints_fit(self) -> Self:
        if isinstance(self.checkpoints, int):
            if self.checkpoints > self.steps:
                raise ValueError(f"{self.checkpoints} checkpoints do not fit in {self.steps} steps")
        elif list(self.checkpoints) != sorted(set(self.checkpoints)):
            raise ValueError(f"checkpoints {list(self.checkpoints)} must rise without repeats")
        elif self.checkpoints[-1:] != (self.steps,):
            raise ValueError(
                f"checkpoints {list(self.checkpoints)} must end at the last step, {self.steps}"
            )
        return self

    @property
    def checkpoint_steps(self) -> tuple[int, ...]:
        """The optimizer steps after which a checkpoint is kept; the last is the last step."""
        if isinstance(self.checkpoints, int):
            count = self.checkpoints
            return tuple(self.steps * (i + 1) // count for i in range(count))
        return self.checkpoints


class TrainingRuntime(Spec):
    """On what one model trains."""

    workers: PositiveInt | tuple[PositiveInt, PositiveInt] = 1
    """How many, or from how few to how many as the cluster has room."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    """Logical CPUs that each worker takes of a node."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of each worker: 0 trains on the CPU."""
    threads_per_worker: PositiveInt = 1
    """Threads of torch in each worker."""
    sequences_per_device: PositiveInt = 16
    """Rows in one forward pass; accumulation makes up ``sequences_per_step``."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """DeepSpeed's: what the workers divide among them. 1: the optimizer's state; 2: gradients too;
    3: weights too; 0: nothing."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What DeepSpeed keeps in the memory of the host: ``optimizer`` from stage 1, ``parameters``
    (and with them the optimizer's) at stage 3."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of forward and backward pass; weights of the optimizer stay in fp32."""
    activation_checkpointing: bool = False
    """Recompute each layer's activations in the backward pass instead of keeping them."""
    compile: bool = False
    """torch.compile of the model: minutes at each start, faster steps after it."""
    attention: Literal["sdpa", "flash_attention_2", "flex_attention", "eager"] = "sdpa"
    """The implementation of attention, by its name in Transformers."""
    fused_loss: bool = False
    """Head and cross-entropy in one, so that the logits of a large vocabulary are never whole in
    memory: by Liger on a GPU (the ``gpu`` extra), or in fp32 by torch 2.13."""
    max_failures: Count = 3
    """How often the program may fail and be restarted."""
    max_preemptions: Count = 100
    """How often its nodes may be taken away; counted apart from failures."""
    resume_seconds: Annotated[float, Field(ge=0)] = 300.0
    """A state to resume from is also written when the last one is older than this, so that a crash
    costs minutes even where evaluated checkpoints lie hours apart."""
    keep_resume_states: PositiveInt = 2
    """The newest few; the older of two is what is left when the newer one is damaged."""
    stall_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """A worker without progress for so long is taken for stalled; the workers are restarted."""

    @model_validator(mode="after")
    def parts_agree(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"workers {list(self._range)} must rise")
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
        """The numbers of workers, rising, among which a step divides without a rest."""
        passes, rest = divmod(sequences_per_step, self.sequences_per_device)
        counts = range(self.min_workers, self.max_workers + 1)
        return () if rest else tuple(count for count in counts if passes % count == 0)
