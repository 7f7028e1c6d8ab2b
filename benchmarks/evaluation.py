"""How fast the published score is computed: against one forward pass an option.

``small`` asks all eight probe files of a model of a million parameters, ``large`` a sample of their
questions of the architecture of Qwen2.5-0.5B; weights are random, and ours and the plain scorer
(tests/plain_scorer.py) have the same model and threads, file by file in turn. ``gpu`` times all
11,760 sentences on a device:

    python benchmarks/evaluation.py small large
    python benchmarks/evaluation.py gpu --device cuda
"""

import argparse
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a bare machine has no installation

import torch
from benchmark_tables import BenchmarkTable, bar
from evaluation_models import DATA, LARGE, SMALL, write_model

from ccx_ray.evaluation.models import load_causal_model
from ccx_ray.evaluation.probes import load_probe
from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.evaluation.scoring import encode_probe, score_encoded
from ccx_ray.study.spec import ScoreType
from tests.plain_scorer import plain_answers, read_items

PARTS = ("small", "large", "gpu")
LEAST = {"small": 10.0, "large": 4.0}
MOST_SECONDS = 20.0
PROBES = sorted((DATA / "probes").glob("*-cloze_*.json"))
REFERENCE: tuple[ScoreType, ...] = ("reference",)


def main() -> int:
    """Run the parts and print their tables."""
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{platform.machine()}, torch {torch.__version__}, {arguments.threads} threads, fp32, "
        f"{torch.cuda.get_device_name() if arguments.device != 'cpu' else 'no accelerator'}"
    )
    for part in arguments.parts:
        with tempfile.TemporaryDirectory(prefix="evaluation-") as folder:
            if part == "gpu":
                print(device_table(arguments, Path(folder)).text(), flush=True)
            else:
                model = write_model(Path(folder), SMALL if part == "small" else LARGE)
                print(compared(arguments, part, model).text(), flush=True)
    return 0


def compared(arguments: argparse.Namespace, part: str, folder: Path) -> BenchmarkTable:
    """Ours against one pass an option, file by file; choices and scores compared."""
    model = load_causal_model(folder, arguments.device)
    rows, differences, figures = [], [], {"plain": 0.0, "ours": 0.0, "all scores": 0.0}
    questions = unequal = 0
    for path in PROBES:
        items = read_items(path)
        chosen = range(
            0, len(items), max(1, len(items) // arguments.sample) if part == "large" else 1
        )
        began = time.perf_counter()
        plain = list(plain_answers([items[i] for i in chosen], model.network, model.tokenizer))
        seconds = {"plain": time.perf_counter() - began}
        whole = load_probe(path, path.stem)
        probe = replace(whole, items=tuple(whole.items[i] for i in chosen), indexes=tuple(chosen))
        for name, kinds in (("all scores", SCORE_TYPES), ("ours", REFERENCE)):
            began = time.perf_counter()
            encoded = encode_probe(model, probe, alone="mutual_information" in kinds)
            ours = score_encoded(
                model, encoded, tokens_per_batch=arguments.tokens_per_batch, kinds=kinds
            )
            seconds[name] = time.perf_counter() - began
        for name, value in seconds.items():
            figures[name] += value
        ranked = [item.ranked() for item in ours]
        wrong = sum(a.choice != b.choice for a, b in zip(ranked, plain, strict=True))
        largest = max(
            abs(x - y)
            for a, b in zip(ranked, plain, strict=True)
            for x, y in zip(a.scores, b.losses, strict=True)
        )
        questions, unequal = questions + len(plain), unequal + wrong
        differences.append(largest)
        rows.append(_row(path.stem, len(plain), seconds, wrong, largest))
    rows.append(_row("all", questions, figures, unequal, max(differences)))
    verdicts = [
        f"choices of {unequal} of {questions} questions differ",
        bar("plain / ours", figures["plain"] / figures["ours"], LEAST[part]),
    ]
    return BenchmarkTable(
        part=part,
        title=f"{part}: {model.network.num_parameters():,} parameters, seconds",
        columns=(
            "probe", "questions", "plain", "ours", "ratio", "all scores", "other choices",
            "largest difference",
        ),
        rows=rows,
        verdicts=verdicts,
    )  # fmt: skip


def _row(
    name: str, questions: int, seconds: dict[str, float], wrong: int, largest: float
) -> tuple[str, ...]:
    return (
        name,
        f"{questions:,}",
        f"{seconds['plain']:.2f}",
        f"{seconds['ours']:.2f}",
        f"{seconds['plain'] / seconds['ours']:.1f}",
        f"{seconds['all scores']:.2f}",
        str(wrong),
        f"{largest:.1e}",
    )


def device_table(arguments: argparse.Namespace, folder: Path) -> BenchmarkTable:
    """Loading, and all sentences of all files, on a device."""
    write_model(folder, SMALL if arguments.device == "cpu" else LARGE)
    began = time.perf_counter()
    model = load_causal_model(folder, arguments.device)
    loaded = time.perf_counter()
    sentences = 0
    for path in PROBES:
        probe = load_probe(path, path.stem)
        score_encoded(
            model, encode_probe(model, probe), tokens_per_batch=arguments.tokens_per_batch
        )
        sentences += probe.sentences
    ended = time.perf_counter()
    met = "reached" if ended - began < MOST_SECONDS else "missed"
    return BenchmarkTable(
        part="gpu",
        title=f"{model.network.num_parameters():,} parameters on {arguments.device}, seconds",
        columns=("sentences", "load", "score", "together"),
        rows=[
            (
                f"{sentences:,}",
                f"{loaded - began:.1f}",
                f"{ended - loaded:.1f}",
                f"{ended - began:.1f}",
            )
        ],
        verdicts=[f"at most {MOST_SECONDS:g} s together: {met}"],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument(
        "--sample", type=int, default=4, help="questions a file for large (default 4)"
    )
    parser.add_argument("--tokens-per-batch", type=int, default=2048, help="(default 2048)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
