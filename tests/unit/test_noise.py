"""Spreads over checkpoints and seeds, and transfer beside them, against hand computations."""

import math
import statistics
from pathlib import Path

import pytest

from ccx_ray.analysis.measures.noise import LAST, noise_rows
from ccx_ray.analysis.measures.transfer import read_answers
from ccx_ray.analysis.tables import Row
from tests.finished_study import Correct, Labels, analysed, section, small_study, write_study

ASKED = 60
STEPS = "trials.checkpoints=[10,20,30,40,50,60]"
RIGHT = {
    ("bridge", "0"): (10, 30, 24, 27, 21, 30),
    ("bridge", "1"): (10, 18, 24, 24, 30, 18),
    ("nobridge", "0"): (10, 15, 15, 15, 15, 15),
    ("nobridge", "1"): (10, 15, 12, 15, 18, 15),
}
"""Condition and seed -> questions that are answered rightly at every checkpoint."""


def wavering(run: str, step: int, probe: str) -> list[bool]:
    if run == "base":
        return [False] * ASKED
    _, condition, seed = run.split("-")
    right = RIGHT[condition, seed[1:]][step // 10 - 1]
    # Question 0 has no blank, so that its first option, the right one, always wins.
    return [question < right for question in range(ASKED)]


def rows_of(
    root: Path, *overrides: str, correct: Correct = wavering, labels: Labels = lambda _: ("", "")
) -> list[Row]:
    study = small_study("trials.languages=[ko]", *overrides)
    inputs = write_study(root, study, correct, labels=labels)
    return noise_rows(read_answers(study, inputs.trials, inputs.evaluations))


def test_spreads_are_of_the_last_checkpoints_and_of_the_seeds(tmp_path: Path) -> None:
    row, other = rows_of(tmp_path, STEPS, "trials.seeds=[0,1]")
    assert (row.direction, other.direction) == ("base-to-target", "target-to-base")
    assert (row.group, row.checkpoints, row.seeds) == ("headline", LAST, 2)
    shares = {run: [right / ASKED for right in counts[1:]] for run, counts in RIGHT.items()}
    within = [statistics.variance(one) for one in shares.values()]
    assert row.accuracy_over_checkpoints == pytest.approx(math.sqrt(statistics.mean(within)))
    last = [
        statistics.variance([shares[condition, seed][-1] for seed in "01"])
        for condition in ("bridge", "nobridge")
    ]
    assert row.accuracy_over_seeds == pytest.approx(math.sqrt(statistics.mean(last)))
    transfers = [
        [one - two for one, two in zip(shares["bridge", s], shares["nobridge", s], strict=True)]
        for s in "01"
    ]
    over = math.sqrt(statistics.mean(statistics.variance(one) for one in transfers))
    assert row.over_checkpoints == pytest.approx(over)
    assert row.over_seeds == pytest.approx(statistics.stdev(one[-1] for one in transfers))
    means = [statistics.mean(one) for one in transfers]
    assert row.mean_over_seeds == pytest.approx(statistics.stdev(means))
    assert row.transfer_last == pytest.approx((15 + 3) / 2 / ASKED)
    assert row.transfer_mean == pytest.approx(statistics.mean(means))
    assert row.ratio_checkpoints == pytest.approx(row.transfer_last / over)
    assert row.ratio_seeds == pytest.approx(row.transfer_last / row.over_seeds)
    assert row.ratio_mean_seeds == pytest.approx(row.transfer_mean / row.mean_over_seeds)
    # The mean of the last checkpoints moves less from seed to seed than the last one does.
    assert row.ratio_mean_seeds > row.ratio_seeds


def test_one_checkpoint_and_one_seed_have_no_spread(tmp_path: Path) -> None:
    def last(run: str, step: int, probe: str) -> list[bool]:
        return wavering(run, 60, probe)

    row, _ = rows_of(tmp_path, "trials.checkpoints=1", "trials.seeds=[0]", correct=last)
    assert (row.checkpoints, row.seeds) == (1, 1)
    assert row.transfer_last == row.transfer_mean == pytest.approx(15 / ASKED)
    unknown = (
        "accuracy_over_checkpoints", "accuracy_over_seeds", "over_checkpoints", "over_seeds",
        "mean_over_seeds", "ratio_checkpoints", "ratio_seeds", "ratio_mean_seeds",
    )  # fmt: skip
    assert all(math.isnan(getattr(row, name)) for name in unknown)


def test_groups_stand_beside_the_headline(tmp_path: Path) -> None:
    def labels(question: int) -> tuple[str, str]:
        return ("base_only" if question < 12 else "both", "")

    rows = rows_of(tmp_path, STEPS, "trials.seeds=[0,1]", labels=labels)
    found = {(row.direction, row.group): row for row in rows}
    assert len(found) == len(rows) == 6
    target = {group: found["base-to-target", group] for group in ("headline", "base_only", "both")}
    # All twelve are answered under either condition at every one of the last checkpoints.
    assert target["headline"].accuracy == target["base_only"].accuracy == 1
    assert target["base_only"].over_checkpoints == 0
    assert math.isnan(target["base_only"].ratio_checkpoints)
    assert target["both"].over_checkpoints > 0


def test_the_report_shows_every_score_and_a_dash_for_what_is_unknown(tmp_path: Path) -> None:
    study = small_study("trials.languages=[ko]", STEPS, "trials.seeds=[0]")
    results, _, page = analysed(tmp_path, write_study(tmp_path, study, wavering))
    assert len(results["noise"]) == 2 * 7
    assert {row["over_seeds"] for row in results["noise"]} == {None}
    assert (tmp_path / "analysis/figures/noise.svg").exists()
    shown = section(page, "noise")
    assert shown.count("<tr") == 3 and "<td>–</td>" in shown
