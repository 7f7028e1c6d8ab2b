"""The study file and the provenance of an export.

Invariants: ``study.yaml`` is a study file that gives the fingerprints of the exported steps again,
where the text is as it was; neither file names a machine, a place of the study's storage or a
credential.
"""

import json
from typing import Any

from ccx_ray.analysis.declaration import read_declaration
from ccx_ray.export.finished import FinishedStudy
from ccx_ray.orchestration.provenance import capture_provenance, hide_credentials
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.yaml_text import dump_yaml

FORMAT = 1
"""Of ``provenance.json``; raised when a name in it changes its meaning."""
PLACES = ("storage", "tracking_uri", "checkpoint_storage")
PLANTED = ("monolingual", "parallel", "probes")
"""Fields of a language that a planted world fills in."""
COUNTED_KINDS = ("stream", "training")
OF_A_RUN = ("started", "finished", "commit", "python", "platform", "processors", "versions")


def study_tree(study: StudySpec) -> dict[str, Any]:
    """A study as a study file has it, with every default, without the places that it ran in."""
    tree: dict[str, Any] = hide_credentials(study.model_dump(mode="json"))
    for field in PLACES:
        del tree["runtime"][field]
    del tree["runtime"]["judge"]["url"]
    if study.world is not None:
        for language in (tree["base_language"], *tree["languages"]):
            for field in PLANTED:
                language.pop(field, None)
    return tree


def study_yaml(study: StudySpec) -> str:
    """``study.yaml``."""
    return dump_yaml(study_tree(study))


def provenance_json(finished: FinishedStudy) -> str:
    """``provenance.json``: of every step its identity, what it was made of, when, and by what."""
    steps = [
        {
            "name": step.name,
            "kind": step.kind,
            "fingerprint": step.marker["fingerprint"],
            "identity": step.marker["identity"],
            "upstream": step.marker["upstream"],
            **{name: step.marker[name] for name in OF_A_RUN},
            **({"counts": step.counts} if step.kind in COUNTED_KINDS else {}),
        }
        for step in finished.steps.values()
    ]
    content = {
        "format": FORMAT,
        "study": finished.study.name,
        "fingerprint": finished.analysis.marker["fingerprint"],
        "exported_by": capture_provenance()["commit"],
        "declaration": read_declaration(finished.folder),
        "steps": steps,
    }
    return json.dumps(hide_credentials(content), indent=1, ensure_ascii=False) + "\n"
