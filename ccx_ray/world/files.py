"""The files of a planted world: text, pairs, questions in the published layout, and the truth."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ccx_ray.study.world_spec import (
    WorldSpec,
    monolingual_file,
    pairs_file,
    questions_file,
)
from ccx_ray.world.planting import BOTH, Question, World

TRUTH = "truth.parquet"


def write_world(spec: WorldSpec, base: str, folder: Path) -> dict[str, Any]:
    """Write a world into a folder.

    Returns:
        how much there is of it, by language.

    Raises:
        UserError: an alphabet is unknown, or the world has too few sentences.
    """
    world = World(spec, base)
    counts: dict[str, Any] = {}
    for code in (base, *spec.languages):
        documents = world.documents(code)
        _write_lines(
            folder / monolingual_file(code),
            ({"id": f"{code}-{n}", "text": text} for n, text in enumerate(documents)),
        )
        counts[code] = {"documents": len(documents)}
    truth = []
    for code in spec.languages:
        pairs = world.pairs(code)
        _write_lines(
            folder / pairs_file(code),
            ({"id": f"pair-{n}", base: one, code: two} for n, (one, two) in enumerate(pairs)),
        )
        questions = list(world.questions(code))
        for language in (base, code):
            items = [_item(world, code, language, question) for question in questions]
            text = json.dumps(items, ensure_ascii=False, indent=1)
            (folder / questions_file(code, language)).write_text(text, encoding="utf-8")
        truth += [_truth(world, code, n, question) for n, question in enumerate(questions)]
        counts[code] |= {"pairs": len(pairs), "questions": len(questions)}
    pd.DataFrame(truth).to_parquet(folder / TRUTH, index=False)
    return counts


def _write_lines(path: Path, records: Iterable[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _names(world: World, culture: str, question: Question) -> tuple[str, str]:
    """An entity's names in the base language and in the culture's own."""
    first, second = (
        world.lexicon(code).names[question.entities.key][question.entity]
        for code in (world.base, culture)
    )
    return first, second


def _item(world: World, culture: str, language: str, question: Question) -> dict[str, Any]:
    words = world.lexicon(language)
    values = words.values[question.relation]
    name, own_name = _names(world, culture, question)
    asked = name if language == world.base else own_name
    return {
        "question": words.fact(asked, question.relation, "____", 0),
        "options": [values[value] for value in question.options],
        "answer": values[question.answer],
        "group": world.stated_in(question),
        "cluster": name,
    }


def _truth(world: World, culture: str, index: int, question: Question) -> dict[str, Any]:
    """A row of the truth: what was planted of one question's fact and of its entity."""
    entities, place = question.entities, (question.entity, question.relation)
    name, own_name = _names(world, culture, question)
    return {
        "culture": culture,
        "question": index,
        "group": world.stated_in(question),
        "entity": name,
        "entity_target": own_name,
        "relation": question.relation,
        "structured": world.is_structured(question.relation),
        "common_value": question.relation < world.spec.common_values,
        "statement_dose": int(entities.statements[question.entity]),
        "statements_base": int(world.stated[*entities.key, world.base][place]),
        "statements_target": int(world.stated[*entities.key, culture][place]),
        "bridges": int(entities.bridges[question.entity]),
        "fact_bridges": world.spec.shared.fact_bridges if entities.group == BOTH else 0,
    }
