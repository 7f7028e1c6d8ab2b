"""Estimate of the GPU memory of a training at each ZeRO stage, and whether it fits.

Terms follow from the architecture, the pass and the layout of ``TrainingEngine``: fp32 weights,
gradients and AdamW moments, DeepSpeed's copies of them, activations, logits. Which copies DeepSpeed
makes was found by measuring; nothing is fitted (``docs/benchmarks/2026-11-23-training.md`` states
the error on a CPU). Not counted: the CUDA context and what an allocator leaves unused, for which
5 % of the GPU are kept.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ccx_ray.errors import UserError
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.training_spec import ModelSpec, TrainingRuntime, TrainingSpec
from ccx_ray.training.loss import CPU_CHUNK, DEVICE_CHUNK
from ccx_ray.training.size import ModelSize, model_size

logger = logging.getLogger(__name__)

STAGES = (0, 1, 2, 3)
USABLE_SHARE = 0.95
GIB = 2**30
FP32, BF16 = 4, 2
LARGEST_BUCKET = 500_000_000
"""Elements that DeepSpeed reduces at a time, as ``TrainingEngine`` sets it."""
STAGE3_LIVE_PARAMETERS = 1_000_000_000
"""Parameters that stage 3 holds whole at a time: DeepSpeed's ``stage3_max_live_parameters``."""
LIGER_EXPANSION = 4
"""Liger works on as many positions at a time as make the logits about so many times as large as the
hidden states of the whole pass, at most."""


