"""How fast the corpus stage is: against datatrove, against its bare parts, by size, and read back.

All in one run on one machine:

    python benchmarks/corpus.py
    python benchmarks/corpus.py --only ours bare --megabytes 250
    python benchmarks/corpus.py --page docs/benchmarks/2026-01-31-corpus.md

Every measurement is a fresh process, one after the other; the text is made before and is not part
of any time. What each program does beyond the others is said in their docstrings and on the page.
"""

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from corpus_bare import BareResult, BareTask
from corpus_datatrove import MISSING, DatatroveResult, DatatroveTask, write_slice
from corpus_memory import Usage, run_measured
from corpus_ours import NEAR_DUPLICATES, OursResult, OursTask, train_benchmark_tokenizer
from corpus_page import PARTS, render_page
from corpus_profile import ProfileResult
from corpus_reading import POSITIONS, READERS, ReadingResult, ReadingTask, make_long_stream
from corpus_tables import (
    EndToEnd,
    Figures,
    bare_figures,
    end_to_end_figures,
    of_datatrove,
    of_ours,
    profile_figures,
    reading_figures,
    scaling_figures,
    stage_figures,
)
from corpus_text import BenchmarkText, make_text
from rich.console import Console

HERE = Path(__file__).parent
LEAST_FREE_SHARE = 8
"""Times the largest size that must be free on the disk: text, blocks, parts, tokens, rows."""
SINGLE_MEGABYTES = 250
"""What runs in one process is given no more."""
FIRST_DATATROVE_MEGABYTES = 2
VOCABULARY_SIZE = 16_384


