"""One real local Ray cluster for the whole session, and which tests share a process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT = Path(__file__).resolve().parents[1]


GROUPS = {"finished_study": "finished study", "ray_cluster": "ray cluster"}
"""Fixture that is dear to make -> name of the files that share it."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For xdist: the tests of a file share a process, and so do files that share a fixture; these
    come first, because they take longest."""
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
def project() -> Path:
    """The project's root, where ``data/`` lies."""
    return PROJECT


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A real local Ray cluster with the settings of the jobs."""
    import ray

    from ccx_ray.orchestration.cluster import local_cluster

    with local_cluster(processors=2):
        yield
    assert not ray.is_initialized()
