"""Wrong probe files and models end in one line and exit code 2, or wrong items are left out."""

from pathlib import Path

import pytest

from tests.probe_fault_cases import CASES, ProbeFault, end_of
from tests.probe_models import write_random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"), vocabulary_size=300)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_file_is_one_line(case: ProbeFault, model: Path, tmp_path: Path):
    strict = tmp_path / "strict"
    strict.mkdir()
    end = end_of(case, model, strict, lenient=False)
    assert end.code == 2
    assert end.questions == 0
    *before, line = end.line.splitlines()
    # Only a question too long for the model is found after the model has been loaded.
    assert len(before) == (case.name == "question longer than the context")
    assert line.startswith("error: ")
    assert (case.named or case.file) in line
    if case.lenient:
        assert ", item 1" in line


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_lenient_leaves_out_items_and_nothing_else(case: ProbeFault, model: Path, tmp_path: Path):
    end = end_of(case, model, tmp_path, lenient=True)
    assert end.code == (0 if case.lenient else 2)
    if case.lenient:
        assert end.questions == 1
        (one,) = end.left_out
        assert one["index"] == 1
        assert f"{case.file}, item 1 left out: {one['reason']}" in end.line
