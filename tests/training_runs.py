"""Tiny trainings for the tests: a synthetic stream in the documented format, and how to run one."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ccx_ray.study.training_spec import ModelSpec, OptimizerSpec, TrainingRuntime, TrainingSpec
from ccx_ray.training.run import TrainingRun

EOS, PAD, VOCABULARY, LENGTH = 0, 1, 320, 32
MODEL = ModelSpec(
    hidden_size=32, layers=2, attention_heads=4, key_value_heads=2, intermediate_size=64
)


def write_stream(
    folder: Path,
    *,
    rows: int = 96,
    seed: int = 0,
    length: int = LENGTH,
    tokens: np.ndarray | None = None,
    vocabulary_size: int = VOCABULARY,
) -> Path:
    """Rows of a noisy counting language that a model can learn; every fifth is half padding.

    Args:
        tokens: [rows, length] these rows instead.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    if tokens is None:
        random = np.random.default_rng(seed)
        tokens = (random.integers(0, 97, (rows, 1)) + np.arange(length)) % 97 + 2
        noise = random.random((rows, length)) < 0.1
        tokens = np.where(noise, random.integers(2, VOCABULARY, (rows, length)), tokens)
        tokens[::5, length // 2 :] = PAD
    input_ids = pa.FixedSizeListArray.from_arrays(pa.array(tokens.astype(np.int32).ravel()), length)
    segment = pa.struct([("document", pa.int64()), ("start", pa.int64()), ("length", pa.int64())])
    segments = pa.array([[] for _ in range(rows)], pa.list_(segment))
    table = pa.table({"input_ids": input_ids, "segments": segments})
    pq.write_table(table, folder / "rows-00000.parquet", row_group_size=16)
    description = {
        "rows": rows,
        "sequence_length": length,
        "seed": seed,
        "row_group_size": 16,
        "rows_per_file": 16 * -(-rows // 16),
        "eos_id": EOS,
        "pad_id": PAD,
        "vocabulary_size": vocabulary_size,
        "fingerprint": f"synthetic-{seed}",
        "counts": {},
    }
    (folder / "stream.json").write_text(json.dumps(description), "utf-8")
    return folder


def write_tokenizer(folder: Path) -> Path:
    """A byte-level tokenizer without merges, with the product's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|pad|>"]
    alphabet = specials + sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=specials[0], pad_token=specials[1]
    ).save_pretrained(folder)
    return folder


def tiny_run(folder: Path, inputs: Path, **changes: Any) -> TrainingRun:
    """A run of 9 steps with checkpoints after 3, 6 and 9.

    Args:
        inputs: holds ``stream`` and ``tokenizer``, written when missing.
        changes: fields of ``TrainingRun`` and of its runtime, and ``steps``.
    """
    if not (inputs / "stream").exists():
        write_stream(inputs / "stream")
        write_tokenizer(inputs / "tokenizer")
    folder.mkdir(parents=True, exist_ok=True)
    runtime: dict[str, Any] = {
        "zero_stage": 1,
        "workers": 1,
        "sequences_per_device": 4,
        "max_failures": 1,
    }
    runtime |= {key: changes.pop(key) for key in TrainingRuntime.model_fields if key in changes}
    values: dict[str, Any] = {
        "name": "ko-bridge-s0",
        "fingerprint": "0123456789ab",
        "folder": folder,
        "stream_folder": inputs / "stream",
        "tokenizer_folder": inputs / "tokenizer",
        "training": TrainingSpec(
            steps=changes.pop("steps", 9),
            sequences_per_step=8,
            checkpoints=3,
            optimizer=OptimizerSpec(learning_rate=3e-3, warmup_steps=2),
        ),
        "model": MODEL,
        "initial_model": None,
        "seed": 0,
        "runtime": TrainingRuntime(cpus_per_worker=0.5, **runtime),
        "reader": "direct",
        "tracking_uri": "sqlite://",
        "mlflow_run_id": None,
    }
    return TrainingRun(**{**values, **changes})


class CrashError(Exception):
    """Stands for whatever ends a process."""


def train_here(run: TrainingRun, *, crash_after: int | None = None) -> list[float]:
    """Train in this process, without Ray; the losses of every step since the first.

    Args:
        crash_after: raise ``CrashError`` after this step, before anything of it is saved.
    """
    import torch

    from ccx_ray.training.history import StartupClock, StepRecord
    from ccx_ray.training.metrics import metric_writer
    from ccx_ray.training.worker import Worker

    join_process_group()
    clock = StartupClock(began=0.0)
    worker = Worker(run, rank=0, workers=1, device=torch.device("cpu"), clock=clock)
    with metric_writer(run, worker, lambda name, value: None) as write:

        def observe(record: StepRecord) -> None:
            write(record)
            if record.step == crash_after:
                raise CrashError

        worker.train(observe)
    return [record.loss for record in worker.history]


def join_process_group() -> None:
    """A process group of this process alone; DeepSpeed keeps it, so it is never left."""
    import torch.distributed as dist

    # Each time: a fixture that puts the environment back as it was takes the rank with it.
    os.environ["LOCAL_RANK"] = "0"
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


def parameters_of(checkpoint: Path) -> dict[str, np.ndarray]:
    """Every tensor of a Hugging Face folder."""
    from safetensors.numpy import load_file

    return load_file(checkpoint / "model.safetensors")
