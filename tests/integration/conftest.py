"""The finished study that several files read."""

import shlex
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.prometheus import Prometheus, scraping
from tests.ray_job import metrics_addresses, submit, submit_when_up, token_cluster
from tests.tiny_study import FinishedStudy, Results, write_tiny_study


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedStudy]:
    """For reading; what changes it works on a copy."""
    study = write_tiny_study(tmp_path_factory.mktemp("study"))
    storage = tmp_path_factory.mktemp("storage")
    command = f"python jobs/full_study.py --study {shlex.quote(str(study))} --storage"
    with ExitStack() as stack:
        with token_cluster() as client:
            watching, reason = _watching(client, stack)
            job = submit_when_up(
                client, f"! {command} inside && {command} {shlex.quote(str(storage))}"
            )
            stranger = {k: v for k, v in client.items() if not k.startswith("RAY_AUTH")}
            refused = submit({**stranger, "RAY_AUTH_MODE": "disabled"}, "echo let in")
        assert job.returncode == 0, job.stdout + job.stderr
        yield FinishedStudy(
            study=study,
            results=Results(storage=storage),
            job=job,
            stranger=refused,
            prometheus=watching,
            no_prometheus=reason,
        )


def _watching(client: dict[str, str], stack: ExitStack) -> tuple[Prometheus | None, str]:
    """A Prometheus that scrapes the cluster and outlives it, or the reason why there is none."""
    try:
        return stack.enter_context(scraping(metrics_addresses(client))), ""
    except pytest.skip.Exception as skipped:
        return None, str(skipped)
