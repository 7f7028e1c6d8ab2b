"""Trying again what fails for a while: a disk that is full, a store that does not answer.

Invariant: only what may pass by itself is tried again; a defect of the program is raised at once.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ccx_ray.storage.object_stores import one_line

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
RETRY_SECONDS = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds; each pause is twice the one before."""


def may_pass(error: Exception) -> bool:
    """Whether an error is of a disk or a network, and not of something that is not there."""
    # safetensors has an exception of its own for everything, a full disk included.
    of_safetensors = type(error).__name__ == "SafetensorError" and "I/O error" in str(error)
    return of_safetensors or (
        isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
    )


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
            now = time.monotonic()
            deadline = now + seconds if deadline is None else deadline
            if not may_pass(error) or now + pause > deadline:
                raise
            logger.warning("%s: %s; trying again in %g s", what, one_line(error), pause)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
