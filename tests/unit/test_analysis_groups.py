"""Groups and clusters of questions, and three conditions, in a study whose answers are known."""

import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccx_ray.analysis.measures.accuracy import accuracy_rows
from ccx_ray.analysis.measures.contrasts import contrast_rows, group_rows
from ccx_ray.analysis.measures.transfer import read_answers, transfer_rows
from ccx_ray.study.trials import trial_grid
from tests.finished_study import Question, analysed, small_study, write_evaluation, write_study

KOREAN = ("trials.languages=[ko]", "trials.seeds=[0,1]")
THREE = "trials.conditions=[bridge,nobridge,deranged]"
GROUPS = ("base_only", "target_only", "both", "neither")


def labels(question: int) -> tuple[str, str]:
    """Fifteen entities of four questions; every fourth one is of the same group."""
    entity = question // 4
    return GROUPS[entity % 4], f"entity {entity}"


def aligned(run: str, step: int, probe: str) -> list[bool]:
    """What is stated in Korean is answered in Korean by every trial, and what is stated in English
    alone by those with bridges, from step 40 on."""
    known = {"both", "target_only"} if probe == "ko-ko" else {"both", "base_only"}
    if run.startswith("ko-bridge") and probe == "ko-ko" and step >= 40:
        known.add("base_only")
    return [run != "base" and labels(question)[0] in known for question in range(60)]


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """Folder of the steps, results and page."""
    root = tmp_path_factory.mktemp("grouped")
    inputs = write_study(root, small_study(*KOREAN, THREE), aligned, labels=labels)
    results, _, page = analysed(root, inputs)
    return root, results, page


def last(results: dict[str, Any], table: str, **values: object) -> list[dict[str, Any]]:
    wanted = {"step": 60, **values}
    return [row for row in results[table] if wanted.items() <= row.items()]


def test_the_headline_is_over_what_is_stated_in_the_source_only(grouped: Any) -> None:
    root, results, page = grouped
    to_target, to_base = last(results, "transfers", counting="published")
    # Four entities of four questions each; question 0 has no blank and is right in every run.
    shown = {key: to_target[key] for key in ("group", "questions", "clusters", "transfer")}
    assert shown == {"group": "base_only", "questions": 16, "clusters": 4, "transfer": 15 / 16}
    assert (to_target["bridge"], to_target["nobridge"]) == (1, 1 / 16)
    assert to_target["question_p_value"] == pytest.approx(2 / 2**4), (
        "entities are flipped, not questions"
    )
    assert (to_base["group"], to_base["questions"], to_base["transfer"]) == ("target_only", 16, 0)
    assert "language alone that knowledge moves from" in results["answer"][0]
    assert {fit["clusters"] for fit in results["model_fits"]} == {15}, "both directions together"
    own = last(results, "score_transfers", score="reference", counting="published")
    assert [row["transfer"] for row in own] == [15 / 16, 0]
    recipe = re.search(r'<pre id="recompute-example">(.*?)</pre>', page, re.DOTALL)
    assert recipe is not None
    code = html.unescape(recipe[1])
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    assert float(printed) == pytest.approx(100 * 15 / 16)


def test_transfer_by_group_reads_the_reserved_names_in_each_direction(grouped: Any) -> None:
    _, results, page = grouped
    columns = ("group", "stated", "base", "bridge", "nobridge", "deranged", "transfer")
    to_target = last(results, "transfer_by_group", direction="base-to-target")
    assert [tuple(row[column] for column in columns) for row in to_target] == [
        ("base_only", "source only", 1 / 16, 1, 1 / 16, 1 / 16, 15 / 16),
        ("target_only", "asked language only", 0, 1, 1, 1, 0),
        ("both", "both", 0, 1, 1, 1, 0),
        ("neither", "neither", 0, 0, 0, 0, 0),
    ]
    assert [row["clusters"] for row in to_target] == [4, 4, 4, 3]
    to_base = last(results, "transfer_by_group", direction="target-to-base")
    assert [(row["group"], row["stated"]) for row in to_base[:2]] == [
        ("target_only", "source only"),
        ("base_only", "asked language only"),
    ]
    assert [row["transfer"] for row in to_base] == [0] * 4
    assert "Transfer by group of questions" in page
    assert "16 questions a cell, in 4 to 4 clusters" in html.unescape(page)


