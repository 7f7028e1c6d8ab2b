"""Wrong probe files and model folders, and what jobs/evaluate.py makes of them."""

import contextlib
import io
import json
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.probe_models import write_random_model

PROJECT = Path(__file__).resolve().parents[1]
GOOD = {"question": "It is ___.", "options": ["red", "blue"], "answer": "red"}
TASK = """\
dataset_path: json
dataset_kwargs: {{data_files: {{test: none.jsonl}}}}
test_split: test
output_type: {output}
doc_to_text: {text}
doc_to_choice: options
doc_to_target: answer
"""


@dataclass(frozen=True, kw_only=True)
class ProbeFault:
    """One wrong file beside what is right."""

    name: str
    file: str = "probe.json"
    content: str | bytes | None = None
    """Of the probe file; None: one good question."""
    named: str = ""
    """What the line must name where it is not the probe file."""
    break_model: Callable[[Path], Any] = lambda folder: None
    lenient: bool = False
    """With ``--lenient`` the rest is scored."""


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """How the job ended."""

    code: int
    line: str
    """Standard error."""
    left_out: list[dict[str, Any]]
    questions: int


def _items(**change: Any) -> str:
    wrong = {key: value for key, value in (GOOD | change).items() if value is not None}
    return json.dumps([GOOD, wrong], ensure_ascii=False)


def _another_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 300, "content": "<x>"})
    path.write_text(json.dumps(tokenizer), "utf-8")


def _gap(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    vocab = tokenizer["model"]["vocab"]
    vocab["Ġ"] = 5_000
    path.write_text(json.dumps(tokenizer), "utf-8")


def _unread_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("a\n")
    config = {"tokenizer_class": "GPT2Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


CASES = (
    ProbeFault(name="no such file", file="none.json"),
    ProbeFault(name="not UTF-8", content=b'[{"question": "\xff"}]'),
    ProbeFault(name="encoding differs from its byte order mark", content=b"\xff\xfe[\x00]"),
    ProbeFault(name="not JSON", content='[{"question": "It is _"'),
    ProbeFault(name="not a list", content=json.dumps(GOOD)),
    ProbeFault(name="empty list", content="[]"),
    ProbeFault(name="item that is not an object", content=json.dumps([GOOD, "red"]), lenient=True),
    ProbeFault(name="item without options", content=_items(options=None), lenient=True),
    ProbeFault(name="item without answer", content=_items(answer=None), lenient=True),
    ProbeFault(name="one option", content=_items(options=["red"]), lenient=True),
    ProbeFault(name="empty option", content=_items(options=["red", ""]), lenient=True),
    ProbeFault(name="empty question", content=_items(question=" "), lenient=True),
    ProbeFault(name="group that is not text", content=_items(group=3), lenient=True),
    ProbeFault(
        name="question longer than the context",
        content=_items(question="word " * 900 + "_"),
        lenient=True,
    ),
    ProbeFault(name="all items wrong", content=json.dumps([{**GOOD, "options": []}])),
    ProbeFault(
        name="BMLAMA line with too few columns",
        file="ko.tsv",
        content="Prompt\tAns\tCandidate Ans\nIt is <mask>.\tred\tred, blue\nIt is <mask>.\tred\n",
        lenient=True,
    ),
    ProbeFault(
        name="BMLAMA line with several answers",
        file="ko.tsv",
        content="It is <mask>.\tred\tred, blue\nIt is <mask>.\tred, blue\tred, blue\n",
        lenient=True,
    ),
    ProbeFault(
        name="mLAMA relation without template",
        file="P19.jsonl",
        content='{"sub_label": "Ada", "obj_label": "London"}\n',
        named="templates.jsonl",
    ),
    ProbeFault(
        name="task of another kind",
        file="task.yaml",
        content=TASK.format(output="generate_until", text="question"),
    ),
    ProbeFault(
        name="task that needs Python",
        file="task.yaml",
        content=TASK.format(output="multiple_choice", text="!function code.text"),
    ),
    ProbeFault(
        name="model folder without tokenizer",
        named="model",
        break_model=lambda folder: (folder / "tokenizer.json").unlink(),
    ),
    ProbeFault(
        name="model folder without weights",
        named="model",
        break_model=lambda folder: (folder / "model.safetensors").unlink(),
    ),
    ProbeFault(
        name="vocabulary larger than the model's", named="model", break_model=_another_tokenizer
    ),
    ProbeFault(name="token id above the model's vocabulary", named="model", break_model=_gap),
    ProbeFault(
        name="vocabulary that does not match the tokenizer class",
        named="model",
        break_model=_unread_vocabulary,
    ),
)


def end_of(case: ProbeFault, model: Path, folder: Path, *, lenient: bool) -> JobEnd:
    """Run the job, in this process.

    Args:
        model: a whole model, which is copied.
        folder: empty.
    """
    copy = shutil.copytree(model, folder / "model")
    case.break_model(copy)
    probe = folder / case.file
    if case.file != "none.json":
        content = json.dumps([GOOD]) if case.content is None else case.content
        probe.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = folder / "out.json"
    arguments = ["--model", str(copy), "--probes", str(probe), "--out", str(out)]
    stderr = io.StringIO()
    with (
        _arguments([*arguments, *(["--lenient"] if lenient else [])]),
        contextlib.redirect_stderr(stderr),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            runpy.run_path(str(PROJECT / "jobs" / "evaluate.py"), run_name="__main__")
        except SystemExit as ended:
            code = int(ended.code or 0)
    written = out.read_text("utf-8").replace(f"{folder}/", "") if out.exists() else "{}"
    scored = json.loads(written).get("probes", [{}])[0]
    return JobEnd(
        code=code,
        line=stderr.getvalue().strip().replace(f"{folder}/", ""),
        left_out=scored.get("left_out", []),
        questions=scored.get("questions", 0),
    )


@contextlib.contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = ["evaluate.py", *arguments]
    try:
        yield
    finally:
        sys.argv = before


def probe_fault_section(folder: Path) -> str:
    """The section of docs/faults.md on probe files and models.

    Args:
        folder: empty.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # DeepSpeed greets there when it is imported
        model = write_random_model(folder / "whole", vocabulary_size=300)
    rows = []
    for number, case in enumerate(CASES):
        ends = []
        for lenient in (False, True):
            place = folder / f"{number}-{lenient}"
            place.mkdir()
            ends.append(end_of(case, model, place, lenient=lenient))
        reasons = "; ".join(f"item {one['index']}: {one['reason']}" for one in ends[1].left_out)
        left = f"{ends[1].questions} scored, {len(ends[1].left_out)} left out: {reasons}"
        line = ends[0].line.splitlines()[-1].removeprefix("error: ")
        rows.append(f"| {case.name} | {line} | {left if case.lenient else 'the same'} |")
    return "\n".join(
        [
            "## Probe files and models",
            "",
            "Errors of `jobs/evaluate.py` (exit code 2) for a file with one valid and one invalid "
            "question.",
            "`--lenient` skips invalid items and lists them on standard error and in `OUT.json`. "
            "It does not change errors of the whole file or of the model.",
            "",
            "| case | by default | with --lenient |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
