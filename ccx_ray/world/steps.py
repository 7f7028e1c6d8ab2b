"""The step that makes a planted world."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.spec import StudySpec


def world_step(study: StudySpec) -> Step | None:
    """The step of a study that plants a world; nothing for one that reads real text."""
    if study.world is None:
        return None
    return Step(
        name="world",
        kind="world",
        version=1,
        identity={"base": study.base_language.code, **study.world.model_dump()},
        run=partial(_plant, study),
    )


def check_world(study: StudySpec) -> None:
    """Raises a UserError where the world of a study cannot be made."""
    if study.world is not None:
        from ccx_ray.world.planting import World

        World(study.world, study.base_language.code)


def _plant(study: StudySpec, work: StepWork) -> Mapping[str, Any]:
    from ccx_ray.world.files import write_world

    assert study.world is not None
    return write_world(study.world, study.base_language.code, work.folder)