class NoEstimateError(Exception):
    """An architecture whose activations cannot be counted; the cause in one line."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes on one GPU at the moment of a step when they are most."""

    terms: Mapping[str, int]
    """What the bytes are for; they add up to the whole."""

    @property
    def total(self) -> int:
        return _sum(self.terms)

    @property
    def largest(self) -> str:
        """The name of the largest term."""
        return max(self.terms, key=lambda name: self.terms[name])


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One training as the estimate sees it."""

    model: ModelSpec
    vocabulary_size: int
    sequence_length: int
    sequences_per_step: int
    runtime: TrainingRuntime
    workers: int

    @property
    def accumulates(self) -> bool:
        """Whether gradients of one pass are there while the next one runs."""
        return self.sequences_per_step > self.runtime.sequences_per_device * self.workers


def estimate_memory(work: Workload, *, zero_stage: int | None = None) -> MemoryEstimate:
    """Memory per GPU, at the runtime's own ZeRO stage or at another.

    Raises:
        UserError: the architecture cannot take a field of the spec.
        NoEstimateError: its code looks at the values of its tensors.
    """
    stage: int = work.runtime.zero_stage if zero_stage is None else zero_stage
    size = model_size(work.model, work.vocabulary_size)
    waiting, reducing = _gradients(work, size, stage)
    in_pass = {"gradients": waiting, **_pass_terms(work, size)}
    most = max(in_pass, {"gradients": reducing}, key=_sum)
    return MemoryEstimate(terms=_state(work, size, stage) | most)


def _sum(terms: Mapping[str, int]) -> int:
    return sum(terms.values())


def _state(work: Workload, size: ModelSize, stage: int) -> dict[str, int]:
    """Weights and optimizer state, which are there all the time."""
    whole = FP32 * size.parameters
    share = whole // work.workers
    offload = work.runtime.offload
    weights = whole
    if stage == 3:
        # Its share, which may lie on the host, and what is gathered around the layer at work.
        live = min(whole, FP32 * STAGE3_LIVE_PARAMETERS)
        weights = live + (0 if offload == "parameters" else share)
    on_device = stage == 0 or offload == "none"
    return {
        "weights": weights,
        "optimizer moments": (2 * (whole if stage == 0 else share)) if on_device else 0,
        "ZeRO's copy of the weights": share if stage and on_device else 0,
    }


def _gradients(work: Workload, size: ModelSize, stage: int) -> tuple[int, int]:
    """Gradients and DeepSpeed's buffers for them: while a pass begins its way back, and the most
    while they are reduced and the optimizer steps. What is whole, a share and a bucket was found
    by measuring every stage on 1 and 2 workers with buckets of all and of an eighth of the
    parameters; the sums were within 7 % of what was measured.
    """
    whole = FP32 * size.parameters
    share = whole // work.workers
    bucket = FP32 * min(size.parameters, LARGEST_BUCKET)
    if stage == 0:
        return (whole if work.accumulates else 0), 2 * whole
    update = 0 if work.runtime.offload != "none" else 2 * share
    if stage == 1:
        waiting = whole if work.accumulates else 0
        return bucket + waiting, max(min(whole + 2 * bucket, 2 * whole), update)
    if stage == 3:
        return share + bucket, share + 2 * bucket
    kept = share if work.accumulates else 0
    rest = (whole - bucket) // work.workers
    return bucket + kept, max(kept + 2 * bucket + rest, update)


def _pass_terms(work: Workload, size: ModelSize) -> dict[str, int]:
    """The most that a forward and backward pass adds, at the loss or in a layer."""
    from ccx_ray.training.activations import decoder_activations

    runtime = work.runtime
    bf16 = runtime.precision == "bf16"
    try:
        activations = decoder_activations(
            work.model,
            sequences=runtime.sequences_per_device,
            sequence_length=work.sequence_length,
            bf16=bf16,
            checkpointing=runtime.activation_checkpointing,
            attention=runtime.attention,
        )
    except UserError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise NoEstimateError(f"{work.model.architecture}: {cause}") from error
    copies = BF16 * (size.matrix_parameters - size.head_parameters) if bf16 else 0
    cast = {"bf16 copies of the weights": copies}
    # Without recomputation the layers keep autocast's copies; with it they are gone by the loss.
    kept = activations.kept - (0 if runtime.activation_checkpointing else copies)
    in_layer = {"activations": kept + activations.backward}
    at_loss = {"activations": kept, **_loss_terms(work, size)}
    if runtime.activation_checkpointing:
        return max(in_layer, at_loss, {"activations": kept, **cast}, key=_sum)
    return max(in_layer, at_loss, key=_sum) | cast


def _loss_terms(work: Workload, size: ModelSize) -> dict[str, int]:
    runtime = work.runtime
    number = BF16 if runtime.precision == "bf16" else FP32
    positions = runtime.sequences_per_device * work.sequence_length
    hidden = positions * work.model.hidden_size
    # The gradient of the head's matrix: as the product gives it, and in fp32 to be added.
    head = size.head_parameters * (number + (FP32 if number == BF16 else 0))
    if runtime.fused_loss:
        chunk = min(positions * work.vocabulary_size, LIGER_EXPANSION * hidden)
        return {"loss without logits": head + hidden * number + chunk * (number + FP32)}
    logits = positions * work.vocabulary_size
    chunk = DEVICE_CHUNK if runtime.gpus_per_worker else CPU_CHUNK
    in_loss = 2 * logits * number + FP32 * min(chunk, logits)
    in_head = logits * number + head + hidden * number
    return {"logits and their gradient": max(in_loss, in_head)}


def workload(study: StudySpec, part: str) -> Workload:
    """``base`` or ``trials`` of a study, at its least number of workers, when it needs most."""
    training: TrainingSpec = getattr(study, part)
    runtime: TrainingRuntime = getattr(study.runtime, part)
    return Workload(
        model=study.model,
        vocabulary_size=study.tokenizer.vocabulary_size,
        sequence_length=study.sequence_length,
        sequences_per_step=training.sequences_per_step,
        runtime=runtime,
        workers=runtime.worker_counts(training.sequences_per_step)[0],
    )


def check_memory(study: StudySpec) -> None:
    """Refuse a study that cannot fit its GPUs; one on CPUs alone always passes.

    An architecture whose code cannot be run without values has no estimate and is not refused.

    Raises:
        UserError: the estimate is above 95 % of ``runtime.cost.memory_gib``; it names the largest
            term and the nearest setting that fits.
    """
    whole = study.runtime.cost.memory_gib
    room = whole * USABLE_SHARE * GIB
    for part in ("base", "trials"):
        work = workload(study, part)
        if not work.runtime.gpus_per_worker:
            continue
        try:
            estimate = estimate_memory(work)
        except NoEstimateError as reason:
            logger.warning("runtime.%s: no estimate of the memory it needs: %s", part, reason)
            continue
        if estimate.total > room:
            raise UserError(
                f"runtime.{part}: needs {estimate.total / GIB:.1f} GiB on each GPU at zero_stage "
                f"{work.runtime.zero_stage} with {work.workers} worker{'s' * (work.workers > 1)}, "
                f"more than {USABLE_SHARE:.0%} of runtime.cost.memory_gib {whole:g}; the largest "
                f"part is {estimate.largest} with {estimate.terms[estimate.largest] / GIB:.1f} "
                f"GiB; {_nearest_fit(part, work, room)}"
            )


def _nearest_fit(part: str, work: Workload, room: float) -> str:
    """What to change of the runtime, the least first, so that the estimate is within ``room``."""
    for changes in _changes(work):
        runtime = work.runtime.model_copy(update=changes)
        total = estimate_memory(replace(work, runtime=runtime)).total
        if total <= room:
            given = ", ".join(f"{name}={value}".lower() for name, value in changes.items())
            return f"runtime.{part} with {given} needs {total / GIB:.1f} GiB"
    return "no setting of this many workers fits; give more workers or GPUs with more memory"


def _changes(work: Workload) -> Iterator[dict[str, object]]:
    """Settings in the order of what they cost in speed."""
    runtime = work.runtime
    smaller: list[dict[str, object]] = []
    sequences = runtime.sequences_per_device
    while sequences % 2 == 0:
        sequences //= 2
        smaller.append({"sequences_per_device": sequences})
    fused: dict[str, object] = {} if runtime.fused_loss else {"fused_loss": True}
    recompute: dict[str, object] = (
        {} if runtime.activation_checkpointing else {"activation_checkpointing": True}
    )
    higher = [stage for stage in STAGES if stage > runtime.zero_stage and work.workers > 1]
    passes = [{}, fused, *smaller, *(fused | less for less in smaller)]
    for recomputing in ({}, recompute):
        for stage in ({}, *({"zero_stage": stage} for stage in higher)):
            yield from (recomputing | stage | one for one in passes)
    least = recompute | fused | (smaller[-1] if smaller else {})
    yield {**least, "zero_stage": max(1, runtime.zero_stage), "offload": "optimizer"}
    yield {**least, "zero_stage": 3, "offload": "parameters"}
