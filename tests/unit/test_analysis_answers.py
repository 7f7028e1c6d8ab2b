"""The table of answers: what stands in it, in which order, and what is paired."""

from pathlib import Path

import pytest

from ccx_ray.analysis.measures.transfer import paired, read_answers
from ccx_ray.study.trials import trial_grid
from tests.finished_study import Question, small_study, write_evaluation

RIGHT, TIED = [1.0, 2.0], [1.0, 1.0]
STUDY = small_study(
    "trials.languages=[ko]", "trials.seeds=[3,1]", "evaluation.exclude=[answer_absent]"
)


def write(folder: Path, run: str, step: int, scores: list[float], gold: int = 0) -> Path:
    absent = Question(scores=RIGHT, gold=-1, quality=("answer_absent",))
    asked = [absent, *(Question(scores=scores, gold=gold) for _ in range(2))]
    write_evaluation(folder, run, step, {"ko-ko": asked, "ko-en": asked})
    return folder


def test_rows_are_in_the_order_of_the_report_and_the_base_stands_at_its_last_step(
    tmp_path: Path,
) -> None:
    runs = ("ko-nobridge-s1", "ko-bridge-s1", "ko-bridge-s3", "base")
    folders = {run: write(tmp_path / run, run, 20, TIED, gold=1) for run in runs}
    write(folders["base"], "base", 300, RIGHT)
    answers = read_answers(STUDY, trial_grid(STUDY), folders)
    rows = answers.rows[answers.rows["probe"] == "ko-ko"]
    places = rows[["run", "step", "seed"]].drop_duplicates().to_numpy().tolist()
    assert places == [
        ["base", 0, -1], ["ko-bridge-s3", 20, 3], ["ko-bridge-s1", 20, 1], ["ko-nobridge-s1", 20, 1]
    ]  # fmt: skip
    assert rows["question"].tolist() == [1, 2] * 4, "question 0 is left out of every run"
    assert answers.asked["kept"].tolist() == [False, True, True] * 2
    counted = rows[["published", "ties-wrong", "ties-shared"]].to_numpy().tolist()
    assert counted == [[1, 1, 1]] * 2 + [[0, 0, 0.5]] * 6
    assert set(paired(answers.rows, "probe", "step")["run"]) == {"ko-bridge-s1", "ko-nobridge-s1"}


def test_runs_that_were_asked_other_questions_are_not_compared(tmp_path: Path) -> None:
    base = write(tmp_path / "base", "base", 300, RIGHT)
    write_evaluation(
        tmp_path / "trial", "ko-bridge-s1", 20, {"ko-ko": [Question(scores=RIGHT, gold=0)]}
    )
    folders = {"base": base, "ko-bridge-s1": tmp_path / "trial"}
    with pytest.raises(AssertionError, match="other questions"):
        read_answers(STUDY, trial_grid(STUDY), folders)
