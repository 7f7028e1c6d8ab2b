"""Transfer by dose of planted sentences: tables, words and figure, from answers that are known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.interventions import INTERVENTIONS, SCHEMA
from ccx_ray.frequency.counting.planted_exposure import PLANTED_EXPOSURE
from ccx_ray.frequency.counting.planted_exposure import SCHEMA as READ
from ccx_ray.study.trials import trial_grid
from tests.finished_study import analysed, marker, section, small_study, write_exposure, write_study

DOSES = (0, 1, 4, 16)
GIVEN = "interventions=[{text: ko, probe: ko, doses: [0, 1, 4, 16]}]"
DOSED = {question: DOSES[question % 4] for question in range(4, 44)}
LATE = 20
"""An item whose last document one trial did not read, and one that nothing was counted for."""
BEFORE, FOR_ANOTHER = 8, 9
"""Items that the text held once before; that another item's sentence states."""


def rises(run: str, step: int, probe: str) -> list[bool]:
    """Under bridge the English questions of 4 and 16 documents are right at the end, of 16 in
    Korean under both conditions."""

    def right(question: int) -> bool:
        dose = DOSED.get(question, 0)
        if run == "base" or step < 60:
            return False
        return dose == 16 if probe == "ko-ko" else "-bridge-" in run and dose >= 4

    return [right(question) for question in range(60)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    root = tmp_path_factory.mktemp("intervened")
    study = small_study("control=null", "trials.languages=[ko]", GIVEN)
    inputs = write_study(root, study, rises)
    rows = [
        {"culture": "ko", "text": "ko", "question": question, "dose": dose,
         "documents": [f"interventions/ko/{question}/{n}" for n in range(dose)],
         "sentences": ["가."]}
        for question, dose in DOSED.items()
    ]  # fmt: skip
    planted = root / "interventions-ko"
    planted.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), planted / INTERVENTIONS)
    found = [(row["question"], name) for row in rows for name in row["documents"]]
    found += [(BEFORE, "news-1"), (FOR_ANOTHER, "interventions/ko/11/0"), (2, "news-2")]
    held = [
        {"culture": "ko", "question": question, "corpus": "ko", "part": "documents",
         "document": document}
        for question, document in found
    ]  # fmt: skip
    held.append({**held[0], "part": "target", "document": "pair-1"})
    frequency = inputs.frequencies["ko"]
    pq.write_table(pa.Table.from_pylist(held), frequency / "exhaustive.parquet")
    exposure = root / "exposure-ko"
    write_exposure(exposure, study, "ko", lambda *_: {})
    read = [
        {"trial": trial.name, "text": "ko", "step": step, "question": question, "dose": dose,
         "exposure": (dose if step == 60 else 0.0)
         - (0.5 if (question, trial.name, step) == (LATE, "ko-bridge-s1", 60) else 0.0)}
        for trial in trial_grid(study)
        for step in (0, 60)
        for question, dose in DOSED.items()
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(read, READ), exposure / PLANTED_EXPOSURE)
    counts = {"documents": 210, "ko": {"items": {}, "left_out": {"no blank": 3}}}
    stream = {
        "planted_documents": 210, "planted_tokens": 5000, "planted_in_two_rows": 21,
        "tokens": {"monolingual": 20000},
    }  # fmt: skip
    inputs = replace(
        inputs,
        interventions={"ko": planted},
        exposures={"ko": exposure},
        markers={
            **inputs.markers,
            "interventions-ko": marker("interventions", counts),
            "stream-ko-s0": marker("stream", {"bridge": stream, "nobridge": stream}),
        },
    )
    results, _, page = analysed(root, inputs)
    return results, page, root / "analysis"


def test_transfer_is_given_by_dose(report: tuple[dict[str, Any], str, Path]) -> None:
    rows = report[0]["intervention_doses"]
    out = [row for row in rows if row["direction"] == "target-to-base"]
    assert rows[:4] == out and all(row["is_source"] for row in out)
    assert [row["dose"] for row in out] == list(DOSES)
    assert [row["transfer"] for row in out] == [0, 0, 1, 1]
    assert [row["items"] for row in out] == [10] * 4
    assert [(row["bridge"], row["nobridge"]) for row in out][-1] == (1, 0)
    assert [row["transfer"] for row in rows[4:]] == [0] * 4
    assert [row["bridge"] for row in rows[4:]] == [0, 0, 0, 1]


def test_its_slope_is_that_of_least_squares(report: tuple[dict[str, Any], str, Path]) -> None:
    import numpy as np

    (slope,) = (
        row
        for row in report[0]["intervention_slopes"]
        if (row["of"], row["is_source"]) == ("transfer", True)
    )
    dose = np.log2(1.0 + np.array(DOSES))
    expected = np.polyfit(dose, [0, 0, 1, 1], 1)[0]
    assert slope["slope"] == pytest.approx(expected)
    assert 0 < slope["question_low"] < slope["slope"] < slope["question_high"]


def test_counts_stand_beside_the_doses(report: tuple[dict[str, Any], str, Path]) -> None:
    items = {row["question"]: row for row in report[0]["intervention_items"]}
    assert set(items) == set(DOSED)
    for question, row in items.items():
        assert row["planted"] == row["dose"] == DOSED[question]
        assert row["before"] == (question == BEFORE)
        assert row["others"] == (question == FOR_ANOTHER)
        assert row["exact"] == row["planted"] + row["before"] + row["others"]
        assert row["most"] == row["dose"]
        assert row["least"] == row["dose"] - 0.5 * (question == LATE)
    (plan,) = report[0]["intervention_plans"]
    assert (plan["items"], plan["counted"], plan["exposed"]) == (40, 40, 39)
    assert (plan["documents"], plan["share"], plan["in_two_rows"]) == (210, 0.25, 0.1)


def test_the_report_says_and_shows_it(report: tuple[dict[str, Any], str, Path]) -> None:
    results, page, folder = report
    shown = section(page, "interventions")
    planted, given, *found = results["intervened"]
    for said in results["intervened"]:
        assert said in shown
    assert "doses of 0, 1, 4 and 16" in planted and "3 (no blank)" in planted
    assert "for 40 of 40 items" in given and given.endswith("for 39 of 40.")
    assert found[0].startswith("Transfer Korean → English rises with the dose: +")
    assert found[1].startswith("Asked in Korean itself, accuracy under bridge rises")
    assert (folder / "figures" / "interventions-target.svg").is_file()
    assert not (folder / "figures" / "interventions-base.svg").exists()
    assert (folder / "tables" / "intervention_items.csv").is_file()


def test_a_study_without_interventions_has_nothing_of_them(tmp_path: Path) -> None:
    study = small_study("control=null", "trials.languages=[ko]")
    results, _, page = analysed(tmp_path, write_study(tmp_path, study, lambda *_: [False] * 60))
    assert results["intervened"] == results["intervention_doses"] == []
    assert "interventions" not in page
