"""Fixtures that are dear to make: one real local Ray cluster for the whole session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT = Path(__file__).resolve().parents[1]


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
