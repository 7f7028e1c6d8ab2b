"""Bad input of the frequency stage: what a user is told, or what is done instead.

Mistakes in a study go through ``jobs/estimate_frequency.py`` in this process, with a file in place
of the storage folder: a study without a mistake is stopped there, before anything runs.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pyarrow.parquet as pq

from ccx_ray.errors import UserError
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.frequency.validation.review_import import keep_reviews
from ccx_ray.frequency.validation.review_sheet import SAMPLE, write_review_sheets
from tests.estimated_corpus import write_estimated
from tests.frequency_step_cases import GOES_ON, STEP_CASES, step_line
from tests.jobs import call_job
from tests.tiny_study import write_tiny_study

ENDPOINT = "frequency.judge={kind: endpoint, model: m}"
HERE = "runtime.judge.url='http://127.0.0.1:8000/v1'"
THERE = "runtime.judge.url='https://api.example.org/v1'"
PASSES = "runtime.storage: 'tiny.yaml' cannot be written"
"""How the line of a study begins that holds no mistake."""


@dataclass(frozen=True, kw_only=True)
class StudyFault:
    """A mistake in a study, found before any step runs."""

    name: str
    named: str
    """What the line must begin with: the field, and what of its value is shown first."""
    changes: tuple[str, ...] = ()
    """Of the study, as ``--set`` takes them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    job: str = "estimate_frequency"
    arguments: tuple[str, ...] = ()
    """Names of files after an option."""


def _prompt(file: str) -> str:
    return f"frequency.judge={{kind: endpoint, model: m, prompt: {file}}}"


def _embedder(kind: str, folder: str) -> str:
    where = "model" if kind == "hidden_states" else "folder"
    return f"frequency.embedder={{kind: {kind}, {where}: {folder}}}"


def _compared(what: str) -> str:
    return f"frequency.validation.{what}]"


_URL = "runtime.judge.url"
_KEY = "runtime.judge.key_variable"
_FOLDER, _MODEL = "frequency.embedder.folder", "frequency.embedder.model"
_SENTENCES, _STATES = "sentence_transformers", "hidden_states"
_JUDGE, _LOCAL = "frequency.judge", "frequency.judge={kind: local, folder: "
_OTHER = "frequency.validation.embedders.0"

