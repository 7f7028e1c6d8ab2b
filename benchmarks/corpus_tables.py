"""What was measured as tables: one form for the terminal, for Markdown, and for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from corpus_bare import PARTS, BareResult
from corpus_datatrove import DatatroveResult
from corpus_memory import Usage
from corpus_ours import STAGES, OursResult
from corpus_profile import ProfileResult
from corpus_reading import ReadingResult

if TYPE_CHECKING:
    from rich.table import Table

LEAST_TIMES_FASTER, AIM_TIMES_FASTER = 10, 25
LEAST_SHARE_OF_BARE = 0.6
MOST_DEVIATION = 0.15
MOST_BYTES = 4 * 2**30
MOST_FIRST_BATCH_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One table and what it says."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    verdicts: list[str] = field(default_factory=list)

    def rich(self) -> "Table":
        """For the terminal."""
        from rich.table import Table

        table = Table(title=self.title, title_justify="left", caption_justify="left")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        table.caption = "\n".join(self.verdicts)
        return table

    def markdown(self) -> str:
        """For a page."""
        lines = [f"## {self.title}", "", f"| {' | '.join(self.columns)} |"]
        lines.append("|---|" + "---:|" * (len(self.columns) - 1))
        lines += [f"| {' | '.join(self._cell(cell) for cell in row)} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {verdict}" for verdict in self.verdicts), ""])

    def _cell(self, text: str) -> str:
        inner = text.lstrip(" ")
        return "&nbsp;" * (len(text) - len(inner)) + inner


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


def of_ours(name: str, cores: int, result: OursResult, usage: Usage) -> EndToEnd:
    """Our run; the cluster's start counts neither as time nor, by share, as processor time."""
    share = result.seconds / (result.seconds + result.start_seconds)
    return EndToEnd(
        name=name,
        cores=cores,
        megabytes=result.megabytes,
        seconds=result.seconds,
        processor_seconds=usage.processor_seconds * share,
    )


def of_datatrove(
    name: str,
    cores: int,
    small: tuple[DatatroveResult, Usage],
    large: tuple[DatatroveResult, Usage],
) -> EndToEnd:
    """What datatrove took for the text that a large slice has more than a small one, so that what
    it does once counts for nothing."""
    return EndToEnd(
        name=name,
        cores=cores,
        megabytes=(large[0].text_bytes - small[0].text_bytes) / 1e6,
        seconds=large[0].seconds - small[0].seconds,
        processor_seconds=large[1].processor_seconds - small[1].processor_seconds,
    )


def end_to_end_figures(near: bool, runs: Sequence[EndToEnd]) -> Figures:
    """Ours and the alternative; the first of ``runs`` with datatrove's name is the measure."""
    theirs = {run.cores: run for run in runs if run.name.startswith("datatrove")}
    rows, verdicts = [], []
    for run in runs:
        other = theirs.get(run.cores)
        times = run.speed / other.speed if other else 0.0
        by_processor = run.processor_speed / other.processor_speed if other else 0.0
        rows.append(
            (
                run.name,
                str(run.cores),
                f"{run.megabytes:,.0f}",
                f"{run.seconds:.1f}",
                f"{run.speed:.2f}",
                f"{times:.1f}" if other else "",
                f"{run.processor_speed:.2f}",
                f"{by_processor:.1f}" if other else "",
            )
        )
        if other and run is not other:
            verdicts.append(
                f"{run.name}: {times:.1f} times datatrove's speed "
                f"(bar {LEAST_TIMES_FASTER}, aim {AIM_TIMES_FASTER})"
            )
    how = "on" if near else "off"
    return Figures(
        title=f"Raw files to packed stream, near-duplicate detection {how}",
        columns=("", "cores", "MB", "s", "MB/s/core", "times", "MB/processor s", "times"),
        rows=rows,
        verdicts=verdicts,
    )


def stage_figures(result: OursResult) -> Figures:
    """Seconds by stage of the run in one process."""
    total = sum(result.stages.values())
    rows = [
        (
            stage,
            f"{result.stages.get(stage, 0.0):.2f}",
            f"{result.stages.get(stage, 0.0) / result.megabytes * 1e3:.2f}",
            f"{result.stages.get(stage, 0.0) / total:.0%}",
        )
        for stage in STAGES
    ]
    rejected = ", ".join(f"{number:,} {reason}" for reason, number in result.rejected.items())
    return Figures(
        title="Our stages, one process",
        columns=("stage", "s", "ms/MB", "share"),
        rows=[*rows, ("all", f"{total:.2f}", f"{total / result.megabytes * 1e3:.2f}", "100%")],
        verdicts=[
            f"{result.documents:,} documents: {result.kept:,} kept, {rejected}; "
            f"{result.tokens:,} tokens in {result.rows:,} rows"
        ],
    )


def profile_figures(result: ProfileResult) -> Figures:
    """Milliseconds a MB by function."""
    megabytes = result.text_bytes / 1e6
    rows = [
        (label, f"{seconds / megabytes * 1e3:.2f}", f"{seconds / result.whole_seconds:.0%}")
        for label, seconds in result.seconds.items()
    ]
    return Figures(
        title="Our functions, one process, processor time under the profiler",
        columns=("function", "ms/MB", "share"),
        rows=rows,
    )


