"""MLflow's client with one rule for failures: how long a call waits, and the line it ends with.

A place (a tracking server or a database) that does not answer, or fails with what may pass (HTTP
5xx, 408 and 429, a locked database), is asked again for ``PATIENCE_SECONDS``. Whoever has waited in
vain once has the later calls tried once each, until one succeeds, so that a study whose server is
gone ends after one wait and not after one of each step. What does not pass by itself (a wrong
password, a deleted run) is an error at once.

MLflow's own retries are off: they wait as long for each call, double the pauses up to two minutes,
say a line each, and know servers alone.

Invariant: what is raised is one line without the password of the URI, and no traceback shows the
exceptions below it, whose messages may hold the URI.
"""

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from http.client import responses
from typing import TYPE_CHECKING, Any

from ccx_ray.errors import TrackingError
from ccx_ray.tracking.places import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE_SECONDS = 240.0
"""How long a call waits for a place to answer: as long as MLflow 3.17 by default."""
LONGEST_PAUSE = 10.0
SETTINGS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""MLflow's, unless the user has set them; a server that takes a connection and says nothing is
waited for a single request longer than ``PATIENCE_SECONDS`` at most."""
LIBRARIES = frozenset(
    ("mlflow", "sqlalchemy", "sqlite3", "requests", "urllib3", "boto3", "botocore", "azure",
     "google")
)  # fmt: skip
"""Whose exceptions are of the place; another one is a defect of ours and keeps its traceback."""
LONGEST_REASON = 200

_away: set[str] = set()
"""The places for which a call has waited in vain."""


class PatientClient:
    """A client of a place, whose every call, the first connection too, raises ``TrackingError``."""

    def __init__(self, uri: str, *, patience: float) -> None:
        self.patience = patience
        """Seconds that a call goes on asking."""
        self._uri = uri
        self._opened: MlflowClient | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name)

    def _client(self) -> "MlflowClient":
        if self._opened is None:
            for setting, value in SETTINGS.items():
                os.environ.setdefault(setting, value)
            from mlflow import MlflowClient

            # What they do to a new database; and a traceback of what is raised as well.
            logging.getLogger("alembic").setLevel(logging.WARNING)
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
            self._opened = MlflowClient(tracking_uri=self._uri)
        return self._opened

    def _call(self, call: str, /, *arguments: Any, **named: Any) -> Any:
        around = sys.exception()
        deadline = time.monotonic() + (0.0 if self._uri in _away else self.patience)
        pause = 0.5
        while True:
            try:
                answer = getattr(self._client(), call)(*arguments, **named)
            except Exception as error:
                if not _is_of_the_place(error):
                    raise
                reason, may_pass = _diagnosis(error, around)
            else:
                _away.discard(self._uri)
                return answer
            if not may_pass or time.monotonic() + pause > deadline:
                if may_pass and self.patience:
                    _away.add(self._uri)
                place, reason = (without_password(text, self._uri) for text in (self._uri, reason))
                raise TrackingError(
                    f"runtime.tracking_uri: MLflow at {place} fails ({reason}); fix it, or give "
                    "another --tracking-uri; finished work is kept, and the same command continues"
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _is_of_the_place(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in LIBRARIES


def _diagnosis(error: Exception, around: BaseException | None) -> tuple[str, bool]:
    """Why a call failed, in a few words, and whether that may pass by itself.

    Args:
        around: the exception that was being handled when the call was made, which is no cause.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    chain: list[BaseException] = [error]
    inner = error.__cause__ or error.__context__
    while inner is not None and inner is not around:
        chain.append(inner)
        inner = inner.__cause__ or inner.__context__
    status = _http_status(chain)
    if status is not None:
        return f"HTTP {status} {responses.get(status, '')}", status >= 500 or status in (408, 429)
    first = chain[-1]
    said = getattr(first, "strerror", None) or str(first).strip() or type(first).__name__
    if isinstance(error, MlflowException):
        may_pass = error.get_http_status_code() >= 500
    else:
        may_pass = isinstance(error, OperationalError | ConnectionError | TimeoutError)
    return str(said).splitlines()[0][:LONGEST_REASON], may_pass


def _http_status(chain: list[BaseException]) -> int | None:
    """The status that a server answered with, as MLflow and its HTTP libraries tell it."""
    for one in chain:
        response = getattr(one, "response", None)
        if isinstance(status := getattr(response, "status_code", None), int):
            return status
        # "failed with error code 401 != 200", "too many 503 error responses"
        found = re.search(r"(?:failed with error code|too many) (\d{3})\b", str(one))
        if found:
            return int(found[1])
    return None
