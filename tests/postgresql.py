"""A real PostgreSQL on loopback, of the machine or of Debian's packages, that a test can stop."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.debian import unpacked
from tests.mlflow_proxy import free_port

FETCH = (
    "apt-get -qq -y --no-install-recommends --download-only -o Debug::NoLocking=1"
    ' -o Dir::Cache::archives="$PWD" install postgresql'
    # 230 MB that are not needed: the compiler of queries (jit=off), Perl of Debian's scripts.
    " && rm -f libllvm* libz3* *perl* locales*"
)
"""With the libraries that the machine lacks."""
SUPERUSER = "postgres"
PASSWORD = "of the superuser"


class Postgres:
    """A running PostgreSQL server without fsync; its files are deleted after the test."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        # PostgreSQL refuses to run as root.
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            shutil.chown(folder, nobody.pw_uid)
        self._bin, self._environment = _programs(folder if self._as else None)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        made = subprocess.run(
            [
                self._bin / "initdb", "--pgdata", folder / "data", "--username", SUPERUSER,
                "--pwfile", secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
                "--no-sync",
            ],
            env=self._environment, capture_output=True, text=True, check=False, **self._as,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "",
            "fsync": "off", "jit": "off", "shared_buffers": "32MB",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("a") as log:
            self._server = subprocess.Popen(
                [self._bin / "postgres", "-D", self._folder / "data", *options],
                env=self._environment, stdout=log, stderr=log, **self._as,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                self._ask("SELECT 1")
                return
            said = (self._folder / "log").read_text()
            assert self._server.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)

    def stop(self) -> None:
        """Cut off who is connected, and end."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(60)
            self._server = None

    def create(self, name: str, password: str) -> None:
        """A user, and a database of the same name that it owns, as createuser and createdb do."""
        from psycopg import sql

        who = sql.Identifier(name)
        self._ask(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(who, sql.Literal(password)))
        self._ask(sql.SQL("CREATE DATABASE {} OWNER {}").format(who, who))

    def _ask(self, query: Any) -> None:
        import psycopg

        try:
            with psycopg.connect(
                host="127.0.0.1", port=self.port, user=SUPERUSER, password=PASSWORD,
                dbname="postgres", autocommit=True, connect_timeout=10,
            ) as connection:  # fmt: skip
                connection.execute(query)
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from error


def _programs(copied_to: Path | None) -> tuple[Path, dict[str, str]]:
    """The folder of ``postgres`` and ``initdb``, and the environment in which they run.

    Args:
        copied_to: where what was unpacked is copied to, because another user may not read it.
    """
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent, dict(os.environ)
    if installed := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return installed[-1].parent, dict(os.environ)
    package = unpacked("postgresql", FETCH)
    if package is None:
        pytest.skip("PostgreSQL is not installed, and apt-get cannot download postgresql")
    if copied_to is not None:
        package = shutil.copytree(package, copied_to / "unpacked", symlinks=True)
    libraries = [*package.glob("usr/lib/*-linux-gnu"), *package.glob("lib/*-linux-gnu")]
    (initdb,) = package.glob("usr/lib/postgresql/*/bin/initdb")
    return initdb.parent, {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}


@contextmanager
def postgresql() -> Iterator[Postgres]:
    """Start a server of its own; skips the test where there is none and none can be had."""
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.stop()
