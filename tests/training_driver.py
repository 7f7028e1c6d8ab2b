"""A driver process of its own: trains the pickled runs it is given, side by side.

``python -m tests.training_driver RUN.pickle...`` with ``RAY_ADDRESS`` set, as inside a Ray job.
Prints one line a run: its name, and ``done`` or the error.
"""

import pickle
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ccx_ray.orchestration.cluster import connected_cluster
from ccx_ray.training.run import TrainingRun
from ccx_ray.training.trainer import train


def pickled(runs: Sequence[TrainingRun]) -> list[str]:
    """The arguments of this program for ``runs``."""
    paths = []
    for run in runs:
        path = run.folder / ".run.pickle"
        path.write_bytes(pickle.dumps(run))
        paths.append(str(path))
    return ["-m", "tests.training_driver", *paths]


def _train(path: str) -> bool:
    run: TrainingRun = pickle.loads(Path(path).read_bytes())
    try:
        train(run)
    except Exception as error:
        print(f"{run.name}: {error}", flush=True)
        return False
    print(f"{run.name}: done", flush=True)
    return True


if __name__ == "__main__":
    with connected_cluster(), ThreadPoolExecutor() as threads:
        trained = list(threads.map(_train, sys.argv[1:]))
    sys.exit(0 if all(trained) else 1)
