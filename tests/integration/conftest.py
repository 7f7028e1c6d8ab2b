"""The finished study that several files read, and which files share a process under xdist."""

import shlex
from pathlib import Path

import pytest

from tests.ray_job import submit, submit_when_up, token_cluster
from tests.tiny_study import FinishedStudy, Results, write_tiny_study

GROUPS = {"finished_study": "finished study", "ray_cluster": "ray cluster"}
"""Fixture that is dear to make -> name of the files that share it."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that share a fixture go to one process, and first, because they take longest."""
    groups: dict[Path, str] = {}
    for item in items:
        for fixture, group in GROUPS.items():
            if fixture in getattr(item, "fixturenames", ()):
                groups[item.path] = group
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups.get(item.path, item.path.stem)))
    order = list(GROUPS.values())
    last = len(order)
    items.sort(key=lambda item: order.index(groups[item.path]) if item.path in groups else last)


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
