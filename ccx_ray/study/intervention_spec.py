"""Study file: sentences planted into monolingual text at chosen frequencies, to see whether
frequency decides transfer."""

from collections.abc import Collection, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from ccx_ray.study.text_spec import Count, LanguageCode, PositiveInt, Spec

FROM_PROBE = "from-probe"


class InterventionSpec(Spec):
    """Items of one probe that are given doses at random: how many documents of a text state them.

    An item keeps its dose in all conditions and seeds.
    """

    text: LanguageCode
    """Whose monolingual text gets the sentences: the probe's own language, or the base language."""
    probe: LanguageCode
    """The culture whose items are given doses."""
    sentences: str = FROM_PROBE
    """JSON Lines of ``{"question": 12, "text": "..."}``, questions counted from 0 as in the probe's
    file, one or several sentences an item; or ``from-probe``: the probe's own question in the
    language of the text, with the right answer in its blank."""
    items: PositiveInt | None = None
    """How many of the items that have a sentence are drawn; all of them when absent."""
    doses: tuple[Count, ...] = Field(min_length=2)
    """Documents of an item; as many items get each of them, but for what is left over."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the items that are drawn and of their doses."""

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
    """Raises a ValueError where text and probe of an intervention are none of the study, or none
    that a training would both read and be asked about.

    Args:
        base: the base language.
        trained: the target languages of the grid.
        plants_world: whether the study plants a whole world.
    """
    if interventions and plants_world:
        raise ValueError(
            "interventions stand beside world: a planted world has its doses in world.statements "
            "and world.bridges; leave interventions out"
        )
    seen: set[tuple[str, str]] = set()
    for place, one in enumerate(interventions):
        field = f"interventions.{place}"
        if one.probe not in trained:
            raise ValueError(
                f"{field}.probe {one.probe!r} must be one of the languages that are trained on: "
                f"{', '.join(trained)}"
            )
        if one.text not in (one.probe, base):
            raise ValueError(
                f"{field}.text {one.text!r} must be the probe's language {one.probe} or the base "
                f"language {base}: no training reads another text and is asked about {one.probe}"
            )
        if (one.text, one.probe) in seen:
            raise ValueError(
                f"{field}: an earlier one plants items of {one.probe} into the text of {one.text} "
                "already; give all doses in one"
            )
        seen.add((one.text, one.probe))
