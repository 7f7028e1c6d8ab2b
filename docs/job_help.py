"""The pages of all jobs and make targets, written from their own help when the site is built."""

import contextlib
import io
import os
import re
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

PROJECT = Path(__file__).resolve().parents[1]
FIRST = ("full_study", "run_trial")
"""What is used most stands first; the others follow by name."""


def job_help() -> str:
    """Markdown: what each job answers to ``--help``."""
    names = sorted(path.stem for path in (PROJECT / "jobs").glob("*.py"))
    names = [*FIRST, *(name for name in names if name not in FIRST)]
    return "\n".join(f"## `{name}.py`\n```text\n{help_of(name)}\n```\n" for name in names)


def help_of(job: str) -> str:
    """The text that a job prints for ``--help``, at a width of 88 columns."""
    path = PROJECT / "jobs" / f"{job}.py"
    printed = io.StringIO()
    with (
        patch.object(sys, "argv", [f"jobs/{job}.py", "--help"]),
        patch.dict(os.environ, COLUMNS="88", NO_COLOR="1"),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        runpy.run_path(str(path), run_name="__main__")
    return printed.getvalue().strip()


def make_targets() -> str:
    """Markdown: a table of the Makefile's targets, from the text that ``make help`` shows."""
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z]+):.*## (.+)$", makefile, re.MULTILINE)
    rows = [f"| `make {name}` | {text.replace('|', '/')} |" for name, text in targets]
    return "\n".join(["| command | what it does |", "|---|---|", *rows, ""])
