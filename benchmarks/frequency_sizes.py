"""What corpora of 10 and 100 million documents would take, by the largest that was measured.

Everything that is stored or embedded grows with the passages; a build is spread over shards, so its
time falls with cores and its memory does not grow; a query reads all shards.
"""

from collections.abc import Sequence
from typing import Any

from benchmark_tables import BenchmarkTable
from corpus_memory import Usage

TARGETS = (10_000_000, 100_000_000)
HOURS = 4
"""In which a build should be done."""
COLUMNS = (
    "documents",
    "shards",
    "core hours",
    f"cores for {HOURS} hours",
    "memory of a build",
    "disk",
    "a hybrid query here, index in memory",
)


def extrapolated(
    measured: Sequence[tuple[dict[str, Any], Usage, dict[str, Any]]], processes: int
) -> BenchmarkTable:
    """The arithmetic, from the largest size that was measured."""
    counts, usage, figures = measured[-1]
    rows = []
    for documents in TARGETS:
        factor = documents / counts["documents"]
        core_hours = usage.processor_seconds * factor / 3600
        disk = counts["bytes"] * factor / 2**30
        shards = -(-counts["passages"] * factor // 250_000)
        milliseconds = figures["hybrid"]["milliseconds"] * factor
        rows.append(
            [
                f"{documents:,}",
                f"{shards:,.0f} of ivfpq",
                f"{core_hours:,.1f}",
                f"{max(1, core_hours / HOURS):.0f}",
                f"{usage.peak_bytes / processes / 2**20:,.0f} MiB a core",
                f"{disk:,.0f} GiB",
                f"{milliseconds / 1000:.1f} s",
            ]
        )
    return BenchmarkTable(
        part="sizes",
        title=f"Larger corpora, reckoned from {counts['documents']:,} documents",
        columns=COLUMNS,
        rows=rows,
    )
