"""Object stores by URI, and retries while a store or a disk fails.

Invariants: a URI that holds a credential is refused before it is used or shown, access comes from
the environment alone; only transient errors are retried, a defect of the program is raised at once.
"""

import logging
import re
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from ccx_ray.errors import UserError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
ACCESS = "access in the environment, such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL"

RETRY_SECONDS = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds; each pause is twice the one before."""


def scheme_of(place: str, field: str) -> str:
    """``file`` for a local path or URI, else the scheme of an object store; others are refused."""
    scheme = place.split("://", 1)[0] if "://" in place else "file"
    if scheme in ("file", *SCHEMES):
        return scheme
    raise UserError(
        f"{field}: {place!r} has an unknown scheme; give a local path or one of "
        f"{', '.join(known + '://' for known in SCHEMES)}"
    )


def refuse_credentials(uri: str, field: str, *, variable: str = "AWS_SECRET_ACCESS_KEY") -> None:
    """Refuse a URI with a password, an access key or the like, and show it without.

    Args:
        variable: of the environment, where it should be instead.
    """
    # A secret key may hold a slash, which ends it for urllib.
    bare = re.sub(r"(?<=://)[^/@:]*:.*@", "", uri)
    parts = urlsplit(bare)
    options = unquote(parts.query)
    named = re.search(r"(?i)(^|&)[^=]*(key|secret|token|sig|password)", options)
    # s3://access_key@bucket; in abfs://container@account the part before the @ is no secret.
    user = parts.scheme == "s3" and parts.username
    if bare != uri or user or named or "@" in options:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise UserError(
            f"{field}: the URI of {shown!r} contains a credential, which would be written into the "
            f"study's records; give it in the environment, such as {variable}"
        )


def open_store(uri: str) -> tuple[Any, str]:
    """The ``pyarrow.fs.FileSystem`` of a URI, and the path there.

    In a URI, ``?`` begins the options of the store, such as ``?region=eu-central-1``.

    Raises:
        OSError, ValueError: the store cannot be reached, or an option is unknown.
    """
    bare, question, options = uri.partition("?")
    scheme, rest = bare.split("://", 1)
    if scheme == "file":
        from pyarrow import fs

        return fs.LocalFileSystem(), unquote(rest)
    bucket, _, key = rest.partition("/")
    # abfs://container@account...: the path begins at the container
    top = bucket.partition("@")[0] if scheme.startswith("abfs") else bucket.rpartition("@")[2]
    return _store(f"{scheme}://{bucket}", question + options), f"{top}/{key}".rstrip("/")


def child_uri(uri: str, *names: str) -> str:
    """The URI of what lies below ``uri``; the store's options stay at the end."""
    bare, question, options = uri.partition("?")
    return "/".join((bare.rstrip("/"), *names)) + question + options


def local_path(uri: str) -> Path | None:
    """The path of a ``file://`` URI; None for an object store's."""
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else None


def one_line(error: BaseException) -> str:
    """An error's message on one line, at most 300 characters."""
    return " ".join(str(error).split())[:300]


def retrying(action: Callable[[], Result], *, what: str, seconds: float = RETRY_SECONDS) -> Result:
    """Call ``action`` until it succeeds.

    Args:
        what: what is tried, for the warning.
        seconds: since the first failure; after them the last one's error is raised.
    """
    pause, deadline = FIRST_PAUSE, None
    while True:
        try:
            return action()
        except Exception as error:
            # Of a disk or a network, and maybe gone soon, unlike a missing file. safetensors has
            # an exception of its own for everything, a full disk included.
            of_file = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
            of_tensors = type(error).__name__ == "SafetensorError" and "I/O error" in str(error)
            now = time.monotonic()
            deadline = now + seconds if deadline is None else deadline
            if not (of_file or of_tensors) or now + pause > deadline:
                raise
            logger.warning("%s: %s; trying again in %g s", what, one_line(error), pause)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


@lru_cache(maxsize=64)
def _store(base: str, options: str) -> Any:
    """The filesystem of one bucket; making it anew for every file asks for its region again."""
    from pyarrow import fs

    return fs.FileSystem.from_uri(base + options)[0]
