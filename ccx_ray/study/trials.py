"""The bases of a study, and its grid of trials, ``<language>-<condition>-s<seed>``."""

from dataclasses import dataclass

from ccx_ray.errors import UserError
from ccx_ray.study.spec import Condition, StudySpec


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One continual-pretraining run of the grid."""

    language: str
    condition: Condition
    seed: int
    base: str = "base"
    """Name of the base that it starts from."""

    @property
    def name(self) -> str:
        return f"{self.language}-{self.condition}-s{self.seed}"

    @property
    def step(self) -> str:
        """Name of the step that trains it."""
        return f"trial-{self.name}"


def base_seeds(study: StudySpec) -> dict[str, int]:
    """Name -> seed of every base: ``base``, and ``base-s1`` where there are more."""
    first, *others = study.base.seeds
    return {"base": first} | {f"base-s{seed}": seed for seed in others}


def trial_grid(study: StudySpec) -> tuple[Trial, ...]:
    """Languages x seeds x conditions, the conditions of a seed side by side and from one base."""
    bases = list(base_seeds(study))
    return tuple(
        Trial(
            language=language.code,
            condition=condition,
            seed=seed,
            base=bases[place % len(bases)],
        )
        for place, seed in enumerate(study.trials.seeds)
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
