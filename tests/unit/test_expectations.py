"""Verdicts on a planted world: each kind holds, fails, or cannot be told where it should."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ccx_ray.analysis.measures.expectations import (
    EXPECTATIONS,
    control_sentence,
    expectation_rows,
    verdict,
    verdict_counts,
)
from ccx_ray.analysis.measures.planted import (
    control_accuracy_rows,
    control_dose_rows,
    estimate,
    mean_value,
    sample,
    slope,
)
from ccx_ray.analysis.tables import Row
from tests.planted_study import (
    Known,
    as_hoped,
    planted_spec,
    planted_table,
    stated_in,
    write_planted,
)

STUDY = planted_spec()
CELLS = [(culture, direction) for culture in ("hi", "lo") for direction in
         ("base-to-target", "target-to-base")]  # fmt: skip


def expectations(planted: pd.DataFrame) -> dict[tuple[str, str, str | None], Row]:
    rows = list(expectation_rows(STUDY, planted))
    return {(row.name, row.culture, row.direction): row for row in rows}


def worsened(run: str, language: str, row: Mapping[str, Any]) -> int:
    """Bridges make answers worse, more so in English; trials know what they cannot know and have
    forgotten what they should know; of ``lo`` only the rare direction transfers."""
    stated = stated_in(row)
    if run == "base":
        return 2
    if language in stated:
        return 0
    if row["culture"] == "lo" and stated:
        return 8 if "-bridge-" in run and language == "lo" else 1
    if "-bridge-" not in run or not stated:
        return 6
    harm = row["bridges"].bit_length() + min(2, row["statement_dose"].bit_length())
    return 6 - (language == "en") - harm


def by_chance(run: str, language: str, row: Mapping[str, Any]) -> int:
    """All or nothing of an entity, by its name and the run, whatever was planted."""
    draw = np.random.default_rng([*f"{run.partition('-')[2]}{row['entity']}{language}".encode()])
    return 8 if draw.random() < 0.25 else 0


def answered(planted: pd.DataFrame, known: Known) -> pd.DataFrame:
    """The same questions with other answers."""
    rows = planted.to_dict("records")
    right = [
        row["relation"]
        < known(
            "base" if row["seed"] < 0 else f"{row['culture']}-{row['condition']}-s{row['seed']}",
            row["culture"] if row["direction"] == "base-to-target" else "en",
            row,
        )
        for row in rows
    ]
    return planted.assign(right=np.array(right, np.float64))


@pytest.fixture(scope="module")
def hoped(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return planted_table(write_planted(tmp_path_factory.mktemp("hoped"), STUDY, as_hoped))


@pytest.mark.parametrize(
    ("expected", "low", "high", "seeds", "found"),
    [
        ("positive", 0.01, 0.30, (0.1, 0.2), "holds"),
        ("positive", 0.01, 0.30, (0.3, -0.1), "cannot be told"),
        ("positive", -0.01, 0.30, (0.1, 0.2), "cannot be told"),
        ("positive", -0.30, -0.01, (-0.1, -0.2), "does not hold"),
        ("positive", math.nan, math.nan, (), "cannot be told"),
        ("zero", -0.05, 0.05, (0.0,), "holds"),
        ("zero", 0.01, 0.04, (0.02,), "holds"),
        ("zero", -0.06, 0.04, (0.0,), "cannot be told"),
        ("zero", 0.01, 0.06, (0.03,), "does not hold"),
        ("zero", -0.20, -0.01, (-0.1,), "does not hold"),
        ("zero", math.nan, math.nan, (), "cannot be told"),
    ],
)
def test_one_rule_for_each_kind(
    expected: Any, low: float, high: float, seeds: tuple[float, ...], found: str
) -> None:
    assert verdict(expected, low, high, seeds) == found


def test_what_is_as_planted_holds_with_the_numbers_that_were_planted(hoped: pd.DataFrame) -> None:
    found = expectations(hoped)
    # Of 16 entities in each direction, no difference can be placed within 5 points.
    assert {key for key, row in found.items() if row.verdict != "holds"} == {
        ("asymmetry", "hi", None)
    }
    assert found["asymmetry", "hi", None].verdict == "cannot be told"
    names = [one.name for one in EXPECTATIONS if one.name != "deranged"]
    everywhere = [name for name in names if name != "learnt" and "rising" not in name]
    hi = {(name, "hi", direction) for name in names for _, direction in CELLS[:2]}
    lo = {(name, "lo", direction) for name in everywhere for _, direction in CELLS[:2]}
    learnt = {("learnt", "lo", "target-to-base")}
    assert set(found) == hi | lo | learnt | {("asymmetry", c, None) for c in ("hi", "lo")}
    # Doses 1 and 63, bridges 1 and 3, four entities each: 4.5 and 5.5 of 8 relations on average.
    for direction in ("base-to-target", "target-to-base"):
        row = found["transfer", "hi", direction]
        assert (row.expected, row.entities, row.questions) == ("positive", 16, 128)
        assert row.estimate == pytest.approx(3 / 8)
        assert row.seeds == pytest.approx([3 / 8, 3 / 8])
        assert row.question_low < 3 / 8 < row.question_high
        assert math.isnan(row.low), "of two trainings nothing is said of others"
    assert found["transfer", "lo", "base-to-target"].expected == "zero"
    assert found["asymmetry", "hi", None].estimate == pytest.approx(0)
    assert found["asymmetry", "lo", None].estimate == pytest.approx(3 / 8)
    assert found["asymmetry", "lo", None].statistic == (
        "transfer Low → English minus transfer English → Low"
    )
    assert found["learnt", "hi", "target-to-base"].estimate == pytest.approx(6 / 8)
    assert found["rising with statements", "hi", "base-to-target"].statistic == (
        "slope of bridge minus no-bridge on log2(1 + statements in English), asked in High, facts "
        "stated in English alone or nowhere, entities with a bridge"
    )
    # 0 without a bridge, 2 to 3 relations with one, 3 to 4 with three (means 2.5 and 3.5).
    by_bridges = np.polyfit([0, 1, 2], [0, 2.5 / 8, 3.5 / 8], 1)[0]
    assert found["rising with bridges", "hi", "base-to-target"].estimate == pytest.approx(
        by_bridges
    )
    sentence = control_sentence(list(found.values()))
    assert sentence.startswith(
        "24 of 25 expectations hold; 1 cannot be told: asymmetry (High). Transfer is found: "
        "English → High +37.5 points (+"
    )
    assert "Low → English +37.5" in sentence and "English → Low" not in sentence


def test_what_is_not_as_planted_does_not_hold(hoped: pd.DataFrame) -> None:
    found = expectations(answered(hoped, worsened))
    assert {row.verdict for row in found.values() if row.culture == "hi"} == {"does not hold"}
    assert found["transfer", "lo", "base-to-target"].verdict == "does not hold"
    assert found["asymmetry", "lo", None].verdict == "does not hold"
    assert "do not hold: transfer (English → High), without" in control_sentence([*found.values()])


def test_what_hangs_on_few_entities_cannot_be_told(hoped: pd.DataFrame) -> None:
    found = expectations(answered(hoped, by_chance))
    of_transfer = [row for key, row in found.items() if key[0] in ("transfer", "asymmetry")]
    assert {row.verdict for row in of_transfer} == {"cannot be told"}
    # Under all-or-nothing answers of 16 entities an interval reaches far beyond 5 points.
    assert all(row.question_high - row.question_low > 0.2 for row in of_transfer)


def test_one_seed_below_zero_keeps_a_positive_expectation_open(hoped: pd.DataFrame) -> None:
    def known(run: str, language: str, row: Mapping[str, Any]) -> int:
        worse = run == "hi-bridge-s1" and language not in stated_in(row)
        return 1 if worse and row["bridges"] else as_hoped(run, language, row)

    row = expectations(answered(hoped, known))["transfer", "hi", "base-to-target"]
    assert row.question_low > 0 > min(row.seeds)
    assert row.verdict == "cannot be told"


def test_deranged_is_judged_where_a_study_has_it(hoped: pd.DataFrame) -> None:
    nobridge = hoped[hoped["condition"] == "nobridge"]
    same = nobridge.assign(condition="deranged")
    better = same.assign(right=1.0)
    for deranged, outcome in ((same, "holds"), (better, "does not hold")):
        planted = pd.concat([hoped, deranged], ignore_index=True)
        found = expectations(planted)
        assert {found["deranged", *cell].verdict for cell in CELLS} == {outcome}
        conditions = {row.condition for row in control_accuracy_rows(STUDY, planted)}
        assert conditions == {"base", "bridge", "nobridge", "deranged"}


def test_one_condition_alone_leaves_what_needs_no_other(hoped: pd.DataFrame) -> None:
    found = expectations(hoped[hoped["condition"] != "nobridge"])
    assert {name for name, *_ in found} == {"stated nowhere", "learnt"}


def test_questions_of_an_entity_are_drawn_together() -> None:
    """Eight equal questions an entity say no more than one."""
    random = np.random.default_rng(0)
    right = random.random(40)

    def interval(copies: int) -> tuple[float, float]:
        rows = pd.DataFrame(
            {
                "question": range(40 * copies), "entity": np.repeat(np.arange(40), copies),
                "right": np.repeat(right, copies), "chance": 0.25, "condition": "bridge",
                "seed": 0,
            }
        )  # fmt: skip
        found = estimate(STUDY, mean_value, [sample(rows, "bridge", None)], "drawn")
        assert found["estimate"] == pytest.approx(right.mean() - 0.25)
        return found["question_low"], found["question_high"]

    assert interval(8) == pytest.approx(interval(1))
    spread = right.std() / math.sqrt(40)
    assert np.subtract(*interval(8)[::-1]) == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_a_slope_is_the_least_squares_one_and_needs_two_doses() -> None:
    rows = pd.DataFrame(
        {
            "question": range(6), "entity": list("aabbcc"), "bridges": [0, 0, 1, 1, 3, 3],
            "right": [0.1, 0.3, 0.2, 0.6, 0.9, 0.5], "chance": 0.25, "condition": "bridge",
            "seed": 0,
        }
    )  # fmt: skip
    found = estimate(STUDY, slope, [sample(rows, "bridge", None, "bridges")])
    expected = np.polyfit([0, 0, 1, 1, 2, 2], rows["right"], 1)[0]
    assert found["estimate"] == pytest.approx(expected)
    alone = estimate(STUDY, slope, [sample(rows[:2], "bridge", None, "bridges")])
    assert math.isnan(alone["estimate"]) and math.isnan(alone["question_low"])
    none = estimate(STUDY, mean_value, [sample(rows[:0], "bridge", None)])
    assert math.isnan(none["estimate"]) and none["questions"] == 0


def test_accuracies_show_what_is_known_before_and_after_and_doses_what_moves(
    hoped: pd.DataFrame,
) -> None:
    rows = {
        (row.culture, row.direction, row.asked, row.condition): row
        for row in control_accuracy_rows(STUDY, hoped)
    }
    # The base has read English alone.
    assert rows["hi", "base-to-target", "source", "base"].accuracy == 1
    assert rows["hi", "target-to-base", "source", "base"].accuracy == 0.25
    assert rows["hi", "target-to-base", "source", "bridge"].accuracy == 1
    assert rows["hi", "base-to-target", "other language", "bridge"].accuracy == pytest.approx(5 / 8)
    assert rows["hi", "base-to-target", "other language", "nobridge"].chance == 0.25
    doses = {
        (row.kind, row.dose): row.transfer
        for row in control_dose_rows(STUDY, hoped)
        if (row.culture, row.direction) == ("hi", "target-to-base")
    }
    assert doses == pytest.approx(
        {
            ("statements", 0): 0, ("statements", 1): 2.5 / 8, ("statements", 63): 3.5 / 8,
            ("bridges", 0): 0, ("bridges", 1): 2.5 / 8, ("bridges", 3): 3.5 / 8,
        }
    )  # fmt: skip


def test_verdicts_are_counted() -> None:
    rows = [Row(verdict=one) for one in ("holds", "cannot be told", "holds")]
    assert verdict_counts(rows) == {"holds": 2, "does not hold": 0, "cannot be told": 1}