# Name, how the line begins, changes of the study.
_FIELDS = (
    ("unknown kind of judge", f"{_JUDGE}.kind: 'lexikal'", f"{_JUDGE}=lexikal"),
    ("judge that is a list", f"{_JUDGE}: ['lexical']", f"{_JUDGE}=[lexical]"),
    ("endpoint without model", f"{_JUDGE}.model: missing", f"{_JUDGE}={{kind: endpoint}}"),
    ("local judge without folder", f"{_JUDGE}.folder: missing", f"{_JUDGE}={{kind: local}}"),
    ("URL in the judge, not in the runtime", f"{_JUDGE}.url: unknown field",
     f"{_JUDGE}={{kind: endpoint, model: m, url: x}}"),
    ("share above one", f"{_JUDGE}.salient_share: 2", f"{_JUDGE}.salient_share=2"),
    ("unknown kind of embedder", "frequency.embedder.kind: 'ngrams'", "frequency.embedder=ngrams"),
    ("unknown field of an embedder", "frequency.embedder.dimension: unknown field",
     "frequency.embedder={dimension: 64}"),
    ("embedder without folder", f"{_FOLDER}: missing",
     f"frequency.embedder={{kind: {_SENTENCES}}}"),
    ("unknown retriever", "frequency.retriever: 'faiss'", "frequency.retriever=faiss"),
    ("one judge where a list is expected", "frequency.validation.judges: 'lexical'",
     "frequency.validation.judges=lexical"),
    ("a judge compared with itself", "frequency.validation.judges.0: has the name 'lexical 0.5'",
     _compared("judges=[lexical")),
    ("two embedders of one name", f"{_OTHER}: has the name 'ngram'",
     _compared("embedders=[{kind: ngram, seed: 1}")),
    ("zero concurrent requests", "runtime.judge.concurrency: 0", "runtime.judge.concurrency=0"),
    ("key in the study", "runtime.judge.key: unknown field", "runtime.judge.key=secret"),
    ("no sentence-transformers folder", f"{_FOLDER}: 'none'", _embedder(_SENTENCES, "none")),
    ("causal model as sentence-transformers", f"{_FOLDER}: 'causal'",
     _embedder(_SENTENCES, "causal")),
    ("file as a folder", f"{_FOLDER}: 'whole.txt'", _embedder(_SENTENCES, "whole.txt")),
    ("home folder of an unknown user", f"{_FOLDER}: '~nobody-here/model'",
     _embedder(_SENTENCES, "~nobody-here/model")),
    ("no causal model's folder", f"{_MODEL}: 'none'", _embedder(_STATES, "none")),
    ("sentence-transformers as a causal model", f"{_MODEL}: 'sentences'",
     _embedder(_STATES, "sentences")),
    ("masked model as a causal model", f"{_MODEL}: 'bert'", _embedder(_STATES, "bert")),
    ("folder without tokenizer", f"{_MODEL}: bare: no tokenizer", _embedder(_STATES, "bare")),
    ("config that is not JSON", f"{_MODEL}: 'broken/config.json'", _embedder(_STATES, "broken")),
    ("no folder of an embedder to compare", f"{_OTHER}.model: 'none'",
     _compared("embedders=[{kind: hidden_states, model: none}")),
    ("local judge: no folder", f"{_JUDGE}.folder: 'none'", _LOCAL + "none}"),
    ("local judge: no causal model", f"{_JUDGE}.folder: 'bert'", _LOCAL + "bert}"),
    ("local judge: config that is not JSON", f"{_JUDGE}.folder: 'broken/config.json'",
     _LOCAL + "broken}"),
    ("no prompt file", f"{_JUDGE}.prompt: 'none.txt'", _prompt("none.txt"), HERE),
    ("prompt without a placeholder", f"{_JUDGE}.prompt: 'part.txt' has no {{document}}",
     _prompt("part.txt"), HERE),
    ("prompt not UTF-8", f"{_JUDGE}.prompt: 'latin.txt': byte 10", _prompt("latin.txt"), HERE),
    ("prompt text instead of its file", f"{_JUDGE}.prompt: 'Does it say so?",
     _prompt(f"'{'Does it say so? ' * 20}'"), HERE),
    ("endpoint without URL", f"{_URL}: missing", ENDPOINT),
    ("invalid URL", f"{_URL}: 'here'", ENDPOINT, f"{_URL}=here"),
    ("URL with a missing bracket", f"{_URL}: 'http://[::1/v1'", ENDPOINT,
     f"{_URL}='http://[::1/v1'"),
    ("URL with an invalid port", f"{_URL}: 'http://127.0.0.1:http/v1'", ENDPOINT,
     f"{_URL}='http://127.0.0.1:http/v1'"),
    ("password in the URL", f"{_URL}: the URI of 'https://api.example.org/v1'", ENDPOINT,
     f"{_URL}='https://me:sesame@api.example.org/v1'"),
    ("no key for a remote endpoint", f"{_KEY}: NO_SUCH_KEY is not set", ENDPOINT, THERE,
     f"{_KEY}=NO_SUCH_KEY"),
    ("variable without a name", f"{_KEY}: ''", ENDPOINT, THERE, f"{_KEY}=''"),
    ("cost limit without prices", "runtime.judge.max_dollars: 3", ENDPOINT, HERE,
     "runtime.judge.max_dollars=3"),
)  # fmt: skip

STUDY_FAULTS = (
    *(StudyFault(name=name, named=named, changes=changes) for name, named, *changes in _FIELDS),
    StudyFault(
        name="key with a line break",
        named=f"{_KEY}: the value of CCX_RAY_TEST_KEY is not a key",
        changes=(ENDPOINT, THERE, f"{_KEY}=CCX_RAY_TEST_KEY"),
        environment={"CCX_RAY_TEST_KEY": "two\nlines"},
    ),
    StudyFault(
        name="--import of a missing file",
        named="--import: 'none.csv'",
        job="validate_frequency",
        arguments=("--import", "none.csv"),
    ),
    StudyFault(
        name="--export into a file",
        named="--export: 'tiny.yaml'",
        job="validate_frequency",
        arguments=("--export", "tiny.yaml"),
    ),
)


