"""The finished study that several files read."""

import shlex

import pytest

from tests.ray_job import submit, submit_when_up, token_cluster
from tests.tiny_study import FinishedStudy, Results, write_tiny_study


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    """For reading; what changes it works on a copy."""
    study = write_tiny_study(tmp_path_factory.mktemp("study"))
    storage = tmp_path_factory.mktemp("storage")
    command = f"python jobs/full_study.py --study {shlex.quote(str(study))} --storage"
    with token_cluster() as client:
        job = submit_when_up(client, f"! {command} inside && {command} {shlex.quote(str(storage))}")
        stranger = {k: v for k, v in client.items() if not k.startswith("RAY_AUTH")}
        refused = submit({**stranger, "RAY_AUTH_MODE": "disabled"}, "echo let in")
    assert job.returncode == 0, job.stdout + job.stderr
    return FinishedStudy(study=study, results=Results(storage=storage), job=job, stranger=refused)
