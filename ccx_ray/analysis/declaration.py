"""The declared analysis: what is to be computed, written down before the first trial starts.

Invariant: a declaration is replaced only while no trial has begun; from then on what is shown is
compared with it, and differences are named.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import StudySpec

DECLARATION = "declaration.json"
"""In the folder of a study."""


def declared_parts(study: StudySpec) -> dict[str, Any]:
    """Everything in a study that decides what its analysis computes, by the names of its fields."""
    parts = {
        f"{part}.{name}": value
        for part in ("analysis", "evaluation")
        for name, value in getattr(study, part).model_dump(mode="json").items()
    }
    return {**parts, "trials.seeds": list(study.trials.seeds)}


def declaration_hash(parts: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of what is declared."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def declare(study: StudySpec, study_folder: Path) -> None:
    """Write down the study's analysis, unless a trial has begun under an earlier declaration."""
    parts = declared_parts(study)
    has_begun = any(study_folder.glob("trial-*"))
    found = read_declaration(study_folder)
    if found is not None and (has_begun or found["hash"] == declaration_hash(parts)):
        return
    content = {
        "hash": declaration_hash(parts),
        "declared": datetime.now(UTC).isoformat(timespec="seconds"),
        "in_time": not has_begun,
        "parts": parts,
    }
    publish_json(study_folder / DECLARATION, content)


def read_declaration(study_folder: Path | None) -> dict[str, Any] | None:
    """The declaration of a study: ``hash``, ``declared`` (time), ``in_time`` (no trial had begun)
    and ``parts``; None where there is none."""
    path = (study_folder or Path()) / DECLARATION
    if study_folder is None or not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def compare_declaration(
    study: StudySpec, declaration: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The declaration beside the analysis that is shown: ``hash``, ``declared``, ``in_time``,
    ``shown`` (the hash of what is shown) and ``changes``, each a field with the declared and the
    shown value."""
    if declaration is None:
        return None
    parts, declared = declared_parts(study), declaration["parts"]
    changes = [
        {"field": name, "declared": declared.get(name), "shown": parts.get(name)}
        for name in {**declared, **parts}
        if declared.get(name) != parts.get(name)
    ]
    kept = {name: declaration[name] for name in ("hash", "declared", "in_time")}
    return {**kept, "shown": declaration_hash(parts), "changes": changes}
