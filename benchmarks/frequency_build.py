"""One index built on so many processes, on the clock; run by ``frequency.py``."""

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccx_ray.frequency.retrieval.index_building import build_index
from ccx_ray.orchestration.tasks import WorkLog
from ccx_ray.study.frequency_spec import FrequencySpec

_task: tuple[WorkLog, Callable[[int], dict[str, Any]]] | None = None


@dataclass(frozen=True, kw_only=True)
class Build:
    """What is built."""

    text: str
    folder: str
    processes: int


def _run(number: int) -> None:
    assert _task is not None
    log, function = _task
    log.publish(number, function(number))


class Processes:
    """Runs tasks in forked processes, as Ray would on as many cores."""

    def __init__(self, processes: int) -> None:
        self._processes = processes

    def __call__(
        self, log: WorkLog, tasks: int, function: Callable[[int], dict[str, Any]], /
    ) -> list[dict[str, Any]]:
        global _task  # noqa: PLW0603  # forked processes find the function there, unpickled
        _task = (log, function)
        with multiprocessing.get_context("fork").Pool(self._processes) as pool:
            pool.map(_run, log.begin(tasks), chunksize=1)
        return [log.result(number) for number in range(tasks)]


def main() -> None:
    """Build as the JSON file says and write counts and seconds."""
    build = Build(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    spec = FrequencySpec()
    folder = Path(build.folder)
    folder.mkdir(parents=True)
    began = time.perf_counter()
    counts = build_index(
        spec, spec.embedder, text_folder=Path(build.text), folder=folder, model_folder=None,
        run_tasks=Processes(build.processes),
    )  # fmt: skip
    seconds = time.perf_counter() - began
    Path(sys.argv[2]).write_text(json.dumps({**counts, "seconds": seconds}), "utf-8")


if __name__ == "__main__":
    main()
