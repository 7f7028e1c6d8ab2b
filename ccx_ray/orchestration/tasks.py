"""Work log of a step: which of its tasks are finished, so that a rerun repeats only the others.

Every task publishes its result as the last thing it does, after its output stands under its final
name. Invariant: a task with a result is finished, whoever was killed afterwards. The log lies in
the step's folder below a name with a dot: it is no output of the step, and goes when the step is
complete.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ccx_ray.orchestration.step_folders import WORK
from ccx_ray.storage.publishing import publish_json


class WorkLog:
    """The finished tasks of one stage of a step, such as ``isolate``."""

    def __init__(self, step_folder: Path, stage: str) -> None:
        self.scratch = step_folder / WORK
        """Where a stage may leave what only later stages of the same step need."""
        self._folder = self.scratch / stage

    def begin(self, tasks: int) -> list[int]:
        """Note how many tasks there are; the numbers of those that are not finished."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "tasks").write_text(str(tasks))
        finished = {int(path.stem) for path in self._folder.glob("*.json")}
        return [number for number in range(tasks) if number not in finished]

    def publish(self, number: int, result: dict[str, Any]) -> None:
        """A task is finished."""
        publish_json(self._folder / f"{number:06d}.json", result)

    def result(self, number: int) -> dict[str, Any]:
        """What a finished task published."""
        content = (self._folder / f"{number:06d}.json").read_text("utf-8")
        result: dict[str, Any] = json.loads(content)
        return result


class RunTasks(Protocol):
    """Runs a function for every task number; what it returned, in their order."""

    def __call__(
        self, log: WorkLog, tasks: int, function: Callable[[int], dict[str, Any]], /
    ) -> list[dict[str, Any]]: ...


def run_here(
    log: WorkLog, tasks: int, function: Callable[[int], dict[str, Any]], /
) -> list[dict[str, Any]]:
    """Run the tasks that are not finished one after the other in this process."""
    for number in log.begin(tasks):
        log.publish(number, function(number))
    return [log.result(number) for number in range(tasks)]


def step_progress(step_folder: Path) -> tuple[int, int, str] | None:
    """(finished, all, stage) of the newest stage of a step that is being computed."""
    begun = sorted((step_folder / WORK).glob("*/tasks"), key=lambda path: path.stat().st_mtime)
    if not begun:
        return None
    folder, tasks = begun[-1].parent, begun[-1].read_text()
    return len(list(folder.glob("*.json"))), int(tasks or 0), folder.name
