"""What is declared before the first trial, and the headline that it names."""

from pathlib import Path

import numpy as np
import pytest

from ccx_ray.analysis.declaration import compare_declaration, declare, read_declaration
from ccx_ray.analysis.measures.headline import checkpoint_weights
from ccx_ray.errors import UserError
from ccx_ray.study.loading import load_study


def test_the_first_declaration_stays_once_a_trial_has_begun(tmp_path: Path) -> None:
    first, _ = load_study("laptop")
    second, _ = load_study("laptop", ["analysis.headline=area"])
    declare(first, tmp_path)
    declare(second, tmp_path)
    found = read_declaration(tmp_path)
    assert found is not None and found["in_time"]
    assert found["parts"]["analysis.headline"] == "area"
    compared = compare_declaration(second, found)
    assert compared is not None and not compared["changes"]
    (tmp_path / "trial-ko-bridge-s0-0123").mkdir()
    declare(first, tmp_path)
    compared = compare_declaration(first, read_declaration(tmp_path))
    assert compared is not None and compared["hash"] == found["hash"] != compared["shown"]
    assert compared["changes"] == [
        {"field": "analysis.headline", "declared": "area", "shown": "last"}
    ]


def test_a_declaration_after_the_first_trial_says_so(tmp_path: Path) -> None:
    (tmp_path / "trial-ko-bridge-s0-0123").mkdir()
    declare(load_study("laptop")[0], tmp_path)
    found = read_declaration(tmp_path)
    assert found is not None and not found["in_time"]


def test_an_expected_sign_of_another_language_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"analysis.expected names xx; the study's target languages"
    ):
        load_study("laptop", ["analysis.expected={xx: {base_to_target: positive}}"])


@pytest.mark.parametrize(
    ("steps", "weights"),
    [([30], [1]), ([10, 20, 30], [0.25, 0.5, 0.25]), ([10, 20, 40], [1 / 6, 0.5, 1 / 3])],
)
def test_checkpoints_weigh_by_the_trapezoid_rule(steps: list[int], weights: list[float]) -> None:
    assert checkpoint_weights(steps) == pytest.approx(weights)
    curve = np.array([2.0 * step for step in steps])
    if len(steps) > 1:
        area = np.trapezoid(curve, steps) / (steps[-1] - steps[0])
        assert np.dot(checkpoint_weights(steps), curve) == pytest.approx(area)
