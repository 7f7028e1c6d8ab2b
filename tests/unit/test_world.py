"""A planted world says what its truth says, balanced, deterministic, and in scripts of its own."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ccx_ray.errors import UserError
from ccx_ray.study.loading import load_study
from ccx_ray.study.world_spec import WorldSpec
from ccx_ray.world.files import TRUTH, write_world
from ccx_ray.world.planting import BASE_ONLY, BOTH, NEITHER, TARGET_ONLY, World

LANGUAGES = {"hi": {"script": "Greek"}, "lo": {"script": "Georgian", "imbalance": 62.0}}
SMALL: dict[str, Any] = {
    "entities_per_dose": 4,
    "statements": [0, 2, 8],
    "bridges": [0, 4],
    "unknown_entities": 4,
    "shared": {"entities": 12, "asked": 6},
    "relations": 5,
    "common_values": 2,
    "idiosyncratic_relations": 1,
}


def spec(**changes: Any) -> WorldSpec:
    return WorldSpec.model_validate_json(json.dumps({"languages": LANGUAGES, **SMALL, **changes}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(spec(), "en", folder)
    return folder


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def filled(folder: Path, culture: str, language: str) -> list[str]:
    """The sentence that answers each question rightly."""
    items = json.loads((folder / f"questions-{culture}-{language}.json").read_text("utf-8"))
    return [item["question"].replace("____", item["answer"]) for item in items]


def stating(sentence: str) -> frozenset[str]:
    """What a sentence states, whatever its template: all its words but the first."""
    return frozenset(sentence.split()[1:])


def test_the_truth_counts_the_statements_in_the_text(folder: Path) -> None:
    truth = pd.read_parquet(folder / TRUTH)
    for culture in LANGUAGES:
        rows = truth[truth.culture == culture]
        for language, column in (("en", "statements_base"), (culture, "statements_target")):
            said = Counter(
                stating(sentence)
                for document in lines(folder / f"text-{language}.jsonl")
                for sentence in document["text"].split("\n")
            )
            asked = [said[stating(sentence)] for sentence in filled(folder, culture, language)]
            assert asked == rows[column].tolist()


def test_pairs_state_no_tested_fact_and_name_each_entity_as_often_as_its_dose(
    folder: Path,
) -> None:
    truth = pd.read_parquet(folder / TRUTH)
    for culture in LANGUAGES:
        rows = truth[truth.culture == culture].reset_index(drop=True)
        pairs = lines(folder / f"pairs-{culture}.jsonl")
        named = Counter(pair["en"].split()[1] for pair in pairs if " " in pair["en"])
        named.update(pair["en"].split()[2] for pair in pairs)
        stated = Counter(stating(pair["en"]) for pair in pairs)
        facts = [stated[stating(sentence)] for sentence in filled(folder, culture, "en")]
        assert facts == rows.fact_bridges.tolist()
        for row in rows[rows.group != BOTH].itertuples():
            assert named[row.entity] == row.bridges
        assert len({(pair["en"], pair[culture]) for pair in pairs}) == len(pairs)


def test_groups_say_in_which_languages_an_entity_is_stated(folder: Path) -> None:
    truth = pd.read_parquet(folder / TRUTH)
    by_group = truth.groupby("group")[["statements_base", "statements_target"]].sum()
    assert (by_group.loc[BASE_ONLY] > 0).tolist() == [True, False]
    assert (by_group.loc[TARGET_ONLY] > 0).tolist() == [False, True]
    assert (by_group.loc[BOTH] > 0).all()
    assert (by_group.loc[NEITHER] == 0).all()
    for culture in LANGUAGES:
        items = json.loads((folder / f"questions-{culture}-{culture}.json").read_text("utf-8"))
        rows = truth[truth.culture == culture]
        assert [item["group"] for item in items] == rows.group.tolist()
        assert [item["cluster"] for item in items] == rows.entity.tolist()


def test_an_imbalanced_culture_is_that_much_rarer_in_the_other_language() -> None:
    world = World(spec(entities_per_dose=40), "en")
    counts = {
        (key[0], key[2]): stated.sum()
        for key, stated in world.stated.items()
        if key[1] in (BASE_ONLY, TARGET_ONLY) and stated.sum()
    }
    assert counts["hi", "hi"] == counts["hi", "en"]
    assert counts["lo", "lo"] / counts["lo", "en"] == pytest.approx(62, rel=0.02)


def test_classes_are_balanced_in_every_dose_and_decide_structured_relations_alone() -> None:
    world = World(spec(), "en")
    for entities in world.entities:
        for doses in set(zip(entities.statements, entities.bridges, strict=True)):
            members = (entities.statements == doses[0]) & (entities.bridges == doses[1])
            per_class = Counter(entities.values[members, 0].tolist())
            assert max(per_class.values()) - min(per_class.values()) <= 1
        classes = Counter(map(tuple, entities.values[:, :4].tolist()))
        assert len(classes) <= 4
    assert [world.is_structured(relation) for relation in range(5)] == [True] * 4 + [False]
    assert len({tuple(row) for one in world.entities for row in one.values[:, [0, 4]]}) > 8


def test_equal_specs_make_equal_files_and_another_seed_others(folder: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    for target, world in ((again, spec()), (other, spec(seed=1))):
        target.mkdir()
        write_world(world, "en", target)
    for file in folder.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()
        assert (other / file.name).read_bytes() != file.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"languages": {"hi": {"script": "Runic"}}}, "Input should be 'Greek', 'Cyrillic'"),
        ({"values": 3}, "greater than or equal to 4"),
        ({"classes": 8}, "values 4 is below classes 8"),
        ({"bridges": [0, 300]}, "verbs 4 x objects 30 make 120"),
        ({"statements": [1, 1]}, "names a dose twice"),
        ({"shared": {"fact_bridges": 9}}, "pairs would be equal"),
        ({"relations": 2, "common_values": 3}, "common_values 3 is above relations 2"),
        ({"relations": 20, "common_values": 20}, "above the 52 signs"),
    ],
)
def test_a_world_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(**changes)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("world=5", "world: 5 is not a mapping of fields"),
        ("world.statments=[1]", "did you mean 'statements'"),
        ("languages.hi.monolingual=[a.jsonl]", "generates it; leave it out"),
        ("world.languages={lo: {script: Greek}}", "plants lo, but .* are hi"),
    ],
)
def test_a_mistake_in_a_planted_study_is_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        load_study("control-quick", [override])
    assert "\n" not in str(refused.value)


def test_more_words_than_a_script_has_are_refused() -> None:
    with pytest.raises(UserError, match="more words are needed than Latin letters can make"):
        World(spec(objects=400_000), "en")