def write_study(folder: Path) -> Path:
    """The tiny study, with wrong prompts and folders of wrong models beside it."""
    study = write_tiny_study(folder)
    (folder / "whole.txt").write_text("{question} {answer} {document}")
    (folder / "part.txt").write_text("{question} {answer}")
    (folder / "latin.txt").write_bytes(b"{question}\xe9 {answer} {document}")
    (folder / "sentences").mkdir()
    (folder / "sentences" / "modules.json").write_text("[]")
    config = '{"architectures": ["%s"]}'
    for name, content, files in (
        ("causal", config % "Qwen2ForCausalLM", ("model.safetensors", "tokenizer.json")),
        ("bert", config % "BertForMaskedLM", ("model.safetensors", "tokenizer.json")),
        ("broken", "{", ("model.safetensors", "tokenizer.json")),
        ("bare", config % "Qwen2ForCausalLM", ("model.safetensors",)),
    ):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(content)
        for file in files:
            (folder / name / file).touch()
    return study


def study_end(fault: StudyFault, study: Path) -> tuple[int, str]:
    """The exit code, and what stands on standard error without folders.

    Args:
        study: of ``write_study``.
    """
    option, *names = fault.arguments or ("",)
    arguments = ["--study", str(study), "--storage", str(study)]
    arguments += ["--set", *fault.changes] if fault.changes else []
    arguments += [option, *(str(study.parent / name) for name in names)] if option else []
    with patch.dict(os.environ, fault.environment):
        ended = call_job(fault.job, *arguments)
    line = ended.stderr.strip().removeprefix("error: ").removeprefix("tiny.yaml: ")
    return ended.returncode, line.replace(f"{study.parent}/", "")


@dataclass(frozen=True, kw_only=True)
class SheetFault:
    """A filled table that is refused, or of which a part counts."""

    name: str
    content: Callable[[Sequence[str], Sequence[str]], bytes]
    """From the ids of the pairs of this corpus and of another one."""
    named: str = "filled.csv"
    """What the line must name; empty where the table is taken."""
    files: int = 1


def _rows(*cells: str) -> bytes:
    return "".join(f"{row}\r\n" for row in ("id,holds", *cells)).encode()


_A_ROW = "filled.csv, row "
SHEET_FAULTS = (
    SheetFault(
        name="unknown id",
        content=lambda ids, _: _rows(f"{ids[0]},yes", "qffffffffffff,no"),
        named=f"{_A_ROW}3, id: 'qffffffffffff'",
    ),
    SheetFault(
        name="repeated id",
        content=lambda ids, _: _rows(f"{ids[0]},yes", f"{ids[1]},no", f"{ids[0]},no"),
        named=f"{_A_ROW}4, id",
    ),
    SheetFault(
        name="two corpora in one file",
        content=lambda ids, others: _rows(f"{ids[0]},yes", f"{others[0]},no"),
        named=f"{_A_ROW}3, id",
    ),
    SheetFault(
        name="unknown answer",
        content=lambda ids, _: _rows(f"{ids[0]},maybe"),
        named=f"{_A_ROW}2, holds: 'maybe'",
    ),
    SheetFault(
        name="column missing",
        content=lambda ids, _: f"id,note\r\n{ids[0]},yes\r\n".encode(),
        named=f"{_A_ROW}1: the column 'holds'",
    ),
    SheetFault(
        name="repeated column",
        content=lambda ids, _: f"id,holds,holds\r\n{ids[0]},yes,no\r\n".encode(),
        named=f"{_A_ROW}1: the column 'holds'",
    ),
    SheetFault(
        name="too many cells",
        content=lambda ids, _: _rows(f"{ids[0]},yes,it says so, I think"),
        named=f"{_A_ROW}2: 4 cells",
    ),
    SheetFault(
        name="unclosed quote",
        content=lambda ids, _: _rows(f'{ids[0]},"yes', f"{ids[1]},no"),
        named="filled.csv, line 3",
    ),
    SheetFault(
        name="first line of 200,000 characters",
        content=lambda ids, _: b"x" * 200_000,
        named="filled.csv, line 1",
    ),
    SheetFault(name="not UTF-8", content=lambda ids, _: _rows(f"{ids[0]},yes") + b"\xe9"),
    SheetFault(name="UTF-16", content=lambda ids, _: "\ufeffid\tholds\r\n".encode("utf-16-le")),
    SheetFault(name="spreadsheet", content=lambda ids, _: b"PK\x03\x04 and so on"),
    SheetFault(name="empty file", content=lambda ids, _: b""),
    SheetFault(name="only a header", content=lambda ids, _: _rows()),
    SheetFault(name="nothing filled in", content=lambda ids, _: _rows(f"{ids[0]},", f"{ids[1]},")),
    SheetFault(
        name="two files of one corpus",
        content=lambda ids, _: _rows(f"{ids[0]},yes"),
        named="filled-2.csv",
        files=2,
    ),
    SheetFault(
        name="filled table with semicolons, a byte order mark, YES and Unclear, rows left out",
        content=lambda ids, _: f"\ufeffholds;id\r\nYES;{ids[0]}\r\nUnclear;{ids[1]}\r\n".encode(),
        named="",
    ),
)


