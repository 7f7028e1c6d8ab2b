"""The control study that a study of real text names: what the same instrument finds where the truth
is planted.

Invariant: the newest finished analysis of the control in the same storage is meant; its fingerprint
is part of the identity of the analysis that shows it, so a new control makes a new report.
"""

import difflib
import json
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.orchestration.step_folders import MARKER
from ccx_ray.study.loading import load_study, shipped_studies
from ccx_ray.study.spec import StudySpec

VERDICTS = "verdicts.json"
"""In the folder of an analysis of a planted world: its expectations with their verdicts."""


def find_control(study: StudySpec, storage: Path) -> Path | None:
    """The folder of the newest finished analysis of the study's control; None where the study names
    none, or where it has not been run.

    Raises:
        UserError: the study named plants no world, or is neither shipped nor in the storage.
    """
    if study.control is None:
        return None
    _check_control(study.control, storage)
    finished = sorted(
        (_marker(path.parent)["finished"], path.parent.name, path.parent)
        for path in (storage / study.control).glob(f"analysis-*/{MARKER}")
    )
    planted = [folder for *_, folder in finished if (folder / VERDICTS).is_file()]
    if finished and not planted:
        raise _plants_no_world(study.control)
    return planted[-1] if planted else None


def _check_control(name: str, storage: Path) -> None:
    if (storage / name).is_dir():
        return
    shipped = shipped_studies()
    if name not in shipped:
        near = difflib.get_close_matches(name, shipped, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "run it first, or name control-quick"
        raise UserError(
            f"control: {name!r} is neither a shipped study nor a study in {storage}; {hint}"
        )
    if load_study(name)[0].world is None:
        raise _plants_no_world(name)


def _plants_no_world(name: str) -> UserError:
    return UserError(
        f"control: {name!r} has no planted world; name a study that has one, such as control-quick"
    )


def control_identity(study: StudySpec, control: Path | None) -> dict[str, Any]:
    """What the control adds to the identity of the analysis; nothing where none is named."""
    if study.control is None:
        return {}
    fingerprint = None if control is None else _marker(control)["fingerprint"]
    return {"control": [study.control, fingerprint]}


def read_control(study: StudySpec, control: Path | None) -> dict[str, Any] | None:
    """What the control found: ``study``, ``sentence``, ``counts`` (of the verdicts) and
    ``expectations``, the last three None where it has not been run, and ``report``, the path of its
    page from the folder of this study's analysis. None where the study names none."""
    if study.control is None:
        return None
    empty = {"sentence": None, "counts": None, "expectations": None, "report": None}
    if control is None:
        return {"study": study.control, **empty}
    content: dict[str, Any] = json.loads((control / VERDICTS).read_text("utf-8"))
    return {**content, "report": f"../../{study.control}/{control.name}/report.html"}


def _marker(folder: Path) -> dict[str, Any]:
    marker: dict[str, Any] = json.loads((folder / MARKER).read_text("utf-8"))
    return marker
