"""The memory estimate against measured peaks, on the CPU: a process for every case.

Measured is the most memory that a training step holds, as the operating system counts it: peak
resident size, set back after the first step, less the resident size before the model was built
(after all imports and a step of a tiny model, so that thread pools and code count for neither).
The allocator gives large blocks back at once (MALLOC_MMAP_THRESHOLD_), so that freed memory does
not count as used. torch's profiler would count torch's own allocations alone, and would hold them.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from benchmark_tables import BenchmarkTable

from ccx_ray.study.training_spec import ModelSpec, OptimizerSpec, TrainingRuntime
from ccx_ray.training.engine import TrainingEngine
from ccx_ray.training.memory import Workload, estimate_memory
from ccx_ray.training.model import build_model

MIB = 2**20
MOST_ERROR = 0.15


@dataclass(frozen=True, kw_only=True)
class MemoryCase:
    """One training of a few steps."""

    hidden_size: int
    layers: int
    feed_forward: int
    vocabulary_size: int
    sequence_length: int
    sequences: int
    accumulation: int = 2
    zero_stage: int = 1
    checkpointing: bool = False
    workers: int = 1
    rank: int = 0


SIZES = (
    # The preset tiny: 11 M.
    MemoryCase(
        hidden_size=320,
        layers=6,
        feed_forward=1280,
        vocabulary_size=8192,
        sequence_length=512,
        sequences=4,
    ),
    MemoryCase(
        hidden_size=512,
        layers=8,
        feed_forward=2048,
        vocabulary_size=32768,
        sequence_length=256,
        sequences=4,
    ),
    MemoryCase(
        hidden_size=768,
        layers=12,
        feed_forward=3072,
        vocabulary_size=32768,
        sequence_length=128,
        sequences=8,
    ),
)
SMOKE = (
    MemoryCase(
        hidden_size=64,
        layers=2,
        feed_forward=128,
        vocabulary_size=2048,
        sequence_length=128,
        sequences=8,
    ),
)


def memory_table(arguments: argparse.Namespace, folder: Path) -> BenchmarkTable:
    """Every size with ZeRO 1, activations kept and recomputed; the smallest at every stage."""
    sizes: Sequence[MemoryCase] = SMOKE if arguments.smoke else SIZES
    cases = [
        MemoryCase(**{**asdict(size), "checkpointing": checkpointing})
        for size in sizes
        for checkpointing in (False, True)
    ]
    if not arguments.smoke:
        cases += [
            MemoryCase(**{**asdict(sizes[1]), "zero_stage": stage, "workers": workers})
            for stage in (0, 1, 2, 3)
            for workers in (1, 2)
            if (stage, workers) != (1, 1)
        ]
    rows, errors = [], []
    for case in cases:
        measured, parameters = _measure(case)
        estimated = _estimate(case)
        errors.append(estimated / measured - 1)
        rows.append(
            (
                f"{parameters / 1e6:.1f} M",
                f"{case.sequences} x {case.sequence_length}",
                str(case.zero_stage),
                str(case.workers),
                "recomputed" if case.checkpointing else "kept",
                f"{measured / MIB:,.0f}",
                f"{estimated / MIB:,.0f}",
                f"{errors[-1]:+.1%}",
            )
        )
        print("  ".join(rows[-1]), flush=True)
    worst = max(errors, key=abs)
    met = "reached" if abs(worst) <= MOST_ERROR else "missed"
    return BenchmarkTable(
        part="memory",
        title="Peak memory of a worker, MiB, fp32 on the CPU",
        columns=(
            "parameters",
            "pass",
            "ZeRO",
            "workers",
            "activations",
            "measured",
            "estimated",
            "error",
        ),
        rows=rows,
        verdicts=[f"largest error {worst:+.1%} (bar {MOST_ERROR:.0%}: {met})"],
        figures={"errors": errors, "cases": [asdict(case) for case in cases]},
    )


def _model(case: MemoryCase) -> ModelSpec:
    heads = case.hidden_size // 64
    return ModelSpec(
        hidden_size=case.hidden_size,
        layers=case.layers,
        attention_heads=heads,
        key_value_heads=heads,
        intermediate_size=case.feed_forward,
    )


def _runtime(case: MemoryCase) -> TrainingRuntime:
    return TrainingRuntime.model_validate(
        {
            "zero_stage": case.zero_stage,
            "workers": case.workers,
            "sequences_per_device": case.sequences,
            "activation_checkpointing": case.checkpointing,
        }
    )


def _estimate(case: MemoryCase) -> int:
    work = Workload(
        model=_model(case),
        vocabulary_size=case.vocabulary_size,
        sequence_length=case.sequence_length,
        sequences_per_step=case.sequences * case.accumulation * case.workers,
        runtime=_runtime(case),
        workers=case.workers,
    )
    return estimate_memory(work).total


def _measure(case: MemoryCase) -> tuple[int, int]:
    """Peak bytes of rank 0, and the parameters of its model."""
    with tempfile.TemporaryDirectory(prefix="training-memory-") as folder:
        processes = []
        for rank in range(case.workers):
            argument = json.dumps({**asdict(case), "rank": rank})
            processes.append(
                subprocess.Popen(
                    [sys.executable, __file__, folder, argument],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
                )
            )
        ends = [process.communicate() for process in processes]
        if any(process.returncode for process in processes):
            raise SystemExit(f"{case}: {ends[0][1][-2000:]}")
    measured = json.loads(ends[0][0].splitlines()[-1])
    return measured["peak"], measured["parameters"]


def _measured_here(case: MemoryCase, folder: Path) -> dict[str, int]:
    os.environ["LOCAL_RANK"] = str(case.rank)
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), case.workers)
    dist.init_process_group("gloo", store=store, rank=case.rank, world_size=case.workers)
    tiny = MemoryCase(
        hidden_size=64,
        layers=1,
        feed_forward=64,
        vocabulary_size=128,
        sequence_length=16,
        sequences=1,
        workers=case.workers,
    )
    _train(tiny, steps=1)
    before = _status("VmRSS")
    # The engine lives on while its last steps are measured.
    engine = _train(case, steps=1)
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
    _step(engine, case, steps=2)
    peak = _status("VmHWM") - before
    return {"peak": peak, "parameters": engine.parameters}


def _train(case: MemoryCase, *, steps: int) -> TrainingEngine:
    model = build_model(
        _model(case), vocabulary_size=case.vocabulary_size, eos_id=0, pad_id=1, seed=0
    )
    engine = TrainingEngine(
        model,
        pad_id=1,
        eos_id=0,
        optimizer=OptimizerSpec(learning_rate=1e-4),
        runtime=_runtime(case),
        accumulation=case.accumulation,
        document_masks=False,
        device=torch.device("cpu"),
    )
    _step(engine, case, steps=steps)
    gc.collect()
    return engine


def _step(engine: TrainingEngine, case: MemoryCase, *, steps: int) -> None:
    rows = case.sequences * case.accumulation
    for _ in range(steps):
        tokens_BT = torch.randint(2, case.vocabulary_size, (rows, case.sequence_length))
        engine.step(tokens_BT, 1e-4)


def _status(name: str) -> int:
    """Bytes of this process, as the kernel counts them."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    print(json.dumps(_measured_here(MemoryCase(**json.loads(sys.argv[2])), Path(sys.argv[1]))))
