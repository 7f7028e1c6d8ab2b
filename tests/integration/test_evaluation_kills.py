"""A study whose evaluators and driver are killed while its trials train, against one in peace."""

from pathlib import Path

import pytest

from tests.evaluation_kills import VICTIMS, Storm, compare, copy_prepared
from tests.tiny_study import write_tiny_study


@pytest.mark.storm
def test_kills_leave_nothing_out_and_double_nothing(tmp_path: Path) -> None:
    """``benchmarks/storms.py evaluation`` kills more often, and a larger study."""
    study = write_tiny_study(tmp_path / "study")
    overrides = ["trials.steps=1500", "trials.checkpoints=10"]
    Storm(study, tmp_path / "undisturbed", overrides, 0).run()
    copy_prepared(tmp_path / "undisturbed", tmp_path / "storm")
    storm = Storm(study, tmp_path / "storm", overrides, seed=1)
    try:
        storm.rage(len(VICTIMS))
        storm.calm()
    finally:
        storm.end()
    assert [kill.victim for kill in storm.kills] == list(VICTIMS)
    comparison = compare(tmp_path / "storm", tmp_path / "undisturbed")
    print(comparison)
    assert comparison.identical
    assert comparison.checkpoints == 2 * 10
    assert comparison.begun >= comparison.scored >= comparison.checkpoints
