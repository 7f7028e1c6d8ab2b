"""A training step on a GPU, every optimisation switched on in turn. Runs on bare machines too.

Needs torch, transformers and numpy; what else is installed (Liger, flash attention, DeepSpeed) adds
rows. Weights are fp32 and the forward pass runs in bf16 autocast, as in our engine; the last rows
differ and say so. Tokens and weights are random: the time of a step does not depend on them.

MFU = tokens/s x FLOPs a token / dense bf16 peak of the card, FLOPs as ``size.py`` counts them
(6 N with the head + 12 L d T, not halved for causality; recomputation is no work of the model).
"""

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmark_tables import BenchmarkTable
from training_gpu_steps import EOS_ID, PRESETS, Preset, Row, build, stepper

from ccx_ray.training.size import flops_per_token, peak_flops

DOCUMENT_TOKENS = 512
WARM_STEPS = 3
LEAST_MFU = 0.45
FLASH = "flash_attention_2"
OPEN = "no GPU at hand: the GPU figures are open"


def rows_to_run() -> list[tuple[Row, str]]:
    """Every row, and why it cannot be run here, or nothing."""
    eager = Row(
        name="eager attention, plain loss, fp32",
        bf16=False,
        attention="eager",
        loss="plain",
        fused_adamw=False,
    )
    bf16 = replace(eager, name="+ bf16 autocast", bf16=True)
    sdpa = replace(bf16, name="+ sdpa", attention="sdpa")
    chunked = replace(sdpa, name="+ chunked loss", loss="chunked")
    fused_adamw = replace(chunked, name="+ fused AdamW", fused_adamw=True)
    fused = replace(fused_adamw, name="+ fused loss (Liger)", loss="fused")
    liger = "" if find_spec("liger_kernel") and torch.cuda.is_available() else "no Liger"
    best = fused_adamw if liger else fused
    compiled = replace(best, name="+ compile", compiled=True)
    flash = "" if find_spec("flash_attn") else "no flash-attn"
    deepspeed = "" if find_spec("deepspeed") else "no DeepSpeed"
    masked = replace(best, name="  not compiled, document masks, sdpa", masks=True)
    flashed = replace(masked, name="  not compiled, document masks, flash", attention=FLASH)
    return [
        *((row, "") for row in (eager, bf16, sdpa, chunked, fused_adamw)),
        (fused, liger),
        (compiled, ""),
        (replace(compiled, name="  with activation checkpointing", recompute=True), ""),
        (masked, ""),
        (flashed, flash),
        (replace(best, name="  not compiled, DeepSpeed ZeRO 1", kind="deepspeed"), deepspeed),
        (replace(compiled, name="  pure bf16 weights, compiled", pure_bf16=True), ""),
        (Row(name="Hugging Face Trainer's step, bf16", loss="plain", kind="trainer"), ""),
    ]


def gpu_table(arguments: argparse.Namespace, folder: Path) -> BenchmarkTable:
    """Tokens a second, MFU and peak memory of every row."""
    columns = ("", "rows", "step, ms", "tokens/s", "MFU", "peak, GiB")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        return BenchmarkTable(
            part="gpu", title="The step on a GPU", columns=columns, rows=[], verdicts=[OPEN]
        )
    preset, device = PRESETS[arguments.preset], torch.device(arguments.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    peak = peak_flops(name, "bf16")
    figures: dict[str, Any] = {}
    rows, best = [], 0.0
    for row, missing in rows_to_run():
        if arguments.only and not row.name.strip(" +").startswith(tuple(arguments.only)):
            continue
        result = missing or measure(row, preset, device, arguments, folder)
        figures[row.name] = result
        if isinstance(result, str):
            rows.append((row.name, "", result, "", "", ""))
            continue
        speed = result["tokens_per_second"]
        share = None
        if peak is not None:
            share = speed * result["flops_per_token"] / peak
            if row.kind == "plain step":
                best = max(best, share)
        rows.append(
            (
                row.name,
                str(arguments.gpu_sequences),
                f"{1000 * result['step_seconds']:,.1f}",
                f"{speed:,.0f}",
                "" if share is None else f"{share:.1%}",
                "" if not result["peak_bytes"] else f"{result['peak_bytes'] / 2**30:.1f}",
            )
        )
        print("  ".join(rows[-1]), flush=True)
    verdicts = [OPEN]
    if peak is not None:
        met = "reached" if best >= LEAST_MFU else "missed"
        verdicts = [f"best MFU of our step: {best:.1%} (bar {LEAST_MFU:.0%}: {met})"]
    return BenchmarkTable(
        part="gpu",
        title=f"{arguments.preset} at length {preset.sequence_length} on {name}",
        columns=columns,
        rows=rows,
        verdicts=verdicts,
        figures=figures,
    )


def measure(
    row: Row, preset: Preset, device: torch.device, arguments: argparse.Namespace, folder: Path
) -> dict[str, Any] | str:
    """The row's figures, or in words why there are none."""
    _clear(device)
    try:
        model = build(row, preset, device)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        step = stepper(row, model, device, folder)
        shape = (arguments.gpu_sequences, preset.sequence_length)
        tokens_BT = torch.randint(2, preset.vocabulary_size, shape, device=device)
        tokens_BT[:, DOCUMENT_TOKENS - 1 :: DOCUMENT_TOKENS] = EOS_ID
        seconds = step_seconds(lambda: step(tokens_BT), arguments.steps, device)
    except torch.OutOfMemoryError:
        return "out of memory"
    except Exception as error:  # a row that this machine's versions cannot run ends no others
        return f"failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:80]}"
    finally:
        _clear(device, reset=False)
    return {
        "step_seconds": median(seconds),
        "all_step_seconds": seconds,
        "tokens_per_second": tokens_BT.numel() / median(seconds),
        "peak_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else 0,
        "parameters": parameters,
        "flops_per_token": flops_per_token(
            parameters=parameters,
            attention_layers=preset.layers,
            attention_width=preset.hidden_size,
            sequence_length=preset.sequence_length,
        ),
    }


def step_seconds(step: Callable[[], object], steps: int, device: torch.device) -> list[float]:
    """Seconds of each step after warm-up, by CUDA events or by the clock."""
    for _ in range(WARM_STEPS):
        step()
    if device.type == "cpu":
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        return seconds
    torch.cuda.synchronize()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) / 1000 for begin, end in pairwise(events)]


def _clear(device: torch.device, *, reset: bool = True) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        if reset:
            torch.compiler.reset()
            torch.cuda.reset_peak_memory_stats()
