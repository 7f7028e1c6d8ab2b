"""How fast the corpus stage is: against datatrove, and by size with the memory that it takes.

All in one run on one machine:

    python benchmarks/corpus.py
    python benchmarks/corpus.py --only ours datatrove --megabytes 250

Every measurement is a fresh process, one after the other; the text is made before and is not part
of any time. On a shared machine believe "MB/processor s" rather than the clock.

datatrove gets a slice of the same text (its time is that of the slice less that of a small one, so
that starting costs nothing). It keeps neither rejected text nor the origin of tokens; ours does,
and hashes texts, ids and rows.
"""

import argparse
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark_tables import BenchmarkTable, bar
from corpus_datatrove import DatatroveResult, DatatroveTask, write_slice
from corpus_memory import Usage, run_measured
from corpus_ours import NEAR_DUPLICATES, OursResult, OursTask, train_benchmark_tokenizer
from corpus_text import BenchmarkText, make_text

HERE = Path(__file__).parent
PARTS = ("ours", "datatrove", "scaling")
SINGLE_MEGABYTES = 250
"""What runs in one process is given no more."""
FIRST_DATATROVE_MEGABYTES = 2
VOCABULARY_SIZE = 16_384
LEAST_TIMES_FASTER = 10
MOST_BYTES = 4 * 2**30
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """One way to do the whole work, measured."""

    name: str
    cores: int
    megabytes: float
    seconds: float
    processor_seconds: float

    @property
    def speed(self) -> float:
        """MB per second and core."""
        return self.megabytes / self.seconds / self.cores

    @property
    def processor_speed(self) -> float:
        """MB per processor second, which other programs on the machine change less."""
        return self.megabytes / self.processor_seconds


