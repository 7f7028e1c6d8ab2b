"""A stream of random tokens and a run over it, for the parts that train with our worker loop."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from ccx_ray.study.training_spec import ModelSpec, OptimizerSpec, TrainingRuntime, TrainingSpec
from ccx_ray.training.history import StartupClock, StepRecord
from ccx_ray.training.run import TrainingRun
from ccx_ray.training.worker import Worker

EOS_ID, PAD_ID = 0, 1
DOCUMENT_TOKENS = 64
"""Mean length of a document; the ends are drawn."""


def write_stream(folder: Path, *, rows: int, length: int, vocabulary_size: int) -> Path:
    """Rows of random tokens with document ends and without padding."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    tokens = random.integers(2, vocabulary_size, (rows, length))
    tokens[random.random((rows, length)) < 1 / DOCUMENT_TOKENS] = EOS_ID
    input_ids = pa.FixedSizeListArray.from_arrays(pa.array(tokens.astype(np.int32).ravel()), length)
    segment = pa.struct([("document", pa.int64()), ("start", pa.int64()), ("length", pa.int64())])
    segments = pa.array([[] for _ in range(rows)], pa.list_(segment))
    pq.write_table(
        pa.table({"input_ids": input_ids, "segments": segments}),
        folder / "rows-00000.parquet",
        row_group_size=64,
    )
    description = {
        "rows": rows,
        "sequence_length": length,
        "seed": 0,
        "row_group_size": 64,
        "eos_id": EOS_ID,
        "pad_id": PAD_ID,
        "vocabulary_size": vocabulary_size,
        "fingerprint": "benchmark",
        "counts": {},
    }
    (folder / "stream.json").write_text(json.dumps(description), "utf-8")
    return folder


def benchmark_run(
    folder: Path,
    stream: Path,
    *,
    model: ModelSpec,
    steps: int,
    sequences: int,
    threads: int,
    document_masks: bool = False,
    checkpoints: int = 1,
    name: str = "benchmark",
) -> TrainingRun:
    """One training in fp32 on the CPU, ZeRO 1, one forward pass a step."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = folder.parent / "tokenizer"
    tokenizer.mkdir(exist_ok=True)
    return TrainingRun(
        name=name,
        fingerprint="benchmark",
        folder=folder,
        stream_folder=stream,
        tokenizer_folder=tokenizer,
        training=TrainingSpec(
            steps=steps,
            sequences_per_step=sequences,
            checkpoints=checkpoints,
            optimizer=OptimizerSpec(learning_rate=1e-4),
            document_masks=document_masks,
        ),
        model=model,
        initial_model=None,
        seed=0,
        runtime=TrainingRuntime(
            sequences_per_device=sequences, threads_per_worker=threads, resume_seconds=1e9
        ),
        reader="direct",
        tracking_uri="sqlite://",
        mlflow_run_id=None,
    )


def train_alone(
    run: TrainingRun, observe: Callable[[StepRecord], None] = lambda record: None
) -> Worker:
    """Train in this process, without Ray, and return the worker with its history."""
    if not dist.is_initialized():
        os.environ["LOCAL_RANK"] = "0"
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    worker = Worker(
        run, rank=0, workers=1, device=torch.device("cpu"), clock=StartupClock(began=0.0)
    )
    worker.train(observe)
    return worker
