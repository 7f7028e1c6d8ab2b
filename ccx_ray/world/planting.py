"""A planted world: its entities, their facts, and every sentence that states or names them.

An entity has a latent class, and the class decides the value of every structured relation: facts
that follow a class are learnt by models of a tenth of a million parameters, facts without
structure hardly transfer in them. A target-language name then need only come to stand where the
base-language name stands, which is what bridges teach.

Doses are assigned at random and crossed, so what differs between the questions of two doses is the
dose. Invariants: everything is a function of the spec; classes are balanced in every dose; no pair
states a tested fact.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ccx_ray.errors import UserError
from ccx_ray.study.world_spec import WorldSpec
from ccx_ray.world.words import COMMON_VALUES, Words

Ints = npt.NDArray[np.int64]

BASE_ONLY, TARGET_ONLY, BOTH, NEITHER = "base_only", "target_only", "both", "neither"
"""In which languages' text the facts of an entity are stated; the groups of the questions."""

# Each choice draws from a generator of its own, so that one does not shift another.
ENTITIES, NAMES, STATEMENTS, NEUTRAL, PAIRS, OPTIONS, DOCUMENTS = range(7)


@dataclass(frozen=True, kw_only=True)
class Entities:
    """The entities of one group and what is said of them."""

    culture: str
    """Code of the target language; empty for those that all cultures share."""
    group: str
    statements: Ints
    """[entities] the dose: statements of each fact."""
    bridges: Ints
    """[entities] pairs that name the entity and state no fact."""
    values: Ints
    """[entities, relations] the truth."""

    def __len__(self) -> int:
        return len(self.statements)

    @property
    def key(self) -> tuple[str, str]:
        return self.culture, self.group


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """The words of one language."""

    particles: Sequence[str]
    """[templates] first word of a sentence, so that every other word follows a space."""
    relations: Sequence[str]
    values: Sequence[Sequence[str]]
    """[relations][values]"""
    verbs: Sequence[str]
    objects: Sequence[str]
    names: dict[tuple[str, str], Sequence[str]]
    """(culture, group) -> the names of its entities."""
    mirrored: bool
    """Whether word orders are those of the base language turned round."""

    def fact(self, name: str, relation: int, value: str, template: int) -> str:
        """A sentence that states a fact; its value stands last."""
        words = [name, self.relations[relation]]
        if (template % 2 == 1) != self.mirrored:
            words.reverse()
        return " ".join([self.particles[template], *words, value])

    def neutral(self, name: str, verb: int, thing: int) -> str:
        words = [self.verbs[verb], self.objects[thing]]
        if self.mirrored:
            words.reverse()
        return " ".join([self.particles[0], name, *words])


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about one fact, in the base language and in the culture's own."""

    entities: Entities
    entity: int
    """Place among these."""
    relation: int
    options: tuple[int, ...]
    """Values, in the order of the options."""

    @property
    def answer(self) -> int:
        """The right value."""
        return int(self.entities.values[self.entity, self.relation])


