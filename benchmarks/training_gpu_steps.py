"""The step that ``training_gpu.py`` measures, by its settings: torch and transformers alone."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ccx_ray.training.loss import NextTokenLoss, next_token_labels

EOS_ID, PAD_ID = 0, 1


@dataclass(frozen=True)
class Preset:
    """Sizes of a Qwen2 model and of its rows."""

    hidden_size: int
    layers: int
    heads: int
    key_value_heads: int
    feed_forward: int
    vocabulary_size: int
    sequence_length: int


PRESETS = {
    "qwen2.5-0.5b": Preset(896, 24, 14, 2, 4864, 151_936, 2048),
    "micro": Preset(64, 2, 4, 2, 128, 512, 64),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A setting of the step; each row changes a thing or two of the one before."""

    name: str
    bf16: bool = True
    pure_bf16: bool = False
    """Weights, gradients and moments in bf16: not our convention, a checkpoint is not exact."""
    attention: str = "sdpa"
    loss: str = "chunked"
    """``plain``, ``chunked`` or ``fused``."""
    fused_adamw: bool = True
    compiled: bool = False
    recompute: bool = False
    masks: bool = False
    kind: str = "plain step"
    """``plain step``, ``trainer`` (Hugging Face's) or ``deepspeed``."""


def build(row: Row, preset: Preset, device: torch.device) -> nn.Module:
    """The architecture with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "qwen2",
        vocab_size=preset.vocabulary_size,
        hidden_size=preset.hidden_size,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        num_key_value_heads=preset.key_value_heads,
        intermediate_size=preset.feed_forward,
        max_position_embeddings=preset.sequence_length,
        tie_word_embeddings=True,
        use_cache=False,
        bos_token_id=EOS_ID,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
        attn_implementation=row.attention,
        dtype="bfloat16" if row.pure_bf16 else "float32",
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(device).train()
    if row.recompute:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def stepper(
    row: Row, model: nn.Module, device: torch.device, folder: Path
) -> Callable[[Tensor], object]:
    """One optimizer step of one forward pass over rows of tokens."""
    if row.kind == "trainer":
        return _trainer_step(model, device, folder)
    loss_of = _loss(row, model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, weight_decay=0.1, fused=row.fused_adamw
    )
    if row.kind == "deepspeed":
        return _deepspeed_step(loss_of, optimizer, device)
    compiled = torch.compile(loss_of) if row.compiled else loss_of

    def step(tokens_BT: Tensor) -> None:
        labels_BT = next_token_labels(tokens_BT, PAD_ID)
        (compiled(tokens_BT, labels_BT) / labels_BT.ge(0).sum()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


class PlainLoss(nn.Module):  # type: ignore[misc]
    """Summed cross-entropy over whole fp32 logits, as Hugging Face's own models compute it."""

    def __init__(self, model: nn.Module, *, bf16: bool) -> None:
        super().__init__()
        self.model = model
        self._bf16 = bf16

    def forward(self, tokens_BT: Tensor, labels_BT: Tensor) -> Tensor:
        with torch.autocast(tokens_BT.device.type, torch.bfloat16, enabled=self._bf16):
            logits_BTV = self.model(input_ids=tokens_BT).logits
        return nn.functional.cross_entropy(
            logits_BTV.float().flatten(0, 1), labels_BT.flatten(), reduction="sum"
        )


def _loss(row: Row, model: nn.Module) -> nn.Module:
    if row.loss == "plain":
        return PlainLoss(model, bf16=row.bf16)
    return NextTokenLoss(
        model,
        precision="bf16" if row.bf16 else "fp32",
        masked_eos_id=EOS_ID if row.masks else None,
        fused=row.loss == "fused",
    )


def _trainer_step(model: nn.Module, device: torch.device, folder: Path) -> Callable[[Tensor], Any]:
    """The ``training_step`` that Hugging Face's Trainer runs, with its optimizer beside it."""
    from transformers import Trainer, TrainingArguments

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder / "trainer"),
            bf16=True,
            use_cpu=device.type == "cpu",
            report_to=[],
            disable_tqdm=True,
        ),
    )
    optimizer = trainer.create_optimizer()
    trainer.model_wrapped = trainer.accelerator.prepare(model)

    def step(tokens_BT: Tensor) -> None:
        inputs = {"input_ids": tokens_BT, "labels": tokens_BT}
        trainer.training_step(trainer.model_wrapped, inputs)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _deepspeed_step(
    loss_of: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> Callable[[Tensor], Any]:
    """ZeRO 1 on one worker, with the settings of our engine."""
    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import deepspeed.ops
    import torch.distributed as dist

    if device.type == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not dist.is_initialized():
        os.environ.setdefault("LOCAL_RANK", "0")
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(
        dist_backend=dist.get_backend(), auto_mpi_discovery=False, dist_init_required=False
    )
    parameters = sum(parameter.numel() for parameter in loss_of.parameters())
    engine, *_ = deepspeed.initialize(
        model=loss_of,
        optimizer=optimizer,
        config={
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": 1.0,
            "zero_optimization": {
                "stage": 1,
                "reduce_bucket_size": min(parameters, 500_000_000),
                "allgather_bucket_size": min(parameters, 500_000_000),
            },
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 1_000_000_000,
        },
        dist_init_required=False,
    )

    def step(tokens_BT: Tensor) -> None:
        labels_BT = next_token_labels(tokens_BT, PAD_ID)
        engine.backward(engine(tokens_BT, labels_BT) / labels_BT.ge(0).sum())
        engine.step()

    return step
