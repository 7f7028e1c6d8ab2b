"""A real local Ray cluster that tests share, and which tests share a process."""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT = Path(__file__).resolve().parents[1]
CLUSTERS = {
    "finished_study": re.compile(r'finished_study: |"finished_study"'),
    "ray_cluster": re.compile(r'ray_cluster: |"ray_cluster"'),
    "cluster": re.compile(r"mark\.cluster"),
}
"""What a file of tests that starts Ray clusters names: a fixture that is dear to make, or the mark.
In the order in which these files are run."""
PRIORITY = 15
"""The niceness of Ray's workers, which tests without a cluster take too: clusters are waited for,
and of what starts one Ray itself waits for 30 s alone."""


@cache
def cluster_kind(file: str) -> str:
    """By which of ``CLUSTERS`` a file of tests starts a cluster, or nothing."""
    text = (PROJECT / file).read_text("utf-8")
    return next((kind for kind, named in CLUSTERS.items() if named.search(text)), "")


class FilesTogether(LoadScopeScheduling):
    """For xdist: the tests of a file share a process, and so do all files that start clusters, of
    which two on two cores would not come up in time.

    xdist 3.8 has this as ``--dist loadgroup``, which pytest 9.2 does not let it do.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "clusters" if cluster_kind(file) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    return FilesTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Golden tests first, as they set up the process group; then those that start clusters, because
    they take longest."""
    order = [*CLUSTERS, ""]

    def place(item: pytest.Item) -> tuple[bool, int]:
        file = item.nodeid.partition("::")[0]
        return not file.startswith("tests/golden/"), order.index(cluster_kind(file))

    items.sort(key=place)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ and not cluster_kind(item.nodeid.partition("::")[0]):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


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
