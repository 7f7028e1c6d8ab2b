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
    index: str = "auto"
    shard_passages: int = 250_000
    processes: int = 2
    dimensions: int = 256
    projection: str = "random"


def _run(number: int) -> None:
    assert _task is not None
    log, function = _task
    log.publish(number, function(number))


class Processes:
    """Runs tasks in forked processes, as Ray would on as many cores, and notes the seconds."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self.seconds: dict[str, float] = {}

    def __call__(
        self, log: WorkLog, tasks: int, function: Callable[[int], dict[str, Any]], /
    ) -> list[dict[str, Any]]:
        global _task  # noqa: PLW0603  # forked processes find the function there, unpickled
        _task = (log, function)
        began = time.perf_counter()
        stage = log._folder.name
        with multiprocessing.get_context("fork").Pool(self._processes) as pool:
            pool.map(_run, log.begin(tasks), chunksize=1)
        self.seconds[stage] = time.perf_counter() - began
        return [log.result(number) for number in range(tasks)]


def main() -> None:
    """Build as the JSON file says and write counts and seconds."""
    build = Build(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    spec = FrequencySpec.model_validate(
        {
            "index": build.index,
            "shard_passages": build.shard_passages,
            "embedder": {"dimensions": build.dimensions, "projection": build.projection},
        }
    )
    folder = Path(build.folder)
    folder.mkdir(parents=True)
    run = Processes(build.processes)
    began = time.perf_counter()
    counts = build_index(
        spec, spec.embedder, text_folder=Path(build.text), folder=folder, model_folder=None,
        run_tasks=run,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    result = {**counts, "seconds": seconds, "stages": run.seconds}
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")


if __name__ == "__main__":
    main()
