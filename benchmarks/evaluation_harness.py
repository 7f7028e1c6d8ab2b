"""The scores sum and per_byte against lm-evaluation-harness on the tasks exported to it.

Both have the same model in fp32 in memory and the same threads, and take turns file by file. Of the
harness only its ``loglikelihood`` counts, which encodes and scores, and neither the building of its
tasks nor that of its results; of ours all that a user waits for once files are read, both scores'
rankings exact. The harness runs once for every size of its batches, 1 being its default, and the
fastest of these is what ours is held to.

    python benchmarks/evaluation_harness.py
    python benchmarks/evaluation_harness.py --files ko-culture-cloze_ko bo-culture-cloze_bo
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import lm_eval
import numpy as np
import torch
from benchmark_tables import BenchmarkTable, bar
from evaluation_models import DATA, SMALL, write_model
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from ccx_ray.evaluation.external.lm_eval_tasks import export_tasks
from ccx_ray.evaluation.models import CausalModel, load_causal_model
from ccx_ray.evaluation.probes import Probe, load_probe
from ccx_ray.evaluation.ranking import ScoredItem
from ccx_ray.evaluation.scoring import score_probe
from ccx_ray.study.spec import ScoreType

LEAST = 2.0
PROBES = {path.stem: path for path in sorted((DATA / "probes").glob("*-cloze_*.json"))}
METRICS: dict[str, ScoreType] = {"acc": "sum", "acc_bytes": "per_byte"}


class TimedModel(HFLM):  # type: ignore[misc]
    """The harness's model, and how long its requests took."""

    seconds = 0.0

    def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
        """Answer requests, on the clock."""
        began = time.perf_counter()
        answers = super().loglikelihood(requests, disable_tqdm=True)
        self.seconds += time.perf_counter() - began
        return answers


def main() -> int:
    """Run both and print the table; 1 where the bar is missed or the two differ."""
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{platform.machine()}, torch {torch.__version__}, lm-eval {lm_eval.__version__}, "
        f"{arguments.threads} threads, fp32, our batches {arguments.tokens_per_batch} tokens"
    )
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        model = load_causal_model(write_model(Path(folder, "model"), SMALL), "cpu")
        table, good = compared(arguments, model, Path(folder))
    print(table.text())
    return 0 if good else 1


def compared(
    arguments: argparse.Namespace, model: CausalModel, folder: Path
) -> tuple[BenchmarkTable, bool]:
    """Choices, accuracies and seconds of both, file by file."""
    theirs = TimedModel(pretrained=model.network, tokenizer=model.tokenizer, device="cpu")
    probes = {name: load_probe(PROBES[name], name) for name in arguments.files}
    export_tasks([(PROBES[name], probe) for name, probe in probes.items()], folder)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    kinds = tuple(METRICS.values())
    rows, ours, harness = [], [], []
    others, same = 0, True
    for name, probe in probes.items():
        began = time.perf_counter()
        scored = score_probe(model, probe, tokens_per_batch=arguments.tokens_per_batch, kinds=kinds)
        ours.append(time.perf_counter() - began)
        seconds = []
        for size in arguments.batch_sizes:
            theirs.batch_size_per_gpu, theirs.seconds = size, 0.0
            found = lm_eval.simple_evaluate(
                model=theirs,
                tasks=[name],
                task_manager=manager,
                bootstrap_iters=0,
                log_samples=True,
            )
            seconds.append(theirs.seconds)
            others += other_choices(probe, scored, found["samples"][name])
            accuracies = []
            for metric, kind in METRICS.items():
                correct = sum(one.ranked(kind).correct for one in scored)
                accuracies += [
                    f"{found['results'][name][f'{metric},none']:.4f}",
                    f"{correct / len(scored):.4f}",
                ]
            same &= accuracies[::2] == accuracies[1::2]
        harness.append(seconds)
        rows.append(_row(name, len(scored), seconds, ours[-1], *accuracies))
    sums = [sum(column) for column in zip(*harness, strict=True)]
    rows.append(_row("all", sum(len(one.items) for one in probes.values()), sums, sum(ours)))
    ratio = min(sums) / sum(ours)
    return BenchmarkTable(
        part="harness",
        title=f"{model.network.num_parameters():,} parameters, seconds",
        columns=(
            "probe", "questions", *(f"harness, {size}" for size in arguments.batch_sizes),
            "ours", "ratio to its fastest", "acc", "sum", "acc_bytes", "per_byte",
        ),
        rows=rows,
        verdicts=[
            f"accuracies of every file are {'equal' if same else 'NOT equal'}",
            f"{others} choices differ",
            bar("harness at its fastest / ours", ratio, LEAST),
        ],
    ), same and ratio >= LEAST  # fmt: skip


def other_choices(
    probe: Probe, scored: Sequence[ScoredItem], samples: Sequence[dict[str, Any]]
) -> int:
    """Questions that the harness answers otherwise under one of the two metrics."""
    wrong = 0
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    for item, one, sample in zip(probe.items, scored, ordered, strict=True):
        nats = np.array([answer[0] for answer in sample["filtered_resps"]])
        sizes = np.array([len(item.fill(option).encode()) for option in item.options])
        choices = {"sum": int(np.argmax(nats)), "per_byte": int(np.argmax(nats / sizes))}
        wrong += any(choices[kind] != one.ranked(kind).choice for kind in METRICS.values())
    return wrong


def _row(
    name: str, questions: int, harness: Sequence[float], ours: float, *accuracies: str
) -> tuple[str, ...]:
    seconds = [f"{one:.2f}" for one in (*harness, ours)]
    empty = [""] * (4 - len(accuracies))
    return (name, f"{questions:,}", *seconds, f"{min(harness) / ours:.1f}", *accuracies, *empty)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", nargs="+", choices=sorted(PROBES), default=sorted(PROBES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens-per-batch", type=int, default=2048)
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[1, 16, 64], help="of the harness"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