@dataclass
class Benchmark:
    """The run: what is measured, and what came out so far."""

    arguments: argparse.Namespace
    work: Path
    text: BenchmarkText
    tokenizer: Path

    def tables(self) -> list[BenchmarkTable]:
        """Every part that is asked for."""
        tables = []
        for near in (True, False):
            runs = self._ours(near) if "ours" in self.arguments.only else []
            if "datatrove" in self.arguments.only:
                runs += self._datatrove(near)
            if runs:
                tables.append(end_to_end_table(near, runs))
        if "scaling" in self.arguments.only:
            cores, sizes = self.arguments.processors, sorted(self.arguments.sizes)
            runs_by_size = [self._run_ours(size, near=True, processors=cores) for size in sizes]
            tables.append(scaling_table(runs_by_size, cores))
        return tables

    def _run(self, what: str, program: str, argument: Any) -> tuple[dict[str, Any], Usage]:
        content, usage = run_measured(HERE / f"corpus_{program}.py", argument)
        print(f"{what}: {content['seconds']:.0f} s", flush=True)
        return content, usage

    def _run_ours(self, megabytes: int, *, near: bool, processors: int) -> tuple[OursResult, Usage]:
        folder = self.work / "ours"
        task = OursTask(
            files=tuple(self.text.of_size(megabytes)),
            tokenizer=str(self.tokenizer),
            folder=str(folder),
            near_duplicates=NEAR_DUPLICATES if near else None,
            processors=processors,
        )
        where = f"Ray on {processors} cores" if processors else "one process"
        what = f"ours, {megabytes} MB, {where}, near-duplicates {'on' if near else 'off'}"
        content, usage = self._run(what, "ours", task)
        shutil.rmtree(folder)
        return OursResult(**content), usage

    def _ours(self, near: bool) -> list[EndToEnd]:
        unit = self.text.unit_megabytes
        single = max(unit, min(self.arguments.megabytes, SINGLE_MEGABYTES) // unit * unit)
        runs = []
        for name, megabytes, cores in (
            ("ours on Ray", self.arguments.megabytes, self.arguments.processors),
            ("ours in one process", single, 0),
        ):
            result, usage = self._run_ours(megabytes, near=near, processors=cores)
            # The cluster's start counts neither as time nor, by share, as processor time.
            share = result.seconds / (result.seconds + result.start_seconds)
            runs.append(
                EndToEnd(
                    name=name,
                    cores=max(1, cores),
                    megabytes=result.megabytes,
                    seconds=result.seconds,
                    processor_seconds=usage.processor_seconds * share,
                )
            )
        return runs

    def _datatrove(self, near: bool) -> list[EndToEnd]:
        if find_spec("datatrove") is None:
            print("datatrove is left out: pip install 'ccx_ray[benchmarks]'")
            return []
        runs = []
        for tasks in dict.fromkeys((self.arguments.processors, 1)):
            small, large = (
                self._run_datatrove(megabytes, near=near, tasks=tasks)
                for megabytes in (FIRST_DATATROVE_MEGABYTES, self.arguments.slice_megabytes)
            )
            runs.append(
                EndToEnd(
                    name="datatrove, one task a core" if tasks > 1 else "datatrove, one task",
                    cores=tasks,
                    megabytes=(large[0].text_bytes - small[0].text_bytes) / 1e6,
                    seconds=large[0].seconds - small[0].seconds,
                    processor_seconds=large[1].processor_seconds - small[1].processor_seconds,
                )
            )
        return runs

    def _run_datatrove(
        self, megabytes: int, *, near: bool, tasks: int
    ) -> tuple[DatatroveResult, Usage]:
        folder = self.work / "datatrove"
        files = list(self.text.files)
        task = DatatroveTask(
            slice=str(write_slice(files, folder / "slice", megabytes=megabytes, tasks=tasks)),
            tokenizer=str(self.tokenizer),
            folder=str(folder / "work"),
            near_duplicates=near,
            tasks=tasks,
        )
        how = f"{tasks} tasks, near-duplicates {'on' if near else 'off'}"
        content, usage = self._run(f"datatrove, {megabytes} MB, {how}", "datatrove", task)
        shutil.rmtree(folder)
        return DatatroveResult(**content), usage


def end_to_end_table(near: bool, runs: Sequence[EndToEnd]) -> BenchmarkTable:
    """Ours and the alternative with as many cores."""
    theirs = {run.cores: run for run in runs if run.name.startswith("datatrove")}
    rows, verdicts = [], []
    for run in runs:
        cells = [f"{run.megabytes:,.0f}", f"{run.seconds:.1f}", f"{run.speed:.2f}"]
        by_processor, times = f"{run.processor_speed:.2f}", ["", ""]
        if other := theirs.get(run.cores):
            ratio = run.speed / other.speed
            times = [f"{ratio:.1f}", f"{run.processor_speed / other.processor_speed:.1f}"]
            if run is not other:
                verdicts.append(bar(f"{run.name} / datatrove", ratio, LEAST_TIMES_FASTER))
        rows.append((run.name, str(run.cores), *cells, times[0], by_processor, times[1]))
    return BenchmarkTable(
        part="end to end",
        title=f"Raw files to packed stream, near-duplicate detection {'on' if near else 'off'}",
        columns=("", "cores", "MB", "s", "MB/s/core", "times", "MB/processor s", "times"),
        rows=rows,
        verdicts=verdicts,
    )


def scaling_table(runs: Sequence[tuple[OursResult, Usage]], cores: int) -> BenchmarkTable:
    """Time and memory by size."""
    rows = [
        (
            f"{result.megabytes:,.0f}",
            f"{result.seconds:.1f}",
            f"{result.megabytes / result.seconds / cores:.2f}",
            f"{usage.peak_bytes / GIB:.2f}",
            f"{usage.peak_private_bytes / GIB:.2f}",
            f"{usage.peak_shared_bytes / GIB:.2f}",
            str(usage.processes),
        )
        for result, usage in runs
    ]
    most = max(usage.peak_bytes for _, usage in runs)
    verdicts = [f"peak memory {most / GIB:.2f} GiB (bar {MOST_BYTES / GIB:.0f})"]
    return BenchmarkTable(
        part="scaling",
        title=f"Size, {cores} cores, near-duplicate detection on",
        columns=(
            "MB", "s", "MB/s/core", "peak GiB", "without mapped files", "object store", "processes",
        ),
        rows=rows,
        verdicts=verdicts,
    )  # fmt: skip


def main() -> None:
    """Make the text, measure, print, write what is asked for, and clean up."""
    arguments = parse_arguments()
    largest = max([arguments.megabytes, *(arguments.sizes if "scaling" in arguments.only else [])])
    if arguments.work is not None:
        arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="corpus-benchmark-", dir=arguments.work) as temporary:
        work = Path(temporary)
        text = make_text(
            work / "text",
            megabytes=largest,
            unit_megabytes=math.gcd(arguments.megabytes, *arguments.sizes),
            seed=arguments.seed,
            processors=arguments.processors,
        )
        tokenizer = train_benchmark_tokenizer(work / "tokenizer", HERE.parent, VOCABULARY_SIZE)
        benchmark = Benchmark(arguments, work, text, tokenizer)
        for table in benchmark.tables():
            print(f"\n{table.markdown() if arguments.markdown else table.text()}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="of text for every part")
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 500, 1000, 2000])
    parser.add_argument("--slice-megabytes", type=int, default=48, help="that datatrove is given")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--processors", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="a folder with room; what is written there goes")
    parser.add_argument("--markdown", action="store_true", help="tables for a page")
    return parser.parse_args()


if __name__ == "__main__":
    main()
