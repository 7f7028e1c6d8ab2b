"""Progress as it is shown: lines in a pipe, a table that fits a screen."""

import io
import itertools
from typing import Any

import pytest
from rich.console import Console

from ccx_ray.orchestration import progress
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.progress_table import Reading, StepLine, study_table
from ccx_ray.orchestration.time_left import StepLeft, time_left


def step(name: str, *needs: Step, **fields: Any) -> Step:
    return Step(
        name=name, kind="write", version=1, identity={}, run=lambda work: {},
        needs={"inputs": {other.name: other for other in needs}}, **fields,
    )  # fmt: skip


def test_in_a_pipe_a_line_is_printed_when_something_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LOG_SHARE", 0.0)
    pipe, tokens = io.StringIO(), step("tokens-" + 90 * "x")
    shown = StudyProgress(Graph([tokens]), Console(file=pipe))
    readings: list[Reading] = [(0, 2, "pack"), (1, 2, "pack"), (1, 2, "pack"), (2, 2, "pack")]
    shown.started(tokens)
    for reading in readings:
        shown.watch(tokens.name, lambda reading=reading: reading)  # type: ignore[misc]
        shown.tell_what_got_on()
    shown.settled(tokens, "failed", "it broke")
    said = [line.partition("] ")[2] for line in pipe.getvalue().splitlines()]
    lines = ("started", "1/2 pack", "2/2 pack", "failed: it broke")
    assert said == [f"{tokens.name}: {line}" for line in lines]


def test_a_long_running_step_is_told_of_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock)
    pipe, base = io.StringIO(), step("base")
    shown = StudyProgress(Graph([base]), Console(file=pipe))
    shown.started(base)
    shown.watch("base", lambda: (int(clock), 10**6, "steps"))
    moments = []
    for second in range(36_000):
        clock, before = float(second), pipe.tell()
        shown.tell_what_got_on()
        if pipe.tell() > before:
            moments.append(second)
    assert moments[0] == 15
    assert len(moments) < 150
    assert max(later - earlier for earlier, later in itertools.pairwise(moments)) <= 600


def rendered(steps: list[StepLine], height: int, *, width: int = 80) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, height=height)
    console.print(study_table("a title", steps, width=width, height=height))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def grid(running: int, kinds: int = 12) -> list[StepLine]:
    note = "loss 12.345, 1,234,567 tokens/s"
    trials = [
        StepLine(
            name=f"trial-{'long' * 8}-nobridge-s{number}",
            kind="training",
            state="running" if number < running else "waiting",
            reading=(123_456, 1_000_000, note) if number % 2 else None,
        )
        for number in range(100)
    ]
    others = [StepLine(name=f"k{n}", kind=f"a-kind-of-steps-{n}", state="waiting") for n in
              range(kinds)]  # fmt: skip
    return [StepLine(name="text-en", kind="text", state="done"), *trials, *others]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("height", [10, 24, 60])
def test_the_table_fits_the_screen_however_many_steps_run(width: int, height: int) -> None:
    lines = rendered(grid(running=90), height, width=width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert any("more running" in line for line in lines)


def test_the_table_shows_the_ends_of_names_and_all_of_the_reading_at_80() -> None:
    lines = rendered(grid(running=2, kinds=1), 24)
    (row,) = (line for line in lines if "nobridge-s1" in line)
    assert row.strip().startswith("trial-")
    assert row.endswith("123,456/1,000,000 loss 12.345, 1,234,567 tokens/s")
    assert lines[1] == "done: text\N{NO-BREAK SPACE}1"


def test_colours_are_off_by_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    failed = [StepLine(name="a", kind="text", state="failed")]
    console = Console(file=file, force_terminal=True, width=80)
    console.print(study_table("a title", failed, width=80, height=20))
    assert "\x1b[31m" not in file.getvalue()


def test_time_left_follows_needs_pools_and_what_follows() -> None:
    trials = [
        StepLeft(name=f"trial-{n}", seconds=10.0, running=n == 0, pool="training", needs=["base"])
        for n in range(3)
    ]
    scored = [
        StepLeft(name=f"evaluate-{n}", seconds=2.0, running=n == 0, follows=f"trial-{n}")
        for n in range(3)
    ]
    report = StepLeft(name="report", seconds=1.0, running=False, needs=[one.name for one in scored])
    steps = [*trials, *scored, report]
    assert time_left(steps, {"training": 1}) == 33.0
    assert time_left(steps, {"training": 2}) == 23.0
    assert time_left(steps, {"training": 9}) == 13.0
    assert time_left([], {}) == 0.0
