"""The grid of trials and their names, ``<language>-<bridge|nobridge|deranged>-s<seed>``."""

from dataclasses import dataclass

from ccx_ray.errors import UserError
from ccx_ray.study.spec import Condition, StudySpec


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One continual-pretraining run of the grid."""

    language: str
    condition: Condition
    seed: int

    @property
    def name(self) -> str:
        return f"{self.language}-{self.condition}-s{self.seed}"


def trial_grid(study: StudySpec) -> tuple[Trial, ...]:
    """Languages x seeds x conditions, the conditions of a language and seed side by side."""
    return tuple(
        Trial(language=language.code, condition=condition, seed=seed)
        for seed in study.trials.seeds
        for language in study.trial_languages
        for condition in study.trials.conditions
    )


def find_trial(study: StudySpec, name: str) -> Trial:
    """The trial of this name.

    Raises:
        UserError: the grid has no such trial.
    """
    grid = {trial.name: trial for trial in trial_grid(study)}
    if name not in grid:
        raise UserError(
            f"trial: {name!r} is not in study {study.name!r}; its trials are {', '.join(grid)}"
        )
    return grid[name]
