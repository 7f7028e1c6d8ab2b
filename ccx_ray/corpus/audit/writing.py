"""What an audit leaves: ``audit.json``, ``audit.html``, ``contamination.parquet``, ``samples/``."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from ccx_ray.corpus.audit.figures import AuditFigures
from ccx_ray.corpus.audit.inputs import AuditInputs
from ccx_ray.corpus.audit.page import audit_page, sample_page
from ccx_ray.corpus.audit.part_audit import HALVES, PartAudit
from ccx_ray.corpus.audit.summary import contamination_of, summarize
from ccx_ray.corpus.audit.verdicts import verdicts
from ccx_ray.storage.publishing import publish_bytes, publish_json
from ccx_ray.study.text_spec import AuditSpec

FIGURES = "audit.json"
PAGE = "audit.html"
CONTAMINATION = "contamination.parquet"


def write_audit(
    folder: Path, inputs: AuditInputs, found: PartAudit, spec: AuditSpec, *, title: str
) -> AuditFigures:
    """Write what all tasks together found.

    Args:
        folder: the one that ``audit_tasks`` was given.
        title: whose audit it is, such as the study's name.
    """
    contamination = contamination_of(inputs, found)
    figures = summarize(inputs, found, contamination, spec)
    pq.write_table(contamination, folder / CONTAMINATION, compression="zstd")
    (folder / "samples").mkdir(exist_ok=True)
    for table in inputs.tables:
        page = sample_page(table, found.drawn.get(table.name, []), figures, title=title)
        publish_bytes(folder / "samples" / table.page, page.encode())
    page = audit_page(figures, verdicts(figures, spec), title=title)
    publish_bytes(folder / PAGE, page.encode())
    publish_json(folder / FIGURES, figures.content())
    for language in inputs.languages:
        (folder / HALVES.format(language=language.code)).unlink(missing_ok=True)
    return figures


def read_figures(folder: Path) -> AuditFigures:
    """The figures of a finished audit."""
    return AuditFigures.model_validate(json.loads((folder / FIGURES).read_text("utf-8")))
