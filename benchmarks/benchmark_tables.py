"""What was measured as tables: for the terminal, for a page, and for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BenchmarkTable:
    """One part's table and what it says."""

    part: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    verdicts: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """The numbers behind the cells, every repetition of them."""

    def text(self) -> str:
        """For the terminal; needs no library, because a bare machine has none."""
        table = [list(self.columns), *[list(row) for row in self.rows]]
        widths = [max(len(row[column]) for row in table) for column in range(len(self.columns))]
        lines = [self.title]
        for row in table:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *(f"- {verdict}" for verdict in self.verdicts), ""])

    def markdown(self) -> str:
        """For a page."""
        lines = [f"## {self.title}", "", f"| {' | '.join(self.columns)} |"]
        lines.append("|---|" + "---:|" * (len(self.columns) - 1))
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {verdict}" for verdict in self.verdicts), ""])


def bar(name: str, value: float, least: float) -> str:
    """A verdict against a bar that the figure must reach."""
    return f"{name}: {value:.2f} (bar {least:g}: {'reached' if value >= least else 'missed'})"


def spread(values: Sequence[float], form: str) -> str:
    """The median and the range of some repetitions."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
