"""The table of a study's steps: one line per kind of step, and one per running step.

It fits a given width and height: finished kinds share a line, and running steps without room are
counted.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

FINISHED = ("done", "reused")
Reading = tuple[int, int, str]
"""Done, total, and a note."""
NAME_WIDTH, LEAST_BAR, BAR_WIDTH = 30, 4, 24
FEWEST_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class StepLine:
    """One step as the table shows it."""

    name: str
    kind: str
    state: str
    reading: Reading | None = None
    """Progress of a running step, if it reports any."""


def elapsed(seconds: float) -> str:
    """``1:23`` minutes, or ``2:01:23`` hours."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def plain_reading(reading: Reading) -> str:
    """A reading as words."""
    done, total, note = reading
    return f"{done:,}/{total:,} {note}".rstrip()


def study_table(title: str, steps: Sequence[StepLine], *, width: int, height: int | None) -> Group:
    """The table in at most ``height`` lines of ``width`` characters; complete without a height.

    Args:
        steps: in the order of their graph.
    """
    kinds: dict[str, list[StepLine]] = {}
    for step in steps:
        kinds.setdefault(step.kind, []).append(step)
    whole = {kind: found for kind, found in kinds.items() if _done(found) == len(found)}
    # Kind and number stay on one line: joined by a no-break space.
    finished = ", ".join(f"{kind}\N{NO-BREAK SPACE}{len(found)}" for kind, found in whole.items())
    head = [Text(title, style="bold", no_wrap=True, overflow="ellipsis")]
    if finished:
        lines = textwrap.wrap(f"done: {finished}", width, break_on_hyphens=False)
        head += [Text(line, style="dim", no_wrap=True) for line in lines]
    running = [step for step in steps if step.state == "running"]
    # Kinds of which something happens first, those that wait last.
    busy = sorted((k for k in kinds if k not in whole), key=lambda kind: _rank(kinds[kind]))
    rows = [_kind_row(kind, kinds[kind]) for kind in busy]
    rows_of_steps = [_step_row(step) for step in running]
    if height is not None:
        room = max(2 * FEWEST_ROWS, height - len(head))
        kept = max(FEWEST_ROWS, room - min(len(rows_of_steps), room // 2))
        rows = _within(rows, kept, "waiting kinds")
        rows_of_steps = _within(rows_of_steps, room - len(rows), "running")
    return Group(*head, _grid([*rows, *rows_of_steps], width))


Row = tuple[str, int, int, str, str, str]
"""Name, done, total, ``done/total``, note, style; a total of 0 has no bar."""


def _kind_row(kind: str, steps: Sequence[StepLine]) -> Row:
    states = [step.state for step in steps]
    counted = dict.fromkeys(state for state in states if state not in ("waiting", *FINISHED))
    note = ", ".join(f"{states.count(state)} {state}" for state in counted)
    style = "red" if "failed" in states else ""
    return kind, _done(steps), len(steps), f"{_done(steps)}/{len(steps)}", note, style


def _step_row(step: StepLine) -> Row:
    if step.reading is None:
        return f"  {step.name}", 0, 0, "", "starting", "dim"
    done, total, note = step.reading
    return f"  {step.name}", done, total, f"{done:,}/{total:,}", note, "dim"


def _within(rows: list[Row], room: int, what: str) -> list[Row]:
    """The first rows, and the number of the others."""
    if len(rows) <= room:
        return rows
    left = len(rows) - room + 1
    return [*rows[: room - 1], (f"  and {left} more {what}", 0, 0, "", "", "dim")]


def _grid(rows: Sequence[Row], width: int) -> Table:
    """A grid whose bars fill the width left by names, numbers and notes; names are cut last."""
    counts = max((len(row[3]) for row in rows), default=0)
    notes = max((len(row[4]) for row in rows), default=0)
    names = min(max((len(row[0]) for row in rows), default=0), NAME_WIDTH)
    notes = max(0, min(notes, width - names - counts - 2))
    bar = min(BAR_WIDTH, width - names - counts - notes - 3)
    table = Table.grid(padding=(0, 1), pad_edge=False)
    table.add_column(width=names, no_wrap=True)
    if bar >= LEAST_BAR:
        table.add_column(width=bar)
    table.add_column(width=counts, justify="right", no_wrap=True)
    table.add_column(width=notes, no_wrap=True, overflow="ellipsis")
    for name, done, total, count, note, style in rows:
        drawn = [ProgressBar(total=total, completed=done, width=bar) if total else ""]
        cells = [shortened(name, names), *(drawn if bar >= LEAST_BAR else []), count, note]
        table.add_row(*cells, style=style)
    return table


def shortened(name: str, width: int) -> str:
    """A name with its middle cut out, because names of trials differ at both ends."""
    if len(name) <= width:
        return name
    tail = width // 2
    return f"{name[: width - tail - 1]}…{name[-tail:]}"


def _done(steps: Sequence[StepLine]) -> int:
    return sum(step.state in FINISHED for step in steps)


def _rank(steps: Sequence[StepLine]) -> int:
    states = {step.state for step in steps}
    return 0 if "failed" in states else 1 if "running" in states else 2
