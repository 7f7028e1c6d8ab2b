"""What document masks cost on the CPU: the worker loop with and without them."""

import argparse
from pathlib import Path
from statistics import median

from benchmark_tables import BenchmarkTable, spread
from training_runs import DOCUMENT_TOKENS, benchmark_run, train_alone, write_stream

from ccx_ray.study.training_spec import ModelSpec

WARM_STEPS = 2


def masks_table(arguments: argparse.Namespace, folder: Path) -> BenchmarkTable:
    """Tokens a second in turn, ``repeats`` times."""
    vocabulary, length = (512, 64) if arguments.smoke else (8192, 512)
    steps = WARM_STEPS + arguments.steps
    stream = write_stream(
        folder / "stream",
        rows=steps * arguments.sequences,
        length=length,
        vocabulary_size=vocabulary,
    )
    speeds: dict[str, list[float]] = {"documents see each other": [], "document masks": []}
    for repeat in range(arguments.repeats):
        for masks, values in zip((False, True), speeds.values(), strict=True):
            run = benchmark_run(
                folder / f"run-{repeat}-{masks}",
                stream,
                model=ModelSpec.model_validate("laptop" if arguments.smoke else "tiny"),
                steps=steps,
                sequences=arguments.sequences,
                threads=arguments.threads,
                document_masks=masks,
            )
            seconds = [record.seconds for record in train_alone(run).history[WARM_STEPS:]]
            values.append(arguments.sequences * length / median(seconds))
    without, with_masks = (median(values) for values in speeds.values())
    return BenchmarkTable(
        part="masks",
        title=(
            f"Document masks, {arguments.sequences} x {length} tokens a step, documents of "
            f"{DOCUMENT_TOKENS} tokens, sdpa on the CPU"
        ),
        columns=("", "tokens/s", "of without"),
        rows=[
            (name, spread(values, ",.0f"), f"{median(values) / without:.2f}")
            for name, values in speeds.items()
        ],
        verdicts=[f"document masks cost {1 - with_masks / without:.1%} of the speed"],
        figures={"tokens_per_second": speeds},
    )
