"""Provenance of a result: commit, versions, arguments and machine, captured once a process."""

import functools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RECORDED_PACKAGES = (
    "ccx_ray", "ray", "torch", "transformers", "deepspeed", "tokenizers", "pyarrow", "mlflow",
    "faiss-cpu", "numpy", "scipy", "scikit-learn",
)  # fmt: skip
HIDDEN = "***"
"""Stands where a credential stood."""


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@functools.cache
def capture_provenance() -> dict[str, Any]:
    """Commit (with whether the tree differed from it), arguments, versions, platform."""
    return {
        "commit": _commit(),
        "arguments": [Path(sys.argv[0]).name, *without_credentials(sys.argv[1:])],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "versions": {name: _version(name) for name in RECORDED_PACKAGES},
    }


def _commit() -> str | None:
    project = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(project), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        # A Ray job runs from an uploaded copy without .git; the submitter passes the commit on.
        return os.environ.get("CCX_RAY_COMMIT")


def without_credentials(arguments: Sequence[str]) -> list[str]:
    """Tracking URIs may carry ``user:password@``; a marker is readable by everyone."""
    return [
        re.sub(r"(?<=://)\S*@|(?i:(?<=password=)[^&\s]*)", _hidden, argument)
        if "://" in argument
        else argument
        for argument in arguments
    ]


def hide_credentials(tree: Any) -> Any:
    """As ``without_credentials``, of every text in a tree of JSON's types."""
    if isinstance(tree, dict):
        return {key: hide_credentials(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [hide_credentials(value) for value in tree]
    return without_credentials([tree])[0] if isinstance(tree, str) else tree


def _hidden(found: re.Match[str]) -> str:
    return f"{HIDDEN}@" if found[0].endswith("@") else HIDDEN


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
