"""Kills the driver and the evaluators of a real study at random moments of its grid."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.evaluation.evaluator import count_attempts
from tests.jobs import environment
from tests.ray_nodes import kill
from tests.tiny_study import command

VICTIMS = ("evaluator", "driver")
DELAY_SECONDS = 5.0
"""A kill comes at a random moment of so many seconds after something more has been published."""
PATIENCE_SECONDS = 400
OF_THE_GRID = ("trial-", "evaluate-", "analysis-")
KEYS = ["trial", "step", "probe", "question"]


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One SIGKILL."""

    seconds: float
    """Since the storm began."""
    victim: str
    scored: int
    """Checkpoints of trials that were scored at that moment."""
    training: int
    """Trials that were begun and not finished."""
    orphans: tuple[str, ...]
    """Titles of processes that outlived a killed driver by 20 s, and were then killed too."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A disturbed grid beside an undisturbed one."""

    checkpoints: int
    questions: int
    """Rows of (trial, step, probe, question)."""
    doubled: int
    """Of these, rows more than one of a key."""
    different_files: list[str]
    """Files of results and of perplexity that are missing, added or not equal, value for value."""
    begun: int
    scored: int
    """How often an evaluator began, and how often one was through: more than there are checkpoints
    where a kill made it do its work again."""
    metrics: int
    """Points of evaluation in MLflow."""
    different_metrics: list[str]
    """Keys whose points are not those of the undisturbed run, each once."""

    @property
    def identical(self) -> bool:
        return not (self.doubled or self.different_files or self.different_metrics)


class Storm:
    """One study, its driver, and what befalls them."""

    def __init__(self, study: str | Path, storage: Path, overrides: Sequence[str], seed: int):
        arguments = [word for override in overrides for word in ("--set", override)]
        self._command = command("full_study", study, storage, *arguments)
        self.storage = storage
        self._random = np.random.default_rng(seed)
        self._driver: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()
        self.kills: list[Kill] = []

    def run(self) -> None:
        """Bring the study to its end."""
        self._start()
        assert self._driver is not None
        assert self._driver.wait(timeout=3600) == 0, self.log()

    def rage(self, count: int) -> None:
        """Kill ``count`` times, evaluator and driver in turn, while there is something to score."""
        self._start()
        for victim in islice(cycle(VICTIMS), count):
            while not self._kill(victim):
                assert self._driver is not None
                if self._driver.poll() is not None:
                    return

    def calm(self) -> None:
        """Let what is left be done."""
        assert self._driver is not None
        if self._driver.wait(timeout=3600) != 0:
            raise AssertionError(self.log())

    def end(self) -> None:
        if self._driver is not None and self._driver.poll() is None:
            self._kill_driver(psutil.Process(self._driver.pid))

    def log(self) -> str:
        return (self.storage / "driver.log").read_text("utf-8")[-4000:]

    def _start(self) -> None:
        self.storage.mkdir(parents=True, exist_ok=True)
        with (self.storage / "driver.log").open("ab") as log:
            self._driver = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, env=environment()
            )

    def _kill(self, victim: str) -> bool:
        assert self._driver is not None
        before, deadline = self._scored(), time.monotonic() + PATIENCE_SECONDS
        while not (self._unfinished() and self._find(victim) and self._scored() > before):
            if self._driver.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"no {victim} to kill: {self.log()}"
            time.sleep(0.05)
        time.sleep(self._random.uniform(0.0, DELAY_SECONDS))
        found, training, scored = self._find(victim), self._training(), self._scored()
        if not found or not self._unfinished() or self._driver.poll() is not None:
            return False
        orphans: tuple[str, ...] = ()
        if victim == "driver":
            orphans = self._kill_driver(found[0])
            self._start()
        elif not kill(found[self._random.integers(len(found))]):
            return False
        done = Kill(
            seconds=time.monotonic() - self._began,
            victim=victim,
            scored=scored,
            training=training,
            orphans=orphans,
        )
        self.kills.append(done)
        print(done, flush=True)
        return True

    def _kill_driver(self, driver: psutil.Process) -> tuple[str, ...]:
        """Kill it alone; what it had started must go by itself. Titles of what did not."""
        family = driver.children(recursive=True)
        kill(driver)
        assert self._driver is not None
        self._driver.wait()
        _, orphans = psutil.wait_procs(family, timeout=20)
        titles = tuple(_title(process) for process in orphans)
        for process in orphans:
            kill(process)
        psutil.wait_procs(orphans, timeout=20)
        return titles

    def _find(self, victim: str) -> list[psutil.Process]:
        assert self._driver is not None
        try:
            driver = psutil.Process(self._driver.pid)
            return [driver] if victim == "driver" else evaluators(driver)
        except psutil.NoSuchProcess:
            return []

    def _scored(self) -> int:
        return len(list(self.storage.glob("*/evaluate-*-*-s*/step-*.parquet")))

    def _unfinished(self) -> int:
        folders = self.storage.glob("*/evaluate-*-*-s*")
        return sum(not (folder / "_complete.json").is_file() for folder in folders)

    def _training(self) -> int:
        folders = {path.parent for path in self.storage.glob("*/trial-*/progress.json")}
        return sum(not (folder / "summary.json").is_file() for folder in folders)


