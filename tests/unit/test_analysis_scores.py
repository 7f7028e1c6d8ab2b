"""Score types, ties, positions and left-out questions, each number against a hand computation."""

import html
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ccx_ray.analysis.measures.transfer import mean_differences, whole_differences
from ccx_ray.analysis.report.writing import analyse
from ccx_ray.analysis.tables import AnalysisInputs
from ccx_ray.errors import UserError
from tests.finished_study import (
    QUESTIONS,
    Question,
    analysed,
    finding,
    limit,
    plain_questions,
    small_study,
    write_evaluation,
    write_study,
)

KOREAN = ("trials.languages=[ko]", "trials.seeds=[0]")


def nothing_differs(run: str, step: int, probe: str) -> list[bool]:
    return [question % 5 == 0 for question in range(QUESTIONS[probe.split("-", maxsplit=1)[0]])]


def korean_study(
    root: Path, bridge: list[Question], nobridge: list[Question], *overrides: str
) -> AnalysisInputs:
    """One seed of Korean; at every checkpoint the conditions answer ko-ko as given, and the base
    as no-bridge does. Nothing differs on ko-en."""
    study = small_study(*KOREAN, *overrides)
    inputs = write_study(root, study, nothing_differs)
    english = plain_questions([False] * len(bridge))
    for run, folder in inputs.evaluations.items():
        for path in folder.glob("step-*.parquet"):
            step = int(path.stem.removeprefix("step-"))
            own = bridge if "-bridge-" in run else nobridge
            path.unlink()
            write_evaluation(folder, run, step, {"ko-ko": own, "ko-en": english})
    return inputs


RIGHT, WRONG = [1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 3.0, 4.0]


def test_transfer_and_its_test_are_of_each_score_by_itself(tmp_path: Path) -> None:
    # By the sum no-bridge is right everywhere too; by every other score in questions 0, 4 and 8.
    bridge = [Question(scores=RIGHT, gold=0) for _ in range(12)]
    nobridge = [
        Question(scores=RIGHT if index % 4 == 0 else WRONG, gold=0, others={"sum": RIGHT})
        for index in range(12)
    ]
    results, _, page = analysed(tmp_path, korean_study(tmp_path, bridge, nobridge))
    rows = {
        (row["score"], row["direction"]): row
        for row in results["score_transfers"]
        if row["counting"] == "published"
    }
    assert len(rows) == 7 * 2
    reference = rows["reference", "base-to-target"]
    assert (reference["bridge"], reference["nobridge"]) == (1, 3 / 12)
    assert reference["transfer"] == pytest.approx(9 / 12)
    assert reference["question_p_value"] == pytest.approx(2 / 2**9)
    assert reference["question_p_holm"] == pytest.approx(2 * 2 / 2**9), (
        "over two directions, not scores"
    )
    total = rows["sum", "base-to-target"]
    assert (total["bridge"], total["nobridge"], total["transfer"]) == (1, 1, 0)
    assert (total["question_p_value"], total["question_p_holm"]) == (1, 1)
    accuracy = {
        row["score"]: row
        for row in results["score_accuracies"]
        if (row["probe"], row["condition"]) == ("ko-ko", "nobridge")
    }
    assert accuracy["per_byte"]["accuracy"] == pytest.approx(3 / 12)
    # Sample variance of 3 ones and 9 zeros: 12/11 * 1/4 * 3/4.
    assert accuracy["per_byte"]["standard_error"] == pytest.approx((12 / 11 * 3 / 16 / 12) ** 0.5)
    assert accuracy["sum"]["accuracy"] == 1
    result, verdict, _ = finding(results, "Dependence on the score (here mean per token)")
    assert "by one score 0 to 1 of 2 cells significant; by all 7: none" in result
    assert "by some: English → Korean (6 of 7)" in result
    assert verdict == "found"
    shown = re.search(r"<td[^>]*>English → Korean</td><td class=\"yes\">\+75\.0</td>", page)
    assert shown is not None


