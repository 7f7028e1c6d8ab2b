"""Fingerprints: the hash of a canonical encoding that raises on what it cannot encode.

Falling back to ``str()`` would make two different values equal or one value different from itself
between processes; both end in a wrong reuse.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

FINGERPRINT_LENGTH = 12


def canonical(value: Any) -> Any:
    """Reduce a value to JSON's types with sorted keys; ``TypeError`` for anything else."""
    if isinstance(value, BaseModel):
        return canonical(value.model_dump(mode="python"))
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value} has no place in an identity")
        return value
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the keys of an identity are strings")
        return {key: canonical(value[key]) for key in sorted(value)}
    raise TypeError(f"an identity cannot hold a {type(value).__name__}: {value!r}")


def fingerprint(value: Any) -> str:
    """A short, stable hash of ``value``: the first 12 hexadecimal digits of its SHA-256."""
    encoded = json.dumps(canonical(value), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(encoded.encode()).hexdigest()[:FINGERPRINT_LENGTH]
