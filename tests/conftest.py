"""One real local Ray cluster for the whole session, and which tests share a process."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT = Path(__file__).resolve().parents[1]
SHARED = ("finished_study", "ray_cluster")
"""Fixtures that are dear to make; the files that name one share a process, and are run first."""


@cache
def shared_fixture(file: str) -> str:
    """The dear fixture that a file of tests names, or nothing."""
    text = (PROJECT / file).read_text("utf-8")
    return next(
        (fixture for fixture in SHARED if fixture + ":" in text or f'"{fixture}"' in text), ""
    )


class FilesTogether(LoadScopeScheduling):
    """For xdist: the tests of a file share a process, and so do files that share a fixture.

    xdist 3.8 has this as ``--dist loadgroup``, which pytest 9.2 does not let it do.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return shared_fixture(file) or file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    return FilesTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Golden tests first, as they set up the process group; then files of a shared fixture,
    because they take longest. Whoever uses a shared fixture needs a cluster."""
    order = [*SHARED, ""]
    for item in items:
        if set(SHARED) & set(getattr(item, "fixturenames", ())):
            item.add_marker("cluster")

    def place(item: pytest.Item) -> tuple[bool, int]:
        file = item.nodeid.partition("::")[0]
        return not file.startswith("tests/golden/"), order.index(shared_fixture(file))

    items.sort(key=place)


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
