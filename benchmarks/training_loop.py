"""Our worker loop against a bare PyTorch loop on the same model, batches and threads.

Ours reads the stream, accumulates nothing, steps through DeepSpeed at ZeRO 1, judges every step and
notes it. Bare is what one writes in ten lines: Hugging Face model, fused AdamW, clipped gradients,
torch's cross-entropy, batches in memory. The second bare loop has our chunked loss, because that
alone makes ours faster, and the first would hide what the loop itself costs.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from benchmark_tables import BenchmarkTable, bar, spread
from torch import Tensor, nn

from ccx_ray.corpus.packing.stream import Stream, read_batches
from ccx_ray.study.training_spec import ModelSpec, OptimizerSpec, TrainingSpec
from ccx_ray.training.history import read_history
from ccx_ray.training.loss import NextTokenLoss, next_token_labels
from ccx_ray.training.model import build_model
from ccx_ray.training.size import model_size
from tests.training_runs import EOS, PAD, tiny_run, train_here, write_stream, write_tokenizer

LEAST_SHARE_OF_BARE = 0.95
MOST_DATA_SHARE = 0.01
WARM_STEPS = 2
RATE = 1e-4
DOCUMENT_TOKENS = 64
"""Mean length of a document; the ends are drawn."""


def loop_table(arguments: argparse.Namespace, folder: Path) -> BenchmarkTable:
    """Tokens a second of the three loops, in turn, ``repeats`` times."""
    vocabulary, length = (512, 32) if arguments.smoke else (8192, 256)
    steps = WARM_STEPS + arguments.steps
    model = ModelSpec.model_validate("laptop" if arguments.smoke else "tiny")
    random = np.random.default_rng(0)
    tokens_RT = random.integers(2, vocabulary, (steps * arguments.sequences, length))
    tokens_RT[random.random(tokens_RT.shape) < 1 / DOCUMENT_TOKENS] = EOS
    stream = write_stream(
        folder / "stream", rows=len(tokens_RT), length=length, tokens=tokens_RT,
        vocabulary_size=vocabulary,
    )  # fmt: skip
    write_tokenizer(folder / "tokenizer")
    training = TrainingSpec(
        steps=steps, sequences_per_step=arguments.sequences, checkpoints=1,
        optimizer=OptimizerSpec(learning_rate=RATE),
    )  # fmt: skip
    tokens = arguments.sequences * length
    speeds: dict[str, list[float]] = {"ours": [], "bare": [], "bare, chunked loss": []}
    shares = []
    for repeat in range(arguments.repeats):
        run = tiny_run(
            folder / f"run-{repeat}",
            folder,
            training=training,
            model=model,
            sequences_per_device=arguments.sequences,
            threads_per_worker=arguments.threads,
            resume_seconds=1e9,
        )
        train_here(run)
        history = read_history(run.folder / "losses.parquet")[WARM_STEPS:]
        seconds = [record.seconds for record in history]
        speeds["ours"].append(tokens / median(seconds))
        shares.append(sum(record.data_seconds for record in history) / sum(seconds))
        for name, loss in (("bare", plain_loss), ("bare, chunked loss", chunked_loss)):
            seconds = bare_loop(
                model, batches(stream, arguments.sequences), loss, arguments.threads
            )
            speeds[name].append(tokens / median(seconds[WARM_STEPS:]))
    ours, bare, chunked = (median(values) for values in speeds.values())
    data = median(shares)
    met = "reached" if data < MOST_DATA_SHARE else "missed"
    return BenchmarkTable(
        part="loop",
        title=(
            f"The worker loop, {model_size(model, vocabulary).parameters / 1e6:.1f} M parameters, "
            f"{arguments.sequences} x {length} tokens a step, fp32, {arguments.threads} threads"
        ),
        columns=("loop", "tokens/s", "of bare"),
        rows=[
            (name, spread(values, ",.0f"), f"{median(values) / bare:.2f}")
            for name, values in speeds.items()
        ],
        verdicts=[
            bar("ours, of the bare loop's speed", ours / bare, LEAST_SHARE_OF_BARE),
            bar("ours, of the bare loop with our loss", ours / chunked, LEAST_SHARE_OF_BARE),
            f"waiting for data: {data:.3%} of the step time (bar {MOST_DATA_SHARE:.0%}: {met})",
        ],
        figures={"tokens_per_second": speeds, "data_share": shares},
    )


def plain_loss(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Mean cross-entropy as torch has it."""

    def loss(tokens_BT: Tensor) -> Tensor:
        logits_BTV = model(input_ids=tokens_BT).logits
        return nn.functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten(), ignore_index=PAD
        )

    return loss


def chunked_loss(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The same, as we compute it."""
    summed = NextTokenLoss(model, precision="fp32")

    def loss(tokens_BT: Tensor) -> Tensor:
        labels_BT = next_token_labels(tokens_BT, PAD)
        return summed(tokens_BT, labels_BT) / labels_BT.ge(0).sum()

    return loss


def batches(stream: Path, sequences: int) -> list[Tensor]:
    """All batches, in memory."""
    opened = Stream.open(stream)
    read: Iterator[np.ndarray] = read_batches(
        opened, first_row=0, rows_per_step=sequences, rank=0, world_size=1, reader="direct"
    )
    return [torch.tensor(next(read)).long() for _ in range(opened.rows // sequences)]


def bare_loop(
    spec: ModelSpec,
    all_batches: list[Tensor],
    loss_of: Callable[[nn.Module], Callable[[Tensor], Tensor]],
    threads: int,
) -> list[float]:
    """Seconds of every step."""
    torch.set_num_threads(threads)
    vocabulary = max(int(batch.max()) for batch in all_batches) + 1
    model = build_model(spec, vocabulary_size=vocabulary, eos_id=EOS, pad_id=PAD, seed=0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    loss_fn = loss_of(model)
    seconds = []
    for tokens_BT in all_batches:
        began = time.perf_counter()
        loss = loss_fn(tokens_BT)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        seconds.append(time.perf_counter() - began)
    return seconds
