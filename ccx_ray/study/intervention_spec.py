"""Study file: interventions, which plant sentences into monolingual text at random doses."""

from collections.abc import Collection, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from ccx_ray.study.text_spec import Count, LanguageCode, PositiveInt, Spec

FROM_PROBE = "from-probe"


class InterventionSpec(Spec):
    """Items of one probe with random doses: the number of planted documents that state an item.

    An item has the same dose in all conditions and seeds.
    """

    text: LanguageCode
    """Language of the text: the probe's own language, or the base language."""
    probe: LanguageCode
    """Culture of the items."""
    sentences: str = FROM_PROBE
    """JSON Lines of ``{"question": 12, "text": "..."}``, where items count from 0 as in the probe
    file and may have several sentences. Or ``from-probe``: the probe's question in the language of
    the text, with the right answer in its blank."""
    items: PositiveInt | None = None
    """Number of sampled items among those with a sentence (default: all)."""
    doses: tuple[Count, ...] = Field(min_length=2)
    """Planted documents per item. Each dose is given to equally many items, up to a remainder."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampled items and of their doses."""

    @model_validator(mode="after")
    def doses_can_be_given(self) -> Self:
        if repeated := sorted({dose for dose in self.doses if self.doses.count(dose) > 1}):
            raise ValueError(f"doses name {', '.join(map(str, repeated))} more than once")
        if self.items is not None and self.items < len(self.doses):
            raise ValueError(f"items {self.items} are fewer than the {len(self.doses)} doses")
        return self


def check_intervened(
    interventions: Sequence[InterventionSpec],
    *,
    base: str,
    trained: Collection[str],
    plants_world: bool,
) -> None:
    """Check that text and probe of every intervention belong to the study's trainings.

    Raises:
        ValueError: a training would not both read the text and be asked about the probe.

    Args:
        base: the base language.
        trained: the target languages of the grid.
        plants_world: whether the study plants a whole world.
    """
    if interventions and plants_world:
        raise ValueError(
            "interventions and world are both given: a planted world has its doses in "
            "world.statements and world.bridges; leave interventions out"
        )
    seen: set[tuple[str, str]] = set()
    for place, one in enumerate(interventions):
        field = f"interventions.{place}"
        if one.probe not in trained:
            raise ValueError(
                f"{field}.probe {one.probe!r} must be one of the trained languages: "
                f"{', '.join(trained)}"
            )
        if one.text not in (one.probe, base):
            raise ValueError(
                f"{field}.text {one.text!r} must be the probe's language {one.probe} or the base "
                f"language {base}: trainings on other text are not asked about {one.probe}"
            )
        if (one.text, one.probe) in seen:
            raise ValueError(
                f"{field}: an earlier intervention plants items of {one.probe} into the text of "
                f"{one.text}; give all doses in one intervention"
            )
        seen.add((one.text, one.probe))
