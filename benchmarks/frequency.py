"""Retrieval by size: building an index, asking it, and what an exact search would have found.

    python benchmarks/frequency.py                       # 10,000 and 100,000 documents
    python benchmarks/frequency.py --sizes 1000000 --work FOLDER

Every measurement is a process of its own, builds run on two.
``--work`` keeps the texts.
"""

import argparse
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from benchmark_tables import BenchmarkTable
from corpus_memory import Usage, run_measured
from frequency_build import Build
from frequency_queries import RETRIEVERS, Queries
from frequency_text import write_text

HERE = Path(__file__).resolve().parent
GIB, MIB = 2**30, 2**20
PROCESSES = 2


def main() -> None:
    """Measure every size and print the tables as Markdown."""
    arguments = _parser().parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    built, asked = [], []
    with tempfile.TemporaryDirectory(prefix="frequency-") as temporary:
        work = arguments.work or Path(temporary)
        for size in sorted(arguments.sizes):
            text, folder = work / f"text-{size}", Path(temporary) / f"index-{size}"
            if not text.exists():
                write_text(text, size)
            build = Build(text=str(text), folder=str(folder), processes=PROCESSES)
            counts, usage = run_measured(HERE / "frequency_build.py", build)
            figures, _ = run_measured(HERE / "frequency_queries.py", Queries(folder=str(folder)))
            built.append(_build_row(f"{size:,}", counts, usage))
            asked.extend(_query_rows(f"{size:,}", figures))
    for title, columns, rows in (
        ("Building", BUILD_COLUMNS, built),
        ("Asking", QUERY_COLUMNS, asked),
    ):
        print(BenchmarkTable(part=title, title=title, columns=columns, rows=rows).markdown())


BUILD_COLUMNS = [
    "documents", "passages", "build s", "processor s", "documents/s of a processor",
    "peak MiB", "index MiB", "index bytes a document",
]  # fmt: skip
QUERY_COLUMNS = ["documents", "retriever", "ms", "ms, 95 %", "queries/s in a batch", "recall at 50"]


def _build_row(name: str, counts: dict[str, Any], usage: Usage) -> list[str]:
    return [
        name,
        f"{counts['passages']:,}",
        f"{counts['seconds']:.0f}",
        f"{usage.processor_seconds:.0f}",
        f"{counts['documents'] / usage.processor_seconds:,.0f}",
        f"{usage.peak_bytes / MIB:,.0f}",
        f"{counts['bytes'] / MIB:,.0f}",
        f"{counts['bytes'] / counts['documents']:,.0f}",
    ]


def _query_rows(name: str, figures: dict[str, Any]) -> list[list[str]]:
    return [
        [
            name,
            retriever,
            f"{own['milliseconds']:.1f}",
            f"{own['milliseconds_95']:.1f}",
            f"{own['batch_per_second']:.0f}",
            f"{own['recall']:.3f}" if "recall" in own else "exact",
        ]
        for retriever in RETRIEVERS
        for own in [figures[retriever]]
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--work", type=Path, help="a folder that keeps the texts")
    return parser


if __name__ == "__main__":
    main()
