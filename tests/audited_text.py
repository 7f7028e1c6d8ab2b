"""Text folders written by hand, of planted and of real bundled text, and their audit."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa

from ccx_ray.corpus.audit.auditing import row_tasks, text_tasks, write_audit
from ccx_ray.corpus.audit.figures import AuditFigures
from ccx_ray.corpus.audit.inputs import (
    AuditedLanguage,
    AuditInputs,
    Findings,
    ProbeSide,
    probe_side,
)
from ccx_ray.corpus.cleaning.scripts import isolate
from ccx_ray.corpus.parts import write_part
from ccx_ray.study.text_spec import ENGLISH_ISOLATION, AuditSpec, IsolationSpec

NO_LATIN = IsolationSpec(remove=("Latin",))
REJECTED = ("id", "text", "source", "file", "position", "reason", "duplicate_of")


def isolation_of(code: str) -> IsolationSpec:
    return ENGLISH_ISOLATION if code == "en" else NO_LATIN


def bundled_texts(project: Path, code: str, number: int) -> list[str]:
    """The first isolated documents of a bundled corpus."""
    with gzip.open(project / f"data/mono/{code}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, number)]
    isolated: list[str] = isolate(pa.array(texts, pa.string()), isolation_of(code)).text.to_pylist()
    return isolated


def bundled_probes(project: Path, culture: str, language: str) -> ProbeSide:
    """The published questions of a culture in one language."""
    path = project / f"data/probes/{culture}-culture-cloze_{language}.json"
    items = json.loads(path.read_text("utf-8"))
    filled = ((i["question"], re.sub("_+", lambda _: i["answer"], i["question"])) for i in items)  # noqa: B023
    return probe_side(culture, language, list(filled))


def audited_language(
    folder: Path,
    code: str,
    documents: Sequence[str],
    pairs: Sequence[tuple[str, str]] = (),
    *,
    rejected: Sequence[dict[str, str]] = (),
    parts: int = 1,
    backwards: bool = False,
) -> AuditedLanguage:
    """A text folder whose documents are ``d0``, ``d1``, ... and whose pairs ``p0``, ``p1``, ...

    Args:
        parts: how many parts the rows are cut into.
        backwards: the last row comes first.
    """
    tables = {
        "documents": [{"id": f"d{i}", "text": text} for i, text in enumerate(documents)],
        "pairs": [{"id": f"p{i}", "english": e, "target": t} for i, (e, t) in enumerate(pairs)],
    }
    counts = {}
    for kind, forwards in tables.items():
        if not forwards:
            continue
        rows = forwards[::-1] if backwards else forwards
        (folder / kind).mkdir(parents=True)
        for number in range(parts):
            begin, end = (len(rows) * (number + i) // parts for i in (0, 1))
            names = list(rows[0])
            columns = {name: [row[name] for row in rows[begin:end]] for name in names}
            columns["source"] = ["a source"] * (end - begin)
            write_part(folder / kind, number, pa.table(columns))
        reasons = Counter(row["reason"] for row in rejected if row.get("kind", "documents") == kind)
        counts[kind] = {
            "read": len(rows) + reasons.total(),
            "kept": len(rows),
            "rejected": dict(reasons),
        }
    (folder / "rejected").mkdir(parents=True, exist_ok=True)
    table = pa.table({name: [row.get(name, "") for row in rejected] for name in REJECTED})
    write_part(folder / "rejected", 0, table.cast(pa.schema([(n, pa.string()) for n in REJECTED])))
    return AuditedLanguage(code=code, folder=folder, isolation=isolation_of(code), counts=counts)


def run_audit(
    folder: Path,
    inputs: AuditInputs,
    spec: AuditSpec | None = None,
    *,
    backwards: bool = False,
) -> AuditFigures:
    """Do all tasks and write the audit into ``folder``."""
    spec = spec or AuditSpec()
    folder.mkdir(parents=True)
    found, scratch = Findings(), folder / "scratch"
    for tasks_of in (text_tasks, row_tasks):
        for task in tasks_of(inputs, spec, found, scratch)[:: -1 if backwards else 1]:
            found.add(task())
    return write_audit(folder, inputs, found, spec, scratch, title="small")