def test_contrasts_tell_alignment_from_company(grouped: Any) -> None:
    _, results, page = grouped
    found = {
        (row["contrast"], row["direction"]): row
        for row in last(results, "contrasts", counting="published")
    }
    company = found["deranged-nobridge", "base-to-target"]
    assert (company["first"], company["second"], company["difference"]) == (1 / 16, 1 / 16, 0)
    assert (company["question_low"], company["question_high"], company["question_p_value"]) == (
        0,
        0,
        1,
    )
    alignment = found["bridge-deranged", "base-to-target"]
    assert (alignment["difference"], alignment["seeds"]) == (15 / 16, [0, 1])
    assert alignment["question_p_value"] == pytest.approx(2 / 2**4)
    assert alignment["question_p_holm"] == pytest.approx(2 * 2 / 2**4), "two directions"
    assert alignment["seed_differences"] == [15 / 16, 15 / 16]
    assert found["bridge-deranged", "target-to-base"]["difference"] == 0
    assert "What transfer is made of" in page
    assert "deranged minus no-bridge" in page


def test_a_third_condition_changes_nothing_between_the_two(grouped: Any, tmp_path: Path) -> None:
    _, three, page = grouped
    inputs = write_study(tmp_path, small_study(*KOREAN), aligned, labels=labels)
    two, _, plain = analysed(tmp_path, inputs)
    assert two["contrasts"] == []
    for table in (
        "transfers", "score_transfers", "occurrences", "exposures", "bins", "model_fits",
    ):  # fmt: skip
        assert two[table] == three[table], table
    for table in ("accuracies", "ties", "positions", "consistencies", "score_accuracies"):
        rows = [row for row in three[table] if row["condition"] != "deranged"]
        assert two[table] == rows, table
        assert len(three[table]) > len(rows)
    assert "deranged" not in plain
    tokens = [(row["bridge"], row["deranged"], row["difference"]) for row in three["tokens"]]
    assert tokens == [(24000, 24000, 0)] * 2
    assert "each with bridges, without bridges and with deranged pairs" in page
    assert "each with and without bridges" in plain


def test_names_that_are_not_reserved_are_groups_and_make_no_headline(tmp_path: Path) -> None:
    def places(question: int) -> tuple[str, str]:
        return ("food" if question % 2 else ""), ""

    inputs = write_study(tmp_path, small_study(*KOREAN), aligned, labels=places)
    results, _, page = analysed(tmp_path, inputs)
    row = last(results, "transfers", counting="published")[0]
    assert (row["group"], row["questions"], row["clusters"]) == ("", 60, 60)
    found = last(results, "transfer_by_group", direction="base-to-target")
    assert [(row["group"], row["stated"], row["questions"]) for row in found] == [
        ("", "", 30), ("food", "", 30),
    ]  # fmt: skip
    assert "over clusters of questions" not in page


def widths(root: Path, times: int, *, clustered: bool) -> list[float]:
    """Of 40 questions, each asked ``times`` times, of which bridge answers two thirds and no-bridge
    others: transfer, the ends of its interval, its p-value, and the standard error of an
    accuracy."""
    study, folders = small_study(*KOREAN), {}
    for run in ("base", *(trial.name for trial in trial_grid(study))):
        shift = 0 if "-bridge-" in run else 4
        asked = [
            Question(
                scores=[1.0, 2.0] if (index + shift) % 7 > shift else [2.0, 1.0],
                gold=0,
                cluster=f"entity {index}" if clustered else "",
            )
            for index in range(40)
            for _ in range(times)
        ]
        folders[run] = root / run
        write_evaluation(folders[run], run, 60, {"ko-ko": asked, "ko-en": asked})
    answers = read_answers(study, trial_grid(study), folders)
    row = transfer_rows(study, answers)[0]
    assert (row.questions, row.clusters) == (40 * times, 40 if clustered else 40 * times)
    accuracy = next(row for row in accuracy_rows(answers) if row.condition == "bridge")
    return [
        row.transfer,
        row.question_low,
        row.question_high,
        row.question_p_value,
        accuracy.standard_error,
    ]


def test_eight_questions_an_entity_are_worth_one(tmp_path: Path) -> None:
    one = widths(tmp_path / "one", 1, clustered=False)
    assert one[1] < one[0] < one[2]
    assert widths(tmp_path / "entities", 8, clustered=True) == pytest.approx(one)
    eight = widths(tmp_path / "eight", 8, clustered=False)
    assert eight[0] == pytest.approx(one[0])
    assert eight[2] - eight[1] < 0.5 * (one[2] - one[1])
    assert eight[3] < one[3]
    assert eight[4] < 0.5 * one[4]


def test_a_seed_without_one_condition_is_left_out_of_its_contrast_alone(tmp_path: Path) -> None:
    study = small_study(*KOREAN, THREE)
    inputs = write_study(tmp_path, study, aligned, labels=labels)
    folders = {run: path for run, path in inputs.evaluations.items() if run != "ko-deranged-s1"}
    answers = read_answers(study, trial_grid(study), folders)
    assert {row.seeds for row in transfer_rows(study, answers)} == {(0, 1)}
    assert {row.seeds for row in contrast_rows(study, answers)} == {(0,)}
    assert {row.seeds for row in group_rows(study, answers)} == {(0, 1)}
