"""Where MLflow keeps runs: the URI of a database or a server, checked before anything is computed.

Invariant: no message holds the password of a URI.
"""

import fcntl
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import urlopen

from ccx_ray.errors import UserError

ANSWER_SECONDS = 8.0
"""How long a tracking server or its database may take to answer before a study starts; in
its middle a call waits longer (``client.py``)."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
KINDS = "http://, https://, sqlite:///, postgresql:// and the like"
_KIND = re.compile(r"\s*([\w.-]+)(?:\+\w*)?:")
_PASSWORD = re.compile(r"(?i)://[^:/@]*:(.*)@|(?:password|passwd|pwd)(?:=|%3D)((?:(?!%3B)[^&#])+)")
"""The password of a URI, up to the last ``@``: SQLAlchemy takes ``#``, ``/`` and ``?`` for parts of
it, urllib does not."""


def default_tracking_uri(storage: Path) -> str:
    """SQLite beside the results.

    SQLAlchemy decodes the path, and takes what follows a question mark for options. Before it does,
    MLflow makes the folder that the URI seems to name, but only where it names no driver (3.5).
    """
    path = str(storage / "mlflow.db")
    encoded = path.replace("%", "%25").replace("?", "%3F")
    return f"sqlite{'' if encoded == path else '+pysqlite'}:///{encoded}"


def is_sqlite(uri: str) -> bool:
    """Whether a tracking URI is of an SQLite database, with a driver named or without."""
    return _kind(uri) == "sqlite"


def _kind(uri: str) -> str:
    """Its scheme without a driver; empty of a path. Not by urllib, which refuses a bracket."""
    found = _KIND.match(uri)
    return found[1].lower() if found else ""


def check_tracking_server(uri: str, field: str = "runtime.tracking_uri") -> None:
    """Refuse a tracking server or a database that does not answer within 8 seconds, and a URI of
    neither."""
    kind = _kind(uri)
    found = _PASSWORD.search(uri)
    password = (found and found[1]) or ""
    wrong = "".join(sorted(set(password).intersection("@[]#/?" if "http" in kind else "@[]")))
    if wrong:
        raise UserError(
            f"{field}: the password of {without_password(uri, uri)} holds {wrong!r}, which would "
            f"end it; write {quote(wrong, safe='')}"
        )
    if kind in ("http", "https"):
        _check_server(uri, field)
    elif kind in DATABASES:
        _check_database(uri, field)
    elif kind not in ("", "file"):
        raise UserError(f"{field}: {kind!r} is not a tracking server; the kinds are {KINDS}")


def _check_server(uri: str, field: str) -> None:
    place = re.sub(r"//[^/]*@", "//", uri.strip())
    try:
        parts = urlsplit(place)
        place = f"{parts.scheme}://{parts.netloc}"
        with urlopen(f"{place}{parts.path.rstrip('/')}/health", timeout=ANSWER_SECONDS):
            return
    except HTTPError as error:
        if error.code < 500:  # somebody answers; who may log in is MLflow's to say
            return
        reason = f"HTTP {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
    raise UserError(
        f"{field}: the tracking server {place} does not answer ({reason}); start it, give another "
        "--tracking-uri, or none for SQLite in the storage folder"
    )


def _check_database(uri: str, field: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    limited = uri.startswith(("postgresql", "mysql"))
    seconds = {"connect_timeout": int(ANSWER_SECONDS)} if limited else {}
    try:
        engine = create_engine(uri, connect_args=seconds)
        try:
            with engine.connect():
                return
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError, ValueError, TypeError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(
            f"{field}: the database {without_password(uri, uri)} cannot be opened "
            f"({without_password(reason, uri)}); give another --tracking-uri, or none for SQLite "
            "in the storage folder"
        ) from None


def without_password(text: str, uri: str) -> str:
    """A text in which the password of a URI, as it is written and decoded, is three stars."""
    for found in _PASSWORD.finditer(uri):
        password = found[1] or found[2]
        for form in filter(None, (password, unquote(password or ""))):
            text = text.replace(form, "***")
    return text


@contextmanager
def opened_alone(uri: str) -> Iterator[None]:
    """Hold ``<database>.lock`` while an SQLite database is opened: two that open a new one at the
    same moment would both create its tables, and one of them would fail."""
    from sqlalchemy.engine import make_url

    path = Path(make_url(uri).database or "") if is_sqlite(uri) else Path()
    if not path.name or not path.parent.is_dir():
        yield
        return
    with path.with_name(path.name + ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def move_artifacts(storage: Path, experiment: str, old: str, new: str) -> None:
    """Rewrite the artifact URIs of an experiment and of its runs, in the database of a storage that
    was moved with its artifacts. MLflow has no call for it (3.5); the two columns are as old as its
    database."""
    with closing(sqlite3.connect(storage / "mlflow.db")) as database, database:
        database.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            (new, int(experiment)),
        )
        database.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
            "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
            (new, len(old) + 1, int(experiment), len(old) + 1, f"{old}/"),
        )