def evaluators(driver: psutil.Process) -> list[psutil.Process]:
    """The evaluator processes below ``driver``, by their titles when idle and at work."""
    return [
        process
        for process in driver.children(recursive=True)
        if _title(process).startswith(("ray::Evaluator", "ray::ResourceTrainable"))
    ]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:80]
    except psutil.Error:
        return ""


def copy_prepared(storage: Path, target: Path) -> None:
    """Take over all steps but those of the grid, which are to be disturbed."""
    study = study_folder(storage)
    for folder in study.iterdir():
        of_the_grid = folder.name.startswith(OF_THE_GRID)
        if folder.is_dir() and not of_the_grid and not folder.name.startswith("."):
            shutil.copytree(folder, target / study.name / folder.name)
    (base,) = study.glob("evaluate-base-*")
    shutil.copytree(base, target / study.name / base.name)


def compare(storage: Path, undisturbed: Path) -> Comparison:
    """Two finished runs of the same study."""
    ours, theirs = (_evaluation_files(folder) for folder in (storage, undisturbed))
    tables = [ours[name] for name in sorted(ours) if "/step-" in name]
    rows = pa.concat_tables([table.select(KEYS) for table in tables])
    attempts = [
        count
        for folder in study_folder(storage).glob("evaluate-*-*-s*")
        for count in count_attempts(folder).values()
    ]
    points, others = (_evaluation_metrics(folder) for folder in (storage, undisturbed))
    return Comparison(
        checkpoints=len(tables),
        questions=rows.num_rows,
        doubled=rows.num_rows - rows.group_by(KEYS).aggregate([]).num_rows,
        different_files=sorted(
            name
            for name in ours.keys() | theirs.keys()
            if name not in ours or name not in theirs or not ours[name].equals(theirs[name])
        ),
        begun=sum(count["begun"] for count in attempts),
        scored=sum(count["scored"] for count in attempts),
        metrics=sum(map(len, points.values())),
        different_metrics=sorted(
            key for key in points.keys() | others.keys() if points.get(key) != others.get(key)
        ),
    )


def study_folder(storage: Path) -> Path:
    """The folder of the only study in a storage."""
    (lock,) = storage.glob("*/driver.lock")
    return lock.parent


def _evaluation_files(storage: Path) -> dict[str, pa.Table]:
    """``<step folder>/<file>`` of every trial's evaluation, as a table in its own order."""
    return {
        f"{path.parent.name}/{path.name}": pq.read_table(path)
        for path in study_folder(storage).glob("evaluate-*-*-s*/*.parquet")
    }


def _evaluation_metrics(storage: Path) -> dict[str, list[tuple[int, float]]]:
    """``<trial> <metric>`` -> its points in MLflow, in order of steps."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{storage / 'mlflow.db'}")
    experiment: Any = client.get_experiment_by_name(study_folder(storage).name)
    runs = client.search_runs([experiment.experiment_id], filter_string="tags.`ccx.kind` = 'trial'")
    return {
        f"{run.info.run_name} {key}": sorted(
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)
        )
        for run in runs
        for key in run.data.metrics
        if key.startswith(("eval/", "eval_scores/", "perplexity/"))
    }
