"""A trial on two nodes whose parts are killed one after another, against an undisturbed one."""

from pathlib import Path

import pytest

from tests.kill_storm import VICTIMS, compare, train_under_kills


@pytest.mark.storm
def test_kills_of_every_part_change_nothing(tmp_path: Path) -> None:
    """``benchmarks/storms.py training`` kills for longer."""
    storm = train_under_kills(tmp_path, kills=4, steps=1000, seed=1)
    assert [kill.victim for kill in storm.kills] == list(VICTIMS)
    comparison = compare(storm.run, storm.undisturbed)
    print(comparison)
    assert comparison.identical
    assert comparison.same_rows
    assert comparison.incidents["failure"] >= 1  # the driver's death is nobody's incident
    assert not (storm.run.folder / "resume").exists()
