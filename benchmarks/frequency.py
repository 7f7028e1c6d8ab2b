"""Retrieval by size: building an index, asking it, and what an exact search would have found.

    python benchmarks/frequency.py                       # 10,000 and 100,000 documents
    python benchmarks/frequency.py --sizes 1000000 --only sizes --work FOLDER

Every measurement is a process of its own, builds run on two. ``--work`` keeps texts and indexes.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark_tables import BenchmarkTable
from corpus_memory import Usage, run_measured
from frequency_alternatives import Alternative
from frequency_build import Build
from frequency_exhaustive import Exhaustive
from frequency_planted import plant, planted_recall
from frequency_queries import RETRIEVERS, Queries
from frequency_sizes import extrapolated
from frequency_text import write_text

HERE = Path(__file__).resolve().parent
GIB, MIB = 2**30, 2**20
PROCESSES = 2


@dataclass(kw_only=True)
class Indexes:
    """Texts and indexes of one run, each made once."""

    work: Path
    builds: dict[str, tuple[dict[str, Any], Usage]] = field(default_factory=dict)

    def text(self, documents: int) -> Path:
        """The recombined text of so many documents."""
        folder = self.work / f"text-{documents}"
        if not folder.exists():
            write_text(folder, documents)
        return folder

    def build(self, documents: int, index: str, text: Path | None = None) -> Path:
        """An index over it; its figures go to ``builds`` under the folder's name."""
        name = f"index-{(text or self.text(documents)).name}-{index}"
        folder = self.work / name
        if name not in self.builds:
            build = Build(
                text=str(text or self.text(documents)), folder=str(folder), index=index,
                processes=PROCESSES,
            )  # fmt: skip
            self.builds[name] = run_measured(HERE / "frequency_build.py", build)
        return folder


def main() -> None:
    """Run the parts and print their tables as Markdown."""
    arguments = _parser().parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory(prefix="frequency-") as folder:
        indexes = Indexes(work=arguments.work or Path(folder))
        for name in arguments.only:
            for table in PARTS[name](indexes, arguments.sizes):
                print(table.markdown(), flush=True)


def sizes(indexes: Indexes, documents: list[int]) -> Iterator[BenchmarkTable]:
    """Building and asking by size, and what the next sizes would take."""
    rows, asked, growth = [], [], []
    for size in documents:
        folder = indexes.build(size, "auto")
        counts, usage = indexes.builds[folder.name]
        rows.append(_build_row(f"{size:,}", counts, usage))
        figures, _ = run_measured(HERE / "frequency_queries.py", Queries(folder=str(folder)))
        asked.extend(_query_rows(f"{size:,}", figures))
        growth.append((counts, usage, figures))
    yield BenchmarkTable(part="sizes", title="Building", columns=BUILD_COLUMNS, rows=rows)
    yield BenchmarkTable(part="sizes", title="Asking", columns=QUERY_COLUMNS, rows=asked)
    yield extrapolated(growth, PROCESSES)


def types(indexes: Indexes, documents: list[int]) -> Iterator[BenchmarkTable]:
    """Every index type over the largest size up to 100,000."""
    size = max(size for size in documents if size <= 100_000)
    rows, asked = [], []
    for index in ("flat", "hnsw", "ivfpq"):
        folder = indexes.build(size, index)
        rows.append(_build_row(index, *indexes.builds[folder.name]))
        figures, _ = run_measured(HERE / "frequency_queries.py", Queries(folder=str(folder)))
        asked.extend(_query_rows(index, figures))
    title = f"Index types, {size:,} documents"
    yield BenchmarkTable(part="types", title=title, columns=BUILD_COLUMNS, rows=rows)
    yield BenchmarkTable(part="types", title=title, columns=QUERY_COLUMNS, rows=asked)


def found(indexes: Indexes, documents: list[int]) -> Iterator[BenchmarkTable]:
    """Planted statements, and the documents whose n-grams are most alike of all."""
    size = max(size for size in documents if size <= 100_000)
    text = indexes.work / f"planted-{size}"
    holders = plant(indexes.text(size), text)
    shares = planted_recall(indexes.build(size, "auto", text), holders)
    exhaustive = Exhaustive(text=str(indexes.text(size)), folder=str(indexes.build(size, "auto")))
    alike, _ = run_measured(HERE / "frequency_exhaustive.py", exhaustive)
    rows = [[name, f"{shares[name]:.3f}", f"{alike[name]:.3f}"] for name in RETRIEVERS]
    yield BenchmarkTable(
        part="found",
        title=f"What is found among 50 of {size:,} documents",
        columns=["retriever", "of planted statements", "of the 50 most alike by n-grams"],
        rows=rows,
    )


def alternatives(indexes: Indexes, documents: list[int]) -> Iterator[BenchmarkTable]:
    """scikit-learn and bm25s over the same documents."""
    size = max(size for size in documents if size <= 100_000)
    rows = []
    for name in ("scikit-learn", "bm25s"):
        alternative = Alternative(name=name, text=str(indexes.text(size)))
        result, usage = run_measured(HERE / "frequency_alternatives.py", alternative)
        cells = [f"{result['build_seconds']:.0f}", f"{usage.peak_bytes / GIB:.2f}"]
        rows.append([name, *cells, f"{result['milliseconds']:.1f}"])
    folder = indexes.build(size, "auto")
    counts, usage = indexes.builds[folder.name]
    figures, _ = run_measured(HERE / "frequency_queries.py", Queries(folder=str(folder)))
    for retriever in RETRIEVERS:
        cells = [f"{PROCESSES * counts['seconds']:.0f}", f"{usage.peak_bytes / GIB:.2f}"]
        rows.append([f"ours, {retriever}", *cells, f"{figures[retriever]['milliseconds']:.1f}"])
    yield BenchmarkTable(
        part="alternatives",
        title=f"Against libraries, {size:,} documents",
        columns=["", "build, seconds of a core", "peak GiB", "ms a query"],
        rows=rows,
    )


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


PARTS: dict[str, Callable[[Indexes, list[int]], Iterator[BenchmarkTable]]] = {
    "sizes": sizes,
    "types": types,
    "found": found,
    "alternatives": alternatives,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--work", type=Path, help="a folder that keeps texts and indexes")
    return parser


if __name__ == "__main__":
    main()
