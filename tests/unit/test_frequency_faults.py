"""Bad input of the frequency stage ends in one line that names it, or is no mistake and counted."""

import re
from pathlib import Path

import pytest

from tests.frequency_fault_cases import (
    PASSES,
    SHEET_FAULTS,
    STUDY_FAULTS,
    SheetFault,
    StudyFault,
    sheet_line,
    study_end,
    write_sheets,
    write_study,
)
from tests.frequency_step_cases import GOES_ON, STEP_CASES, StepCase, step_line

RIGHT = re.compile(r"; |must be one of|should |not an existing")
"""How a line says what would be right."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sheets(tmp_path_factory.mktemp("sheets"))


@pytest.mark.parametrize("fault", STUDY_FAULTS, ids=lambda fault: fault.name)
def test_a_mistake_in_a_study_is_found_before_anything_runs(fault: StudyFault, study: Path) -> None:
    code, line = study_end(fault, study)
    assert code == 2
    assert line.startswith(fault.named)
    assert "\n" not in line
    assert RIGHT.search(line)
    assert "sesame" not in line and "two" not in line.split()


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("frequency.judge={kind: endpoint, model: m, prompt: whole.txt}",
         "runtime.judge.url='http://localhost:1/v1'"),
        ("frequency.embedder={kind: hidden_states, model: causal}",),
        ("frequency.judge={kind: local, folder: causal}",
         "frequency.validation.judges=[lexical]"),
    ],
)  # fmt: skip
def test_without_a_mistake_all_checks_pass(changes: tuple[str, ...], study: Path) -> None:
    code, line = study_end(StudyFault(name="", named="", changes=changes), study)
    assert (code, line[: len(PASSES)]) == (2, PASSES)


def test_an_index_that_cannot_be_built_is_refused_at_once(study: Path) -> None:
    """521 is a prime: no parts of a vector are alike."""
    changes = ("frequency.index=ivfpq", "frequency.embedder={dimensions: 521}")
    code, line = study_end(StudyFault(name="", named="", changes=changes), study)
    assert code == 2
    assert line.startswith("frequency.index: ivfpq") and "521 dimensions" in line


@pytest.mark.parametrize("case", STEP_CASES, ids=lambda case: case.name)
def test_what_a_step_meets(case: StepCase, tmp_path: Path) -> None:
    line = step_line(case, tmp_path)
    assert "\n" not in line
    assert case.named in line
    assert line.startswith(GOES_ON) == (not case.named)
    assert RIGHT.search(line) or not case.named


@pytest.mark.parametrize("fault", SHEET_FAULTS, ids=lambda fault: fault.name)
def test_a_filled_sheet_is_refused_with_its_row(
    fault: SheetFault, sheets: Path, tmp_path: Path
) -> None:
    line = sheet_line(fault, sheets, tmp_path)
    assert "\n" not in line
    assert line.startswith(fault.named or GOES_ON)
    assert RIGHT.search(line) or not fault.named
    assert len(line) < 300
