"""The commands and snippets of README and docs, and by what each command is checked.

``python -m tests.documentation`` counts them.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markdown_it import MarkdownIt

from tests.jobs import PROJECT

RECORDS = ("docs/log.md", "docs/benchmarks/")
"""Dated pages: what was typed then, at the commit that each names. They are no instructions."""

How = Literal["run", "on the finished study", "planned", "parsed", "files", "on the server"]
"""By what a command is checked.

run: as it is written, in a folder of its own;
on the finished study: run with the tiny study in place of the one that it names;
planned: the study is loaded and planned with the command's options (``--dry-run``), or ``make -n``;
parsed: by the tool's own parser, because it needs a cluster, a server, or minutes;
files: shell commands: bash reads them, and the project has the files that they name;
on the server: run with the tracking server of deploy/, by test_tracking_deployment.py;
"""

HOW: Sequence[tuple[str, How]] = (
    (r"make help$", "run"),
    (r"python dashboards/build\.py ", "run"),
    (r"make ", "planned"),
    (r"python jobs/export_lm_eval\.py ", "run"),
    (r"python jobs/full_study\.py .*trials\.steps=many", "run"),
    (r"python jobs/full_study\.py .*--verify", "on the finished study"),
    (r"python jobs/full_study\.py ", "planned"),
    # test_study.py, test_status.py, test_frequency_jobs.py and test_tracking_deployment.py run such
    # commands.
    (r"python jobs/(run_trial|status|ui)\.py ", "planned"),
    (r"python jobs/report\.py .*--set", "planned"),
    (r"python jobs/validate_frequency\.py .*--import", "planned"),
    (r"python jobs/estimate_frequency\.py .*kind: endpoint", "planned"),
    (r"python jobs/\w+\.py --study examples/greek", "planned"),
    (r"python jobs/evaluate\.py ", "on the finished study"),
    (r"python jobs/(audit|estimate_frequency|exposure|prepare_corpora|pretrain_base|status)\.py ",
     "on the finished study"),
    (r"python jobs/(export|report|validate_frequency)\.py ", "on the finished study"),
    (r"(lm_eval|mlflow|ray) ", "parsed"),
    (r"(grafana|prometheus) ", "files"),
    (r"(\.|chmod|cp|export|ls|mkdir|sudo|sudoedit) ", "files"),
    (r"/opt/mlflow/bin/python -c ", "on the server"),
    (r"\.venv/bin/(pip|pre-commit) ", "files"),
)  # fmt: skip
"""The first that matches a command says how it is checked."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a page."""

    page: str
    line: int
    words: tuple[str, ...]
    """Without what the environment is given before it."""

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def options(self) -> list[str]:
        return [word for word in self.words if word.startswith("--") and len(word) > 2]

    @property
    def how(self) -> How | None:
        return next((how for start, how in HOW if re.match(start, self.text)), None)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[Path]:
    """Every page that tells a reader what to do."""
    found = [
        PROJECT / name
        for name in ("README.md", "CONTRIBUTING.md", "dashboards/README.md", "deploy/README.md")
    ]
    found += sorted((PROJECT / "docs").rglob("*.md"))
    return [page for page in found if not name_of(page).startswith(RECORDS)]


def name_of(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


def blocks(language: str) -> Iterator[Block]:
    """The fenced blocks of one language."""
    for page in pages():
        for token in MarkdownIt().parse(page.read_text("utf-8")):
            if token.type == "fence" and token.info.strip() == language:
                assert token.map is not None
                yield Block(page=page, line=token.map[0] + 2, language=language, text=token.content)


def commands() -> list[Command]:
    """Every command of the bash blocks, in order."""
    return [command for block in blocks("bash") for command in _commands(block)]


def _commands(block: Block) -> Iterator[Command]:
    line = block.line
    for written in re.split(r"(?<!\\)\n", block.text):
        words: list[str] = []
        known = re.sub(r"\$\([^)]*\)", "COMMIT", written.replace("\\\n", " "))
        for word in [*shlex.split(known, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield Command(page=name_of(block.page), line=line, words=_without_shell(words))
                words = []
        line += written.count("\n") + 1


def _without_shell(words: Sequence[str]) -> tuple[str, ...]:
    """A command without the variables before it and the redirection behind it."""
    kept = list(words[: words.index(">")] if ">" in words else words)
    while re.match(r"[A-Z_]+=", kept[0]):
        del kept[0]
    return tuple(kept)


def commands_that_are(how: How) -> list[Command]:
    """The commands that are checked so, each once."""
    return list({command.text: command for command in commands() if command.how == how}.values())


if __name__ == "__main__":
    print(f"{len(pages())} pages, {len(commands())} commands")
    for kind, count in Counter(command.how for command in commands()).most_common():
        print(f"{count:4} {kind}")