def test_headline_equals_the_row_of_the_study_s_score(tmp_path: Path) -> None:
    bridge = [Question(scores=WRONG, gold=0, others={"option_mean": RIGHT}) for _ in range(10)]
    nobridge = [Question(scores=WRONG, gold=0) for _ in range(10)]
    inputs = korean_study(tmp_path, bridge, nobridge, "evaluation.scoring=option_mean")
    results, summary, _ = analysed(tmp_path, inputs)
    cell = summary["transfer"][0]
    assert (cell["transfer"], cell["bridge"]) == (1, 1)
    own = next(
        row
        for row in results["score_transfers"]
        if (row["score"], row["direction"], row["counting"])
        == ("option_mean", "base-to-target", "published")
    )
    for field in (
        "transfer",
        "question_low",
        "question_high",
        "question_p_value",
        "question_p_holm",
    ):
        assert own[field] == cell[field]
    assert "option alone, per token" in limit(results, "Score")[0]


def tied_answers() -> list[Question]:
    """Ten questions whose ties are counted by hand in the test below."""
    return [
        # Right by the order of two or of four tied options.
        *(Question(scores=[1.0, 1.0, 2.0, 2.0], gold=0) for _ in range(4)),
        Question(scores=[1.0] * 4, gold=0, quality=("no_blank", "identical_sentences")),
        # Wrong by order.
        Question(scores=[2.0, 1.0, 1.0, 2.0], gold=2),
        *(Question(scores=[2.0, 2.0, 2.0, 1.0], gold=3) for _ in range(2)),
        *(Question(scores=[2.0, 3.0, 1.0, 4.0], gold=0) for _ in range(2)),
    ]


def test_ties_and_positions_are_counted_as_by_hand(tmp_path: Path) -> None:
    nobridge = [
        Question(scores=[4.0, 1.0, 3.0, 2.0], gold=question.gold) for question in tied_answers()
    ]
    results, _, _ = analysed(tmp_path, korean_study(tmp_path, tied_answers(), nobridge))
    row = next(
        one for one in results["ties"] if (one["probe"], one["condition"]) == ("ko-ko", "bridge")
    )
    assert (row["tied"], row["tied_right"]) == (6, pytest.approx(5))
    assert row["accuracy"] == pytest.approx(7 / 10)
    assert row["accuracy_ties_wrong"] == pytest.approx(2 / 10)
    assert row["accuracy_ties_shared"] == pytest.approx((4 / 2 + 1 / 4 + 1 / 2 + 2) / 10)
    assert row["worth_against_wrong"] == pytest.approx(0.5)
    assert row["worth_against_shared"] == pytest.approx(0.225)
    assert (row["first_option_accuracy"], row["first_chosen"]) == (0.7, 0.5)
    assert row["accuracy_gold_first"] == pytest.approx(5 / 7)
    assert row["accuracy_gold_elsewhere"] == pytest.approx(2 / 3)
    # Sample variance of 2 ones and 1 zero: 3/2 * 2/3 * 1/3.
    assert row["standard_error_gold_elsewhere"] == pytest.approx((1 / 3 / 3) ** 0.5)
    positions = [
        (one["position"], one["questions"], one["gold_share"], one["chosen"], one["accuracy"])
        for one in results["positions"]
        if (one["probe"], one["condition"]) == ("ko-ko", "bridge")
    ]
    assert positions == [
        (0, 7, 0.7, 0.5, pytest.approx(5 / 7)),
        (1, 0, 0.0, 0.1, None),
        (2, 1, 0.1, 0.2, 0.0),
        (3, 2, 0.2, 0.2, 1.0),
    ]


def test_transfer_is_tested_in_every_counting_of_ties(tmp_path: Path) -> None:
    nobridge = [
        Question(scores=[4.0, 1.0, 3.0, 2.0], gold=question.gold) for question in tied_answers()
    ]
    results, _, _ = analysed(tmp_path, korean_study(tmp_path, tied_answers(), nobridge))
    last = {
        row["counting"]: row
        for row in results["transfers"]
        if row["probe"] == "ko-ko" and row["question_p_holm"] is not None
    }
    assert last["published"]["transfer"] == pytest.approx(0.7)
    assert last["ties-wrong"]["transfer"] == pytest.approx(0.2)
    assert last["ties-shared"]["transfer"] == pytest.approx(0.475)
    # Of 7, 2 and 8 questions that differ, all to one side.
    assert last["published"]["question_p_value"] == pytest.approx(2 / 2**7)
    assert last["ties-wrong"]["question_p_value"] == pytest.approx(2 / 2**2)
    assert last["ties-shared"]["question_p_value"] == pytest.approx(2 / 2**8)
    result, verdict, _ = finding(results, "Effect of ties on transfer")
    assert result.startswith("a cell's transfer changes by at most 50.0 points")
    assert "(ko-ko, bridge: 70.0\u202f%): +50.0 points against ties wrong, +22.5 against" in result
    assert verdict == "found"


