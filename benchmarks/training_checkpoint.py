"""How long a checkpoint keeps the loop waiting: written in its thread, and beside it.

Blocked is the copy of the state out of the engine (which nobody can spare the loop) and the time
that ``CheckpointWriter`` keeps its caller. Steps go on between two checkpoints, as in a training.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmark_tables import BenchmarkTable, spread
from training_runs import benchmark_run, train_alone, write_stream

from ccx_ray.study.training_spec import ModelSpec
from ccx_ray.training.checkpoint_writer import CheckpointWriter
from ccx_ray.training.checkpoints import ResumePoint
from ccx_ray.training.size import parameter_count

VOCABULARY = 8192


def checkpoint_table(arguments: argparse.Namespace, folder: Path) -> BenchmarkTable:
    """Seconds blocked by a resume state and a checkpoint of the same step, per checkpoint."""
    model = ModelSpec.model_validate("laptop" if arguments.smoke else "tiny")
    stream = write_stream(
        folder / "stream",
        rows=2 * arguments.sequences,
        length=32 if arguments.smoke else 256,
        vocabulary_size=VOCABULARY,
    )
    run = benchmark_run(
        folder / "run",
        stream,
        model=model,
        steps=2,
        sequences=arguments.sequences,
        threads=arguments.threads,
    )
    worker = train_alone(run)
    import torch

    tokens_BT = torch.randint(2, VOCABULARY, (arguments.sequences, worker.stream.sequence_length))
    blocked: dict[str, list[float]] = {"synchronous": [], "asynchronous": []}
    copied: list[float] = []
    steps_between: list[float] = []
    number = 2
    for repeat in range(arguments.repeats):
        for name, values in blocked.items():
            own = replace(run, folder=folder / f"{name}-{repeat}")
            own.folder.mkdir()
            with CheckpointWriter(
                own, worker.engine.model, synchronous=name == "synchronous"
            ) as writer:
                number += 1
                began = time.perf_counter()
                state = worker.engine.state()
                copy = time.perf_counter() - began
                point = ResumePoint(
                    step=number,
                    rows=number * arguments.sequences,
                    seed=0,
                    fingerprint=run.fingerprint,
                    stream_fingerprint="benchmark",
                )
                writer.write(point, state, worker.history, checkpoint=True)
                waited = writer.blocked_seconds
                copied.append(copy)
                values.append(copy + waited)
                if name == "asynchronous":
                    steps_between.append(_step_seconds(worker.engine, tokens_BT))
    sync, beside = (median(values) for values in blocked.values())
    parameters = parameter_count(model, VOCABULARY)
    return BenchmarkTable(
        part="checkpoint",
        title=(
            f"Time that a checkpoint blocks the loop, {parameters / 1e6:.1f} M parameters: resume "
            f"state of {12 * parameters / 1e6:,.0f} MB and Hugging Face folder"
        ),
        columns=("", "seconds"),
        rows=[
            ("the state's copy, in both", spread(copied, ".3f")),
            *((name, spread(values, ".3f")) for name, values in blocked.items()),
            ("a step while the thread writes", spread(steps_between, ".3f")),
        ],
        verdicts=[f"asynchronous blocks {beside / sync:.1%} of synchronous"],
        figures={"blocked": blocked, "copied": copied, "step_while_writing": steps_between},
    )


def _step_seconds(engine: "object", tokens_BT: "Sequence[object]") -> float:
    began = time.perf_counter()
    engine.step(tokens_BT, 1e-4)  # type: ignore[attr-defined]
    return time.perf_counter() - began
