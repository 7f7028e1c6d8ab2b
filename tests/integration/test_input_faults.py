"""What a user reads when a task on the cluster meets a fault of an input file."""

import gzip
from pathlib import Path

import pytest

from tests.tiny_study import run_study_job, write_tiny_study

pytestmark = pytest.mark.cluster


def test_a_fault_in_a_task_is_one_line_and_nothing_of_ray(tmp_path: Path) -> None:
    study = write_tiny_study(tmp_path / "study")
    cut = tmp_path / "study/mono-ko.jsonl"
    packed = gzip.compress(cut.read_bytes())
    cut.write_bytes(packed[: len(packed) * 2 // 3])
    job = run_study_job("prepare_corpora", study, tmp_path / "storage")
    assert job.returncode == 2, job.stdout + job.stderr
    lines = job.stderr.splitlines()
    assert lines[-1].startswith(f"error: {cut}: file ends in the middle at line ")
    assert "give the whole file" in lines[-1]
    other = [line for line in lines[:-1] if not line.startswith("[")]
    assert not other, "progress and nothing else"
    assert sum("mono-ko" in line for line in (job.stdout + job.stderr).splitlines()) == 1
    assert "Traceback" not in job.stdout + job.stderr