@dataclass
class Benchmark:
    """The run: what is measured, and what came out so far."""

    arguments: argparse.Namespace
    work: Path
    text: BenchmarkText
    tokenizer: Path
    console: Console
    figures: list[Figures] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    ends: dict[bool, list[EndToEnd]] = field(default_factory=lambda: {True: [], False: []})
    results: dict[str, OursResult] = field(default_factory=dict)

    def measure(self) -> None:
        """Every part that is asked for, in order."""
        for part in PARTS:
            if part in self.arguments.only:
                getattr(self, f"_{part}")()
        for near in (True, False):
            if self.ends[near]:
                self.figures.insert(int(not near), end_to_end_figures(near, self.ends[near]))

    def _run(self, what: str, program: str, argument: Any) -> tuple[dict[str, Any], Usage]:
        begin = time.perf_counter()
        with self.console.status(what):
            content, usage = run_measured(HERE / f"corpus_{program}.py", argument)
        self.console.print(f"{what}: {time.perf_counter() - begin:.0f} s", highlight=False)
        self.raw.setdefault(program, []).append(
            {"what": what, "result": content, "usage": asdict(usage)}
        )
        return content, usage

    def _run_ours(
        self, megabytes: int, *, near: bool, processors: int, keep: bool = False
    ) -> tuple[OursResult, Usage]:
        folder = self.work / "ours"
        shutil.rmtree(folder, ignore_errors=True)
        where = f"Ray on {processors} cores" if processors else "one process"
        task = OursTask(
            files=tuple(self.text.of_size(megabytes)),
            tokenizer=str(self.tokenizer),
            folder=str(folder),
            near_duplicates=NEAR_DUPLICATES if near else None,
            processors=processors,
        )
        what = f"ours, {megabytes} MB, {where}, near-duplicates {'on' if near else 'off'}"
        content, usage = self._run(what, "ours", task)
        if not keep:
            shutil.rmtree(folder)
        return OursResult(**content), usage

    def _single_megabytes(self) -> int:
        unit = self.text.unit_megabytes
        wanted: int = min(self.arguments.megabytes, SINGLE_MEGABYTES)
        return max(unit, wanted // unit * unit)

    def _ours(self) -> None:
        cores, megabytes = self.arguments.processors, self.arguments.megabytes
        single = self._single_megabytes()
        for near in (True, False):
            result, usage = self._run_ours(megabytes, near=near, processors=cores)
            self.ends[near].append(of_ours("ours on Ray", cores, result, usage))
            self.results.setdefault("ray", result)
            result, usage = self._run_ours(single, near=near, processors=0)
            self.ends[near].append(of_ours("ours in one process", 1, result, usage))
            self.results.setdefault("single", result)
        self.figures.append(stage_figures(self.results["single"]))

    def _datatrove(self) -> None:
        if find_spec("datatrove") is None:
            self.console.print(MISSING)
            return
        for near in (True, False):
            for tasks in dict.fromkeys((self.arguments.processors, 1)):
                runs = [
                    self._run_datatrove(megabytes, near=near, tasks=tasks)
                    for megabytes in (FIRST_DATATROVE_MEGABYTES, self.arguments.slice_megabytes)
                ]
                name = "datatrove, one task a core" if tasks > 1 else "datatrove, one task"
                self.ends[near].append(of_datatrove(name, tasks, *runs))

    def _run_datatrove(
        self, megabytes: int, *, near: bool, tasks: int
    ) -> tuple[DatatroveResult, Usage]:
        folder = self.work / "datatrove"
        shutil.rmtree(folder, ignore_errors=True)
        files = list(self.text.files)
        task = DatatroveTask(
            slice=str(write_slice(files, folder / "slice", megabytes=megabytes, tasks=tasks)),
            tokenizer=str(self.tokenizer),
            folder=str(folder / "work"),
            near_duplicates=near,
            tasks=tasks,
        )
        what = (
            f"datatrove, {megabytes} MB, {tasks} tasks, near-duplicates {'on' if near else 'off'}"
        )
        content, usage = self._run(what, "datatrove", task)
        shutil.rmtree(folder)
        return DatatroveResult(**content), usage

    def _bare(self) -> None:
        files = tuple(self.text.of_size(self.arguments.megabytes))
        what = f"bare parts, {self.arguments.megabytes} MB"
        content, _ = self._run(what, "bare", BareTask(files=files, tokenizer=str(self.tokenizer)))
        ours = {
            f"{run.name}, near-duplicates {'on' if near else 'off'}": run
            for near, runs in self.ends.items()
            for run in runs
            if run.name.startswith("ours")
        }
        self.figures.append(bare_figures(BareResult(**content), ours))

    def _profile(self) -> None:
        folder, megabytes = self.work / "profile", self._single_megabytes()
        task = OursTask(
            files=tuple(self.text.of_size(megabytes)),
            tokenizer=str(self.tokenizer),
            folder=str(folder),
            near_duplicates=NEAR_DUPLICATES,
            processors=0,
        )
        content, _ = self._run(f"profile, {megabytes} MB", "profile", task)
        shutil.rmtree(folder)
        self.figures.append(profile_figures(ProfileResult(**content)))

    def _scaling(self) -> None:
        cores = self.arguments.processors
        runs = [
            self._run_ours(size, near=True, processors=cores)
            for size in sorted(self.arguments.sizes)
        ]
        self.figures.append(scaling_figures(runs, cores))

    def _reading(self) -> None:
        self._run_ours(
            self.arguments.megabytes, near=False, processors=self.arguments.processors, keep=True
        )
        folder = self.work / "long"
        shutil.rmtree(folder, ignore_errors=True)
        tokens = sorted((self.work / "ours").glob("*/tokens"))
        with self.console.status("a long stream"):
            make_long_stream(tokens, self.tokenizer, folder)
        shutil.rmtree(self.work / "ours")
        results = []
        for reader in READERS:
            for position in POSITIONS:
                task = ReadingTask(
                    stream=str(folder / "stream"),
                    reader=reader,
                    position=position,
                    processors=self.arguments.processors,
                )
                content, _ = self._run(f"reading, {reader}, {position:.0%}", "reading", task)
                results.append(ReadingResult(**content))
        shutil.rmtree(folder)
        self.figures.append(reading_figures(results))


def main() -> None:
    """Make the text, measure, print, write what is asked for, and clean up."""
    arguments = parse_arguments()
    console = Console()
    largest = max([arguments.megabytes, *(arguments.sizes if "scaling" in arguments.only else [])])
    if arguments.work is not None:
        arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="corpus-benchmark-", dir=arguments.work) as temporary:
        work = Path(temporary)
        if shutil.disk_usage(work).free < LEAST_FREE_SHARE * largest * 1e6:
            sys.exit(f"--work: {work} has less than {LEAST_FREE_SHARE * largest / 1e3:.0f} GB free")
        kept = arguments.work or work
        with console.status(f"making {largest} MB of text and a tokenizer"):
            text = make_text(
                kept / "text",
                megabytes=largest,
                unit_megabytes=math.gcd(arguments.megabytes, *arguments.sizes),
                seed=arguments.seed,
                processors=arguments.processors,
            )
            tokenizer = train_benchmark_tokenizer(kept / "tokenizer", HERE.parent, VOCABULARY_SIZE)
        benchmark = Benchmark(arguments, work, text, tokenizer, console)
        benchmark.measure()
    for figures in benchmark.figures:
        console.print()
        console.print(figures.rich())
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(benchmark.raw, indent=1) + "\n", "utf-8")
    if arguments.page is not None:
        arguments.page.parent.mkdir(parents=True, exist_ok=True)
        arguments.page.write_text(
            render_page(benchmark.figures, benchmark.results, text, arguments), "utf-8"
        )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="of text for every part")
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 500, 1000, 2000])
    parser.add_argument("--slice-megabytes", type=int, default=48, help="that datatrove is given")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--processors", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keeps the text for the next run; else all goes")
    parser.add_argument("--json", type=Path, help="everything measured, as it was")
    parser.add_argument("--page", type=Path, help="the whole page, as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    main()
