"""One audit from its tasks to its pages."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ccx_ray.corpus.audit.figures import AuditFigures
from ccx_ray.corpus.audit.inputs import AuditInputs
from ccx_ray.corpus.audit.part_audit import PartAudit, audit_part, audit_tasks, merge_parts
from ccx_ray.corpus.audit.writing import write_audit
from ccx_ray.orchestration.tasks import RunTasks, WorkLog
from ccx_ray.study.text_spec import AuditSpec


def audit(
    inputs: AuditInputs, spec: AuditSpec, folder: Path, *, title: str, run_tasks: RunTasks
) -> AuditFigures:
    """Audit everything and write what was found into ``folder``; see ``writing``."""
    log = WorkLog(folder, "audit")
    log.scratch.mkdir(parents=True, exist_ok=True)
    tasks = audit_tasks(inputs, spec, folder)

    def found_of(number: int) -> Path:
        return log.scratch / f"found-{number:06d}.pickle"

    def run(number: int) -> dict[str, Any]:
        found_of(number).write_bytes(pickle.dumps(audit_part(tasks[number])))
        return {}

    run_tasks(log, len(tasks), run)

    def found() -> Iterator[PartAudit]:
        for number in range(len(tasks)):
            yield pickle.loads(found_of(number).read_bytes())

    figures = write_audit(folder, inputs, merge_parts(found(), spec), spec, title=title)
    shutil.rmtree(log.scratch)  # the folder goes to MLflow as it stands
    return figures
