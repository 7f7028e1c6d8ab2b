"""The console that jobs print tables to: as wide as the terminal; in a pipe as wide as needed."""

import os

from rich.console import Console

PIPE_WIDTH = 400
"""Wider than any table; rows are padded to their table's width, not to this."""


def open_console(*, stderr: bool = False) -> Console:
    """Standard output or error; ``NO_COLOR`` takes the colours off."""
    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console
