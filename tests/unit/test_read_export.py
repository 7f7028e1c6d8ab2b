"""The plain reader of an export, on studies whose answers are known: groups, ties, questions that
are left out, seeds that only one condition has, three conditions."""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.export.read_export import main
from ccx_ray.study.trials import trial_grid
from tests.finished_study import (
    QUESTIONS,
    Question,
    analysed,
    small_study,
    write_evaluation,
    write_study,
)

GROUPS = ("base_only", "target_only", "both", "neither")
GRID = ("trials.languages=[ko,zh]", "trials.seeds=[0,1,2]")


def labels(question: int) -> tuple[str, str]:
    return GROUPS[question % 4], f"entity {question // 4}"


def correct(run: str, step: int, probe: str) -> list[bool]:
    """Another share in every run, checkpoint and probe."""
    chance = sum(place * ord(letter) for place, letter in enumerate(f"{run} {probe}")) + step
    limit = 2 + chance % 5 + 3 * ("nobridge" not in run)
    return [(question * 7 + chance) % 11 < limit for question in range(QUESTIONS[probe[:2]])]


def bundle_of(root: Path, *overrides: str, ties: bool = False, without: str = "") -> Path:
    """What the reader needs of an export of a small study, in ``root / "bundle"``."""
    study = small_study(*GRID, *overrides)
    inputs = write_study(root, study, correct, labels=labels if not ties else lambda _: ("", ""))
    if ties:
        tied = [Question(scores=[2.0, 1.0, 1.0], gold=gold) for gold in (0, 1, 2, 2)]
        write_evaluation(inputs.evaluations["ko-bridge-s0"], "ko-bridge-s0", 60,
                         {"ko-ko": tied * 15, "ko-en": tied * 15})  # fmt: skip
    evaluations = {run: folder for run, folder in inputs.evaluations.items() if run != without}
    inputs.evaluations.clear()  # type: ignore[attr-defined]
    inputs.evaluations.update(evaluations)  # type: ignore[attr-defined]
    results, *_ = analysed(root, inputs)
    bundle = root / "bundle"
    (bundle / "data/scores").mkdir(parents=True)
    (bundle / "data/trainings").mkdir()
    for run, folder in evaluations.items():
        tables = [pq.read_table(path) for path in sorted(folder.glob("step-*.parquet"))]
        pq.write_table(pa.concat_tables(tables), bundle / "data/scores" / f"{run}.parquet")
    trials = [
        {"training": one.name, "kind": "trial", "language": one.language,
         "condition": one.condition, "seed": one.seed, "steps": study.trials.steps}
        for one in trial_grid(study)
    ]  # fmt: skip
    base = {"training": "base", "kind": "base", "seed": 0, "steps": study.base.steps}
    pq.write_table(
        pa.Table.from_pylist([*trials, base]), bundle / "data/trainings/trainings.parquet"
    )
    (bundle / "results.json").write_text(json.dumps(results))
    return bundle


def read(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["read_export.py", str(bundle)])
    return main()


@pytest.mark.parametrize("ties", [False, True])
def test_all_numbers_are_those_of_the_report(
    ties: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    bundle = (
        bundle_of(tmp_path, ties=True)
        if ties
        else bundle_of(
            tmp_path,
            "evaluation.exclude=[no_blank]",
            "evaluation.scoring=per_byte",
            "trials.conditions=[bridge,nobridge,deranged]",
            without="ko-nobridge-s1",
        )
    )
    code = read(bundle, monkeypatch)
    shown = capsys.readouterr().out
    assert code == 0, shown
    results = json.loads((bundle / "results.json").read_text())
    trained = [row for row in results["accuracies"]
               if row["seed"] is not None or row["condition"] == "base"]  # fmt: skip
    numbers = len(trained) + len(results["headlines"])
    assert f"{numbers} of {numbers} numbers are those of results.json" in shown
    # They differ, so the reader cannot have mixed them up.
    assert len({row["transfer"] for row in results["headlines"]}) >= 3
    assert len({row["accuracy"] for row in trained}) > 10
    if ties:
        return
    assert {len(row["seeds"]) for row in results["headlines"]} == {2, 3}
    assert {row["group"] for row in results["headlines"]} == {"base_only", "target_only"}
    wrong = results["transfers"][-3]["transfer"] + 1e-6  # counted as published, at the last step
    results["transfers"][-3]["transfer"] = wrong
    (bundle / "results.json").write_text(json.dumps(results))
    assert read(bundle, monkeypatch) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("zh\ttarget-to-base\t")
    assert last.endswith(f"{wrong} in results.json")
