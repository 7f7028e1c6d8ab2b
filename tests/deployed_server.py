"""``deploy/mlflow-server.sh`` as systemd starts it, with settings of ``mlflow-server.env.example``
and one worker."""

import os
import secrets
import signal
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from tests.failing_store import CREDENTIALS
from tests.jobs import PROJECT
from tests.mlflow_proxy import free_port, wait_until_it_answers

RECIPE = PROJECT / "deploy"
DATABASE_PASSWORD = "100% @lab/4"
ADMIN_PASSWORD = "of the administrator"


def example() -> dict[str, str]:
    """``mlflow-server.env.example`` as systemd reads it: what stands behind a value is part of
    it."""
    lines = (RECIPE / "mlflow-server.env.example").read_text("utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#;"]
    return {name: value.strip() for name, _, value in pairs}


class DeployedServer:
    """The server of a recipe, which can be killed and started again."""

    def __init__(self, folder: Path, *, database_port: int, store_port: int) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.settings = example()
        self.bucket, _, self.below = self.settings["MLFLOW_ARTIFACTS"][5:].partition("/")
        self.log = folder / "server.txt"
        self.works_in = folder / "works-in"
        self.works_in.mkdir()
        (folder / "runtime").mkdir(mode=0o700)
        password = quote(DATABASE_PASSWORD, safe="")
        self.settings |= {
            "MLFLOW_DATABASE": self.settings["MLFLOW_DATABASE"].replace(
                "PASSWORD@127.0.0.1", f"{password}@127.0.0.1:{database_port}"
            ),
            "MLFLOW_HOSTS": f"{self.settings['MLFLOW_HOSTS']}, 127.0.0.1:{self.port}",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_COMMAND": str(Path(sys.executable).with_name("mlflow")),
            "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{store_port}",
            "MLFLOW_PORT": str(self.port),
            "MLFLOW_WORKERS": "1",
            **CREDENTIALS,
            # Not of the settings, but of systemd:
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder / "no-home"),
            "RUNTIME_DIRECTORY": str(folder / "runtime"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; returns the seconds until it answered."""
        began = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [RECIPE / "mlflow-server.sh"], env=self.settings, cwd=self.works_in,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until_it_answers(self.port, self.process, self.log)
        return time.monotonic() - began

    def kill(self) -> None:
        """End it and its worker without a warning, whatever they are at."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def stop(self) -> None:
        """End it as systemd does."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def status(
        self, path: str, *, account: tuple[str, str] | None = None, body: bytes | None = None,
        **headers: str,
    ) -> int:  # fmt: skip
        """HTTP status of a request.

        Args:
            account: user and password.
        """
        if account is not None:
            headers["Authorization"] = "Basic " + b64encode(":".join(account).encode()).decode()
        try:
            request = Request(self.uri + path, data=body, headers=headers)
            with urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except HTTPError as refused:
            return refused.code
