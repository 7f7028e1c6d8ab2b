"""A real Prometheus, from the machine or from Debian's archive, that scrapes a Ray cluster."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.debian import unpacked
from tests.jobs import PROJECT
from tests.ray_job import METRICS_SECONDS, free_port, listens

CONFIG = PROJECT / "dashboards" / "prometheus.yml"


def prometheus_program(name: str) -> str:
    """``prometheus`` or ``promtool``: of the machine, else of Debian's package. Skips the test
    where neither can be had."""
    if found := shutil.which(name):
        return found
    package = unpacked("prometheus", "apt-get -qq download prometheus")
    if package is None:
        pytest.skip(f"{name} is not on the PATH, and apt-get cannot download prometheus")
    return str(package / "usr/bin" / name)


@dataclass(kw_only=True)
class Prometheus:
    """A server that is running."""

    url: str
    started: float = field(default_factory=time.time)

    def ask(self, path: str, **parameters: Any) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        with urlopen(f"{self.url}/api/v1/{path}{query}", timeout=30) as answer:
            return json.load(answer)["data"]

    def range(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression since the server was started, every second."""
        found: list[dict[str, Any]] = self.ask(
            "query_range", query=expression, start=self.started, end=time.time(), step=1
        )["result"]
        return found


@contextmanager
def scraping(discovery: Path) -> Iterator[Prometheus]:
    """A Prometheus with the project's own configuration, but for where Ray's file is and how often
    it and the endpoints are read."""
    program = prometheus_program("prometheus")
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    config["global"] = dict.fromkeys(config["global"], f"{METRICS_SECONDS}s")
    config["rule_files"] = [str(CONFIG.parent / file) for file in config["rule_files"]]
    (job,) = config["scrape_configs"]
    job["file_sd_configs"] = [{"files": [str(discovery)], "refresh_interval": "2s"}]
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="prometheus-") as folder:
        path = Path(folder) / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        with (Path(folder) / "log").open("w") as log:
            server = subprocess.Popen(
                [
                    program, f"--config.file={path}", f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"},
            )  # fmt: skip
            try:
                deadline = time.monotonic() + 60
                while not listens(port):
                    assert server.poll() is None, Path(log.name).read_text()
                    assert time.monotonic() < deadline, Path(log.name).read_text()
                    time.sleep(0.1)
                yield Prometheus(url=f"http://127.0.0.1:{port}")
            finally:
                server.terminate()
                server.wait(30)