def test_differences_of_shared_ties_are_whole_in_their_common_unit() -> None:
    bridge = np.array([[1 / 2, 1 / 3, 1, 0], [1 / 2, 1 / 3, 1, 0]])
    nobridge = np.array([[0, 1, 1 / 3, 0], [0, 0, 1 / 2, 0]])
    assert whole_differences(bridge, nobridge).tolist() == [6, -2, 7, 0]  # in sixths
    assert mean_differences(bridge, nobridge).tolist() == pytest.approx([1 / 2, -1 / 6, 7 / 12, 0])


def test_questions_are_left_out_of_both_conditions_by_their_oddity(tmp_path: Path) -> None:
    study = small_study("evaluation.exclude=[no_blank,answer_absent]")

    def learnt(run: str, step: int, probe: str) -> list[bool]:
        korean = run.startswith("ko-bridge") and probe == "ko-ko"
        count = QUESTIONS[probe.split("-", maxsplit=1)[0]]
        return [q % 5 == 0 or (korean and q % 4 == 3) for q in range(count)]

    inputs = write_study(tmp_path, study, learnt)
    results, summary, page = analysed(tmp_path, inputs)
    cell = summary["transfer"][0]
    assert (cell["questions"], cell["transfer"]) == (59, pytest.approx(12 / 59))
    base = results["accuracies"][0]
    assert (base["probe"], base["accuracy"]) == ("ko-ko", pytest.approx(11 / 59))
    assert base["tied"] == 0
    probe = results["probes"][0]
    assert (probe["asked"], probe["left_out"], probe["questions"]) == (60, 1, 59)
    assert (probe["no_blank"], probe["first_option"]) == (1, 29)
    assert {(row["probe"], row["reason"], row["questions"]) for row in results["left_out"]} == {
        (f"{culture}-{side}", "no_blank", 1) for culture in QUESTIONS for side in (culture, "en")
    }
    assert limit(results, "Questions left out")[0].startswith("no blank and answer absent: 1 of 60")
    korean = next(row for row in results["occurrences"] if row["culture"] == "ko")
    assert (korean["questions"], korean["mean_transferred"]) == (59, 3)
    recipe = re.search(r'<pre id="recompute-example">(.*?)</pre>', page, re.DOTALL)
    assert recipe is not None
    printed = subprocess.run(
        [sys.executable, "-c", html.unescape(recipe[1])],
        cwd=inputs.evaluations["base"].parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert float(printed) == pytest.approx(100 * 12 / 59)


def test_leaving_out_every_question_is_refused(tmp_path: Path) -> None:
    odd = [Question(scores=RIGHT, gold=0, quality=("surrounding_space",)) for _ in range(3)]
    inputs = korean_study(tmp_path, odd, odd, "evaluation.exclude=[surrounding_space]")
    with pytest.raises(UserError, match="leaves none of the 3 questions of ko-ko"):
        analyse(inputs, tmp_path)


def test_an_absent_answer_and_a_repeated_option_are_judged_by_text(tmp_path: Path) -> None:
    odd = [
        Question(scores=RIGHT, gold=-1, right=[False] * 4, quality=("answer_absent",)),
        # The last option repeats the right one, and is chosen.
        Question(
            scores=[2.0, 3.0, 4.0, 1.0],
            gold=0,
            right=[True, False, False, True],
            quality=("repeated_option",),
        ),
    ]
    results, _, page = analysed(tmp_path, korean_study(tmp_path, odd, odd))
    row = next(one for one in results["ties"] if one["probe"] == "ko-ko")
    assert row["accuracy"] == 0.5
    assert row["first_option_accuracy"] == 0.5
    positions = {
        one["position"]: one["accuracy"]
        for one in results["positions"]
        if (one["probe"], one["condition"]) == ("ko-ko", "bridge")
    }
    assert positions[-1] == 0
    assert positions[0] == 1
    assert "absent" in page
