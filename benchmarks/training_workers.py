"""Two workers on gloo: our engine with DeepSpeed's ZeRO 1 beside torch's DistributedDataParallel.

Both in one pair of processes, in turn, on the same model, batches and loss; a process has one
thread. DDP clips and steps with the same fused AdamW, and holds all of the optimizer's state.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
from benchmark_tables import BenchmarkTable, spread
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ccx_ray.study.training_spec import ModelSpec, OptimizerSpec, TrainingRuntime
from ccx_ray.training.engine import TrainingEngine
from ccx_ray.training.loss import NextTokenLoss, next_token_labels
from ccx_ray.training.model import build_model

WORKERS = 2
WARM_STEPS = 2
PAD_ID = 1


def workers_table(arguments: argparse.Namespace, folder: Path) -> BenchmarkTable:
    """Tokens a second of both workers together, in turn, ``repeats`` times."""
    task = {
        "store": str(folder / "store"),
        "preset": "laptop" if arguments.smoke else "tiny",
        "vocabulary": 512 if arguments.smoke else 8192,
        "length": 32 if arguments.smoke else 256,
        "sequences": max(1, arguments.sequences // WORKERS),
        "steps": WARM_STEPS + arguments.steps,
        "repeats": arguments.repeats,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, json.dumps(task | {"rank": rank})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(WORKERS)
    ]
    ends = [process.communicate() for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"workers: {ends[0][1][-2000:]}{ends[1][1][-2000:]}")
    speeds: dict[str, list[float]] = json.loads(ends[0][0].splitlines()[-1])
    ddp = median(speeds["torch DDP"])
    return BenchmarkTable(
        part="workers",
        title=(
            f"Two workers, gloo, preset {task['preset']}, 2 x {task['sequences']} x "
            f"{task['length']} tokens a step, fp32, a thread each"
        ),
        columns=("", "tokens/s", "of DDP"),
        rows=[
            (name, spread(values, ",.0f"), f"{median(values) / ddp:.2f}")
            for name, values in speeds.items()
        ],
        figures={"tokens_per_second": speeds},
    )


def _both(task: dict[str, "str | int"]) -> dict[str, list[float]]:
    rank, length = int(task["rank"]), int(task["length"])
    sequences, vocabulary = int(task["sequences"]), int(task["vocabulary"])
    os.environ["LOCAL_RANK"] = str(rank)
    torch.set_num_threads(1)
    store = dist.FileStore(str(task["store"]), WORKERS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORKERS)
    generator = torch.Generator().manual_seed(rank)
    batches = [
        torch.randint(2, vocabulary, (sequences, length), generator=generator)
        for _ in range(int(task["steps"]))
    ]

    def model() -> nn.Module:
        spec = ModelSpec.model_validate(task["preset"])
        return build_model(spec, vocabulary_size=vocabulary, eos_id=0, pad_id=PAD_ID, seed=0)

    # Made once: DeepSpeed cannot be taken down and made again cheaply.
    steps = {"ours, ZeRO 1": _engine_step(model(), sequences), "torch DDP": _ddp_step(model())}
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(int(task["repeats"])):
        for name, step in steps.items():
            seconds = []
            for tokens_BT in batches:
                dist.barrier()
                began = time.perf_counter()
                step(tokens_BT)
                seconds.append(time.perf_counter() - began)
            speeds[name].append(WORKERS * sequences * length / median(seconds[WARM_STEPS:]))
    return speeds


def _engine_step(model: nn.Module, sequences: int) -> Callable[[Tensor], object]:
    engine = TrainingEngine(
        model,
        pad_id=PAD_ID,
        eos_id=0,
        optimizer=OptimizerSpec(learning_rate=1e-4),
        runtime=TrainingRuntime(workers=WORKERS, sequences_per_device=sequences, zero_stage=1),
        accumulation=1,
        document_masks=False,
        device=torch.device("cpu"),
    )
    return lambda tokens_BT: engine.step(tokens_BT, 1e-4)


def _ddp_step(model: nn.Module) -> Callable[[Tensor], object]:
    wrapped = DistributedDataParallel(NextTokenLoss(model, precision="fp32"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(tokens_BT: Tensor) -> float:
        labels_BT = next_token_labels(tokens_BT, PAD_ID)
        loss = wrapped(tokens_BT, labels_BT) / labels_BT.ge(0).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


if __name__ == "__main__":
    print(json.dumps(_both(json.loads(sys.argv[1]))))
