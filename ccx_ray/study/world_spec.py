"""Study file: a planted world, whose text, pairs and questions are generated."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ccx_ray.study.text_spec import Count, PositiveInt, Spec

COMMON_SIGNS = 52
"""Number of values that all languages write alike; see ``ccx_ray/world/words.py``."""

Doses = Annotated[tuple[Count, ...], Field(min_length=1)]


class PlantedLanguageSpec(Spec):
    """Script of a planted language, and the imbalance of its culture between the languages."""

    script: Literal["Greek", "Cyrillic", "Georgian", "Armenian"]
    """Script of its invented words; those of the base language are Latin."""
    imbalance: Annotated[float, Field(gt=0)] = 1.0
    """Statements of the culture's tested facts in its own language per statement in the base
    language. The paper's Tibetan has 62."""


class SharedFactsSpec(Spec):
    """Entities whose facts all languages state, from which the model learns the alignment."""

    entities: PositiveInt = 160
    """Number of these entities."""
    base_statements: PositiveInt = 16
    """Statements of each fact in the base language's text."""
    target_statements: PositiveInt = 4
    """Statements of each fact in a target language's text; few, so that pairs add information."""
    bridges: Count = 16
    """Pairs that name the entity without stating a fact."""
    fact_bridges: Count = 4
    """Pairs that state each fact; at most the square of ``templates``, or pairs would be equal."""
    asked: Count = 16
    """Number of these entities that questions ask about."""


class WorldSpec(Spec):
    """A world of invented entities whose truth is known. Everything follows from ``seed``.

    A fact is the value of one relation of one entity. Each entity belongs to one of ``classes``
    latent classes, which decide the values. In each culture, some entities are stated in the base
    language only, and equally many in its own language only. For these the two doses are crossed
    at random: statements of each fact, and *bridges*, pairs that name the entity without a fact.
    """

    seed: Count = 0
    """Seed of the whole world."""
    languages: dict[str, PlantedLanguageSpec] = Field(min_length=1)
    """Settings by the codes of the study's target languages."""
    entities_per_dose: PositiveInt = 4
    """Entities per pair of doses and direction; a multiple of ``classes`` balances the values."""
    statements: Doses = (0, 1, 4, 16)
    """Doses: statements of a fact in the text."""
    bridges: Doses = (0, 1, 2, 4, 8)
    """Doses: pairs that name the entity."""
    unknown_entities: Count = 16
    """Entities per culture whose facts no language states."""
    shared: SharedFactsSpec = SharedFactsSpec()
    """Entities that all languages state."""
    classes: Annotated[int, Field(ge=2)] = 4
    """Latent classes of entities."""
    values: Annotated[int, Field(ge=4)] = 4
    """Values of each relation; the options of a question are four of them."""
    relations: PositiveInt = 8
    """Relations, and so facts of each entity."""
    common_values: Count = 4
    """Relations whose values all languages write alike, as they do numbers."""
    idiosyncratic_relations: Count = 0
    """Relations whose values are independent of the class."""
    templates: Annotated[int, Field(ge=1, le=4)] = 2
    """Sentence forms of a fact, which differ in words and word order."""
    neutral_sentences: Count = 4
    """Sentences per entity and language that state no fact."""
    verbs: PositiveInt = 4
    """Verbs of the neutral sentences."""
    objects: PositiveInt = 30
    """Objects of the neutral sentences."""
    sentences_per_document: PositiveInt = 3
    """Sentences per document."""

    @model_validator(mode="after")
    def possible(self) -> Self:
        if self.values < self.classes:
            raise ValueError(
                f"values {self.values} is below classes {self.classes}: two classes would share "
                "every fact"
            )
        for field in ("common_values", "idiosyncratic_relations"):
            if getattr(self, field) > self.relations:
                raise ValueError(
                    f"{field} {getattr(self, field)} is above relations {self.relations}"
                )
        for field in ("statements", "bridges"):
            doses = getattr(self, field)
            if len(set(doses)) < len(doses):
                raise ValueError(f"{field} {list(doses)} names a dose twice")
        if self.shared.fact_bridges > self.templates**2:
            raise ValueError(
                f"shared.fact_bridges {self.shared.fact_bridges} is above templates "
                f"{self.templates} squared: pairs would be equal and dropped as duplicates"
            )
        if self.common_values * self.values > COMMON_SIGNS:
            raise ValueError(
                f"common_values {self.common_values} x values {self.values} is above the "
                f"{COMMON_SIGNS} signs that all languages write alike"
            )
        neutral = self.verbs * self.objects
        most = max(*self.bridges, self.shared.bridges, self.neutral_sentences)
        if most > neutral:
            raise ValueError(
                f"verbs {self.verbs} x objects {self.objects} make {neutral} different neutral "
                f"sentences about an entity, but {most} are needed"
            )
        return self


def monolingual_file(language: str) -> str:
    """Name of a planted language's text."""
    return f"text-{language}.jsonl"


def pairs_file(language: str) -> str:
    """Name of the planted pairs of the base language with a target language."""
    return f"pairs-{language}.jsonl"


def questions_file(culture: str, language: str) -> str:
    """Name of a planted culture's questions in one language."""
    return f"questions-{culture}-{language}.json"


def with_planted_files(study: Mapping[str, Any]) -> dict[str, Any]:
    """A study whose languages name the files that its world will generate.

    Raises:
        ValueError: a language names files of its own, or the world plants other languages.
    """
    base, targets = study.get("base_language"), study.get("languages")
    world = study["world"]
    if not isinstance(world, dict):
        raise ValueError(f"world: {world!r} is not a mapping of fields, such as 'seed: 0'")
    if not isinstance(base, dict) or not isinstance(targets, list):
        return dict(study)  # of the wrong shape, which the fields' own checks say better
    planted, codes = sorted(world.get("languages", ())), sorted(str(t.get("code")) for t in targets)
    if planted != codes:
        raise ValueError(
            f"world.languages plants {', '.join(planted)}, but the study's target languages are "
            f"{', '.join(codes)}"
        )
    for language in (base, *targets):
        given = sorted({"monolingual", "parallel", "probes"} & set(language))
        if given:
            raise ValueError(
                f"languages.{language.get('code')}.{given[0]}: a study with a planted world "
                "generates it; leave it out"
            )
    code = str(base.get("code"))
    return {
        **study,
        "base_language": {**base, "monolingual": [monolingual_file(code)]},
        "languages": [
            {
                **target,
                "monolingual": [monolingual_file(target["code"])],
                "parallel": [pairs_file(target["code"])],
                "probes": {
                    "english": questions_file(target["code"], code),
                    "target": questions_file(target["code"], target["code"]),
                },
            }
            for target in targets
        ],
    }