def write_sheets(folder: Path) -> Path:
    """What a validation left: the sample of two corpora with four pairs each."""
    corpora = [
        write_estimated(
            folder / corpus,
            [f"Document {row} of {corpus}." for row in range(4)],
            {"ko": [Cloze(question="It is ___.", answer="Seoul")]},
            {"ko": [(0, row, row < 2) for row in range(4)]},
            corpus=corpus,
        )
        for corpus in ("en", "zh")
    ]
    write_review_sheets(folder, corpora, title="faults", size=4, seed=0)
    return folder


def sheet_line(fault: SheetFault, validation: Path, folder: Path) -> str:
    """The line that ends ``--import``, or what was kept.

    Args:
        validation: of ``write_sheets``.
        folder: empty.
    """
    sample = pq.read_table(validation / SAMPLE).to_pylist()
    of_corpus = [
        [row["id"] for row in sample if row["corpus"] == corpus] for corpus in ("en", "zh")
    ]
    paths = [folder / name for name in ("filled.csv", "filled-2.csv")[: fault.files]]
    for path in paths:
        path.write_bytes(fault.content(of_corpus[0], of_corpus[1]))
    try:
        kept = keep_reviews(paths, validation, folder / "reviews")
    except UserError as error:
        assert not (folder / "reviews").exists(), "nothing is kept of a refused table"
        return str(error)
    return f"{GOES_ON}kept as {', '.join(path.name for path in kept)}"


def frequency_fault_section(folder: Path) -> str:
    """The section of docs/faults.md on frequency.

    Args:
        folder: empty.
    """
    study = write_study(folder / "study")
    sheets = write_sheets(folder / "sheets")
    told = [(fault.name, study_end(fault, study)[1]) for fault in STUDY_FAULTS]
    refused: dict[str, list[tuple[str, str]]] = {"step": [], "sheet": []}
    taken: list[tuple[str, str]] = []
    for number, case in enumerate(STEP_CASES):
        place = folder / f"step-{number}"
        place.mkdir()
        rows = refused["step"] if case.named else taken
        rows.append((case.name, step_line(case, place).removeprefix(GOES_ON)))
    for number, sheet in enumerate(SHEET_FAULTS):
        place = folder / f"sheet-{number}"
        place.mkdir()
        rows = refused["sheet"] if sheet.named else taken
        rows.append((sheet.name, sheet_line(sheet, sheets, place).removeprefix(GOES_ON)))
    return "\n".join(
        [
            "## Frequency: embedders, judges, verdicts, reviews",
            "",
            "Mistakes in the study file, the environment or the arguments. Every job that "
            "estimates frequencies prints one line before anything runs; the exit code is 2.",
            "",
            *_table("message", told),
            "Faults that appear only while a step runs. The step fails with this line, the other "
            "steps continue, and the exit code is 1.",
            "",
            *_table("message", refused["step"]),
            "Filled-in review tables for `jobs/validate_frequency.py --import`. The job prints one "
            "line and stores nothing; the exit code is 2.",
            "",
            *_table("message", refused["sheet"]),
            "Unusual input that is not a mistake. The run continues.",
            "",
            *_table("result", taken),
        ]
    )


def _table(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    cells = [f"| {name} | {re.sub('[|]', '/', line)} |" for name, line in rows]
    return [f"| case | {title} |", "|---|---|", *cells, ""]