def bare_figures(bare: BareResult, ours: Mapping[str, EndToEnd]) -> Figures:
    """The bare parts by language, their sum, and ours beside it."""
    megabytes = {code: size / 1e6 for code, size in bare.bytes_by_language.items()}
    whole = sum(megabytes.values())
    rows: list[Sequence[str]] = []
    for part, seconds in bare.seconds.items():
        own = [f"{megabytes[code] / seconds[code]:.0f}" for code in megabytes]
        name = part if part in PARTS else f"({part})"
        times = (bare.of_part(part), bare.processor_seconds[part])
        rows.append((name, *own, *(f"{time / whole * 1e3:.2f}" for time in times)))
    sums = (bare.sum_seconds, bare.sum_processor_seconds)
    bare_speed, bare_processor_speed = (whole / time for time in sums)
    blanks = [""] * len(megabytes)
    rows.append(("sum of the bare parts", *blanks, *(f"{t / whole * 1e3:.2f}" for t in sums)))
    verdicts = [
        f"sum of the bare parts: {bare_speed:.1f} MB/s on one core; the step to Python strings, "
        "which the tokenizer needs, is not counted"
    ]
    for name, run in ours.items():
        speeds = (run.speed, run.processor_speed)
        rows.append((name, *blanks, *(f"{1e3 / speed:.2f}" for speed in speeds)))
        verdicts.append(
            f"{name}: {run.speed / bare_speed:.2f} of the bare parts' speed by the clock, "
            f"{run.processor_speed / bare_processor_speed:.2f} by the processor's time "
            f"(bar {LEAST_SHARE_OF_BARE})"
        )
    fresh = ", ".join(f"{code} {speed:.0f}" for code, speed in bare.fresh_tokenizer.items())
    verdicts.append(f"the tokenizer on text that it sees for the first time, MB/s: {fresh}")
    return Figures(
        title="The bare parts, MB/s by language, one core",
        columns=("", *megabytes, "ms/MB", "processor ms/MB"),
        rows=rows,
        verdicts=verdicts,
    )


def scaling_figures(runs: Sequence[tuple[OursResult, Usage]], cores: int) -> Figures:
    """Time and memory by size, and how far the times are from a line."""
    sizes = np.array([result.megabytes for result, _ in runs])
    seconds = np.array([result.seconds for result, _ in runs])
    verdicts = []
    line = seconds
    if len(runs) > 2:
        slope, begin = np.polyfit(sizes, seconds, 1)
        line = begin + slope * sizes
        deviation = float(np.max(np.abs(seconds / line - 1)))
        verdicts.append(
            f"seconds = {begin:.1f} + {slope * 1000:.1f} a GB; largest deviation "
            f"{deviation:.1%} (bar {MOST_DEVIATION:.0%})"
        )
    rows = [
        (
            f"{result.megabytes:,.0f}",
            f"{result.start_seconds:.1f}",
            f"{result.seconds:.1f}",
            f"{fitted:.1f}",
            f"{result.megabytes / result.seconds / cores:.2f}",
            f"{usage.peak_bytes / 2**30:.2f}",
            f"{usage.peak_private_bytes / 2**30:.2f}",
            f"{usage.peak_shared_bytes / 2**30:.2f}",
            str(usage.processes),
        )
        for (result, usage), fitted in zip(runs, line, strict=True)
    ]
    first, last = runs[0][1], runs[-1][1]
    most = max(usage.peak_bytes for _, usage in runs)
    verdicts += [
        f"peak memory {most / 2**30:.2f} GiB (bar {MOST_BYTES / 2**30:.0f}); from the smallest to "
        f"the largest size {first.peak_bytes / 2**30:.2f} to {last.peak_bytes / 2**30:.2f} GiB, "
        f"without mapped files {first.peak_private_bytes / 2**30:.2f} to "
        f"{last.peak_private_bytes / 2**30:.2f} GiB"
    ]
    return Figures(
        title=f"Size, {cores} cores",
        columns=(
            "MB",
            "cluster start s",
            "s",
            "line s",
            "MB/s/core",
            "peak GiB",
            "without mapped files",
            "object store",
            "processes",
        ),
        rows=rows,
        verdicts=verdicts,
    )


def reading_figures(results: Sequence[ReadingResult]) -> Figures:
    """The reading side."""
    rows = [
        (
            f"{result.reader} at {result.position:.0%}",
            f"{result.first_batch_seconds:.3f}",
            f"{result.import_seconds:.2f}",
            f"{result.cluster_seconds:.1f}" if result.cluster_seconds else "",
            f"{result.rows_per_second:,.0f}",
        )
        for result in results
    ]
    verdicts = [f"stream of {results[0].stream_rows:,} rows; files read from disk, not from cache"]
    for reader in dict.fromkeys(result.reader for result in results):
        own = [result for result in results if result.reader == reader]
        longest = max(result.first_batch_seconds + result.import_seconds for result in own)
        verdicts.append(
            f"{reader}: first batch within {longest:.2f} s with the import, wherever it starts "
            f"(bar {MOST_FIRST_BATCH_SECONDS:.0f})"
        )
    return Figures(
        title="Reading rows of 512 tokens",
        columns=("reader and start", "first batch s", "import s", "cluster s", "rows/s"),
        rows=rows,
        verdicts=verdicts,
    )
