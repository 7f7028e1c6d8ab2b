"""How fast training is: against bare PyTorch, and on a GPU.

Every part prints one table; ours and what it is compared with are measured in one run, in turn:

    python benchmarks/training.py loop
    python benchmarks/training.py gpu --out gpu.json
    python benchmarks/training.py gpu --device cpu --preset micro

``gpu`` needs torch, transformers and numpy alone, so it also runs where nothing else is installed;
run it from the repository's folder.
"""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a bare machine has no installation

from benchmark_tables import BenchmarkTable

PARTS = ("loop", "gpu")
PACKAGES = ("torch", "transformers", "deepspeed", "ray", "liger-kernel", "flash-attn", "numpy")


def main() -> int:
    """Run the parts, print their tables and write them."""
    arguments = _parser().parse_args()
    print(_machine())
    tables = []
    for name in arguments.parts:
        with tempfile.TemporaryDirectory(prefix=f"training-{name}-") as folder:
            table = _part(name)(arguments, Path(folder))
        print(f"\n{table.text()}", flush=True)
        tables.append(table)
        if arguments.out:
            content = {
                "machine": _machine(),
                "command": " ".join(sys.argv),
                "parts": [asdict(table) for table in tables],
            }
            arguments.out.write_text(json.dumps(content, indent=1), "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5, help="how often in turn (default 5)")
    parser.add_argument("--steps", type=int, default=8, help="measured steps a time (default 8)")
    parser.add_argument("--sequences", type=int, default=8, help="rows of a step (default 8)")
    parser.add_argument("--threads", type=int, default=2, help="of torch, on the CPU (default 2)")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="all figures as JSON")
    gpu = parser.add_argument_group("gpu")
    gpu.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    gpu.add_argument("--preset", choices=("qwen2.5-0.5b", "micro"), default="qwen2.5-0.5b")
    gpu.add_argument("--gpu-sequences", type=int, default=8, help="rows of a pass (default 8)")
    gpu.add_argument("--only", nargs="+", metavar="ROW", help="rows whose names begin so")
    return parser


def _part(name: str) -> Callable[[argparse.Namespace, Path], BenchmarkTable]:
    """The part's function; imported here, because most need what a bare machine lacks."""
    if name == "loop":
        from training_loop import loop_table as table
    else:
        from training_gpu import gpu_table as table
    return table


def _machine() -> str:
    import os

    import torch

    known = []
    for package in PACKAGES:
        try:
            known.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{os.cpu_count()} cores, {device}; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, {', '.join(known)}."
    )


if __name__ == "__main__":
    sys.exit(main())
