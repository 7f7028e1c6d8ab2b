"""The audit in the terminal: the verdicts, the scripts, what was found, and where to read on."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ccx_ray.corpus.audit.figures import AuditFigures, Verdict

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_SCRIPTS = 3


def print_audit(
    figures: AuditFigures,
    judged: Sequence[Verdict],
    page: Path,
    *,
    console: "Console | None" = None,
) -> None:
    """Print a summary; ``page`` is where the whole is to be read."""
    from rich.console import Console
    from rich.table import Table

    console = console or Console()

    def table(title: str, text: Sequence[str], numbers: Sequence[str], *last: str) -> Table:
        made = Table(title=title, box=None, pad_edge=False, title_justify="left")
        for name in text:
            made.add_column(name, no_wrap=True)
        for name in numbers:
            made.add_column(name, justify="right")
        for name in last:
            made.add_column(name, overflow="fold")
        return made

    texts = table(
        "every text", ["corpus"], ["texts", "characters", "forbidden", "not NFC"], "scripts"
    )
    for part in figures.scripts:
        whole = max(1, part.characters)
        shares = [f"{name} {number / whole:.1%}" for name, number in part.scripts.items()]
        counts = (part.texts, part.characters, part.forbidden, part.not_normalized)
        bad = part.forbidden or part.not_normalized
        numbers = (f"{number:,}" for number in counts)
        style = "red" if bad else None
        texts.add_row(part.corpus, *numbers, ", ".join(shares[:SHOWN_SCRIPTS]), style=style)
    console.print(texts, "")
    met = [part for part in figures.contamination if part.is_met]
    questions = table(
        "questions in the text",
        ["culture", "corpus"],
        ["questions", "to the letter", "half of the 8-grams", "any 8-gram"],
    )
    for hits in met:
        counts = (hits.questions, hits.exact, hits.half_overlapping, hits.overlapping)
        questions.add_row(hits.culture, hits.corpus, *(f"{number:,}" for number in counts))
    if met:
        console.print(questions, "")
    streams = table(
        "every row of both conditions",
        ["stream"],
        ["rows", "token difference", "pairs in bridge", "together", "no-bridge rows with both"],
    )
    for stream in figures.streams:
        both = stream.nobridge.rows_with_both_sides_of_a_group
        streams.add_row(
            stream.stream,
            f"{stream.bridge.rows:,}",
            f"{stream.token_difference:,}",
            f"{stream.bridge.pairs:,}",
            f"{stream.bridge.together:,}",
            f"{both:,}",
            style="red" if both or stream.differing_rows or not stream.same_halves else None,
        )
    if figures.streams:
        console.print(streams, "")
    limits = table("limits", ["what is judged"], ["largest", "limit"], "where")
    for verdict in judged:
        figure, limit = (
            f"{value:.2%}" if verdict.is_share else f"{value:,.0f}"
            for value in (verdict.figure, verdict.limit)
        )
        where = verdict.where if verdict.figure and verdict.passed else "; ".join(verdict.crossed)
        limits.add_row(verdict.name, figure, limit, where, style=None if verdict.passed else "red")
    console.print(limits)
    crossed = sum(not verdict.passed for verdict in judged)
    outcome = f"{crossed} of {len(judged)} limits crossed" if crossed else "all limits kept"
    console.print(
        f"\n{outcome}\naudit:   open {shlex.quote(str(page))}", soft_wrap=True, highlight=False
    )
