"""Bad input of every kind, from the file to the counts of a text step."""

from pathlib import Path

import pytest

from tests.fault_cases import CASES, FaultCase, fault_table, outcome_of


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_counted_with_its_place(case: FaultCase, tmp_path: Path) -> None:
    found = outcome_of(case, tmp_path)
    assert bool(found.line) == case.stops
    assert "\n" not in found.line
    assert not case.stops or case.file in found.line
    if case.reason:
        assert found.read == found.kept + sum(found.rejected.values())
        assert found.rejected[case.reason] >= 1
        assert found.kept >= 1
        assert found.place.startswith(case.file)


def test_the_documented_table_is_what_happens(project: Path) -> None:
    assert (project / "docs/faults.md").read_text("utf-8") == fault_table()
