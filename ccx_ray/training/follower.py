"""The driver's side of a training's metrics: what rank 0 writes down goes to MLflow.

Invariant: MLflow has every step once, whatever was killed: a step that it has already is left
alone, and what a dead driver did not see is read by the next one.
"""

import json
import logging
import threading
from pathlib import Path

from ccx_ray.tracking.runs import MetricLog
from ccx_ray.training.history import STEP_LINES

logger = logging.getLogger(__name__)

SECONDS = 2.0
"""Between two looks."""


class MetricFollower:
    """Logs the lines of one training while it runs; a context, after which all are logged."""

    def __init__(self, run_folder: Path, *, tracking_uri: str, mlflow_run_id: str) -> None:
        self._path = run_folder / STEP_LINES
        self._tracking = tracking_uri, mlflow_run_id
        self._log: MetricLog | None = None
        self._position = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="metrics", daemon=True)

    def __enter__(self) -> "MetricFollower":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        try:
            self._pass_on()
        except Exception as error:
            if exception[0] is None:
                raise
            logger.warning("the last metrics of %s are not in MLflow: %s", self._path, error)

    def _follow(self) -> None:
        while not self._ended.wait(SECONDS):
            try:
                self._pass_on()
            except Exception as error:  # a tracking server that is away must not end a training
                logger.warning("metrics of %s wait for MLflow: %s", self._path.parent.name, error)
                # What was on its way may be there or not: begin again, with what MLflow has.
                self._log, self._position = None, 0

    def _pass_on(self) -> None:
        if not self._path.is_file():
            return
        if self._log is None:
            self._log = MetricLog(*self._tracking)
        with self._path.open("rb") as file:
            file.seek(self._position)
            lines = file.read()
        # What follows the last newline is still being written.
        whole = lines[: lines.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in filter(None, whole.split(b"\n")):
            try:
                record = json.loads(line)
            except ValueError:
                continue  # torn by a kill, before its step was saved: the step was done again
            metrics = {f"train/{name}": value for name, value in record["metrics"].items()}
            self._log.log(record["step"], metrics)
        self._log.flush()