class World:
    """What a ``WorldSpec`` describes.

    Raises:
        UserError: a script has too few words for it.
    """

    def __init__(self, spec: WorldSpec, base: str) -> None:
        self.spec, self.base = spec, base
        self.entities = tuple(self._make_entities())
        self._lexicons = {base: self._make_lexicon(base, "Latin", mirrored=False)}
        for code, language in spec.languages.items():
            self._lexicons[code] = self._make_lexicon(code, language.script, mirrored=True)
        self.stated = {
            (*entities.key, code): self._count_statements(entities, code)
            for entities in self.entities
            for code in self._lexicons
        }

    def lexicon(self, language: str) -> Lexicon:
        return self._lexicons[language]

    def is_structured(self, relation: int) -> bool:
        """Whether the values of a relation follow the classes."""
        return relation < self.spec.relations - self.spec.idiosyncratic_relations

    def documents(self, language: str) -> list[str]:
        """The monolingual text of a language, no two documents equal.

        Raises:
            UserError: the world has too few sentences for that.
        """
        sentences = np.array([*self._fact_sentences(language), *self._neutral_sentences(language)])
        random = self._random(DOCUMENTS, language)
        size = self.spec.sentences_per_document
        for _ in range(20):
            random.shuffle(sentences)
            documents = ["\n".join(sentences[i : i + size]) for i in range(0, len(sentences), size)]
            if len(set(documents)) == len(documents):
                return documents
        raise UserError(
            f"world.sentences_per_document: documents of {size} of the {len(set(sentences))} "
            f"different sentences of {language} are equal and would be removed; give more"
        )

    def pairs(self, language: str) -> list[tuple[str, str]]:
        """Sentences of the base language with their translations, no two pairs equal."""
        base, own, pairs = self.lexicon(self.base), self.lexicon(language), []
        for entities in self._known_in(language):
            key = entities.key
            names = list(zip(base.names[key], own.names[key], strict=True))
            random = self._random(PAIRS, language, *key)
            for (name, own_name), count in zip(names, entities.bridges.tolist(), strict=True):
                for verb, thing in self._draw_neutral(count, random):
                    pairs.append(
                        (base.neutral(name, verb, thing), own.neutral(own_name, verb, thing))
                    )
            if entities.group != BOTH:
                continue
            ways = list(product(range(self.spec.templates), repeat=2))
            for entity, relation in product(range(len(entities)), range(self.spec.relations)):
                value = int(entities.values[entity, relation])
                for way in random.permutation(len(ways))[: self.spec.shared.fact_bridges]:
                    halves = zip((base, own), names[entity], ways[way], strict=True)
                    first, second = (
                        words.fact(name, relation, words.values[relation][value], template)
                        for words, name, template in halves
                    )
                    pairs.append((first, second))
        return pairs

    def questions(self, culture: str) -> Iterator[Question]:
        """Every fact of a culture's own entities, and of some that all cultures share."""
        for entities in self._known_in(culture):
            random = self._random(OPTIONS, culture, *entities.key)
            asked = self.spec.shared.asked if entities.group == BOTH else len(entities)
            for entity, relation in product(
                range(min(asked, len(entities))), range(self.spec.relations)
            ):
                right = int(entities.values[entity, relation])
                wrong = random.permutation(np.delete(np.arange(self.spec.values), right))[:3]
                options = random.permutation([right, *wrong]).tolist()
                yield Question(
                    entities=entities, entity=entity, relation=relation, options=tuple(options)
                )

    def stated_in(self, question: Question) -> str:
        """The group of a question: in which languages anything is stated of its entity."""
        entities = question.entities
        stated = any(
            self.stated[*entities.key, code][question.entity].any() for code in self._lexicons
        )
        return entities.group if stated else NEITHER

    def _random(self, choice: int, *names: str) -> np.random.Generator:
        key = [byte for name in names for byte in (*name.encode(), 0)]
        return np.random.default_rng((self.spec.seed, choice, *key))

    def _known_in(self, language: str) -> list[Entities]:
        """The entities that have a name in a target language."""
        return [one for one in self.entities if one.culture in ("", language)]

    def _make_entities(self) -> Iterator[Entities]:
        spec = self.spec
        random = self._random(ENTITIES)
        ranks = [random.permutation(spec.values)[: spec.classes] for _ in range(spec.relations)]

        def entities(culture: str, group: str, statements: Ints, bridges: Ints) -> Entities:
            classes = np.zeros(len(statements), np.int64)
            cells = np.unique(np.stack([statements, bridges]), axis=1).T
            for cell in cells:
                members = np.flatnonzero((statements == cell[0]) & (bridges == cell[1]))
                turn = np.arange(len(members)) + random.integers(spec.classes)
                classes[members] = random.permutation(turn % spec.classes)
            values = np.stack(
                [
                    rank[classes]
                    if self.is_structured(relation)
                    else random.integers(spec.values, size=len(classes))
                    for relation, rank in enumerate(ranks)
                ],
                axis=1,
            )
            return Entities(
                culture=culture, group=group, statements=statements, bridges=bridges, values=values
            )

        shared = spec.shared
        yield entities(
            "", BOTH,
            np.full(shared.entities, shared.base_statements),
            np.full(shared.entities, shared.bridges),
        )  # fmt: skip
        doses = np.array(list(product(spec.statements, spec.bridges)) * spec.entities_per_dose).T
        unknown = np.resize(spec.bridges, spec.unknown_entities).astype(np.int64)
        for culture in spec.languages:
            yield entities(culture, BASE_ONLY, *doses)
            yield entities(culture, TARGET_ONLY, *doses)
            yield entities(culture, NEITHER, np.zeros_like(unknown), unknown)

    def _make_lexicon(self, code: str, script: str, *, mirrored: bool) -> Lexicon:
        spec = self.spec
        words = Words(script, self._random(NAMES, code))
        signs = [
            COMMON_VALUES[relation * spec.values : (relation + 1) * spec.values]
            for relation in range(spec.common_values)
        ]
        named = self.entities if code == self.base else self._known_in(code)
        return Lexicon(
            particles=words.take(spec.templates),
            relations=words.take(spec.relations),
            values=[
                list(signs[relation]) if relation < spec.common_values else words.take(spec.values)
                for relation in range(spec.relations)
            ],
            verbs=words.take(spec.verbs),
            objects=words.take(spec.objects),
            names={one.key: words.take(len(one)) for one in named},
            mirrored=mirrored,
        )

    def _count_statements(self, entities: Entities, language: str) -> Ints:
        """[entities, relations] how often each fact is stated in a language's monolingual text."""
        shape = (len(entities), self.spec.relations)
        none = np.zeros(shape, np.int64)
        if entities.group == BOTH:
            shared = self.spec.shared
            count = shared.base_statements if language == self.base else shared.target_statements
            return none + count
        own = self.base if entities.group == BASE_ONLY else entities.culture
        if entities.group == NEITHER or language != own:
            return none
        counts = none + entities.statements[:, None]
        imbalance = self.spec.languages[entities.culture].imbalance
        ratio = 1 / imbalance if language == self.base else imbalance
        if ratio >= 1:
            return counts
        # A part of the statements, drawn at random: the doses of the rarer language are as many
        # times smaller as the culture is rarer there.
        total = int(counts.sum())
        kept = self._random(STATEMENTS, *entities.key).choice(
            np.repeat(np.arange(counts.size), counts.ravel()), round(total * ratio), replace=False
        )
        return np.bincount(kept, minlength=counts.size).reshape(shape).astype(np.int64)

    def _fact_sentences(self, language: str) -> Iterator[str]:
        words = self.lexicon(language)
        for entities in self.entities:
            key = entities.key
            if key not in words.names:
                continue
            random = self._random(STATEMENTS, language, *key)
            stated = self.stated[*key, language]
            for entity, relation in product(range(len(entities)), range(self.spec.relations)):
                value = words.values[relation][entities.values[entity, relation]]
                for template in random.integers(
                    self.spec.templates, size=stated[entity, relation]
                ).tolist():
                    yield words.fact(words.names[key][entity], relation, value, template)

    def _neutral_sentences(self, language: str) -> Iterator[str]:
        words = self.lexicon(language)
        for key, names in words.names.items():
            random = self._random(NEUTRAL, language, *key)
            for name in names:
                for verb, thing in self._draw_neutral(self.spec.neutral_sentences, random):
                    yield words.neutral(name, verb, thing)

    def _draw_neutral(self, count: int, random: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Different verbs and objects."""
        ways = self.spec.verbs * self.spec.objects
        for way in random.choice(ways, count, replace=False).tolist():
            yield divmod(way, self.spec.objects)
