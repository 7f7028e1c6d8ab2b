"""A training that fails after two of three checkpoints: what can be scored is, and once."""

import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from rich.console import Console

from ccx_ray.evaluation.following import FollowedRun, evaluate_run
from ccx_ray.evaluation.results import read_results
from ccx_ray.evaluation.scheduler import EvaluationScheduler
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.runner import Outcome, Runner, Services, StepWork
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.storage.hashing import write_manifest
from ccx_ray.study.spec import EvaluationRuntime
from ccx_ray.tracking.runs import Tracking
from ccx_ray.training.checkpoints import checkpoint_folder
from tests.probe_models import PROBES, write_random_model

STEPS = (10, 20, 30)
QUESTIONS = 12


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Path, Path, Path]]:
    """A model, a probe and a held-out text."""
    english = next(path for path in PROBES if path.stem == "ko-culture-cloze_en")
    items = json.loads(english.read_text("utf-8"))
    probe, held_out = tmp_path / "ko-en.json", tmp_path / "heldout.parquet"
    probe.write_text(json.dumps(items[:QUESTIONS]), "utf-8")
    texts = [item["question"] for item in items[:5]]
    pq.write_table(pa.table({"id": [str(n) for n in range(5)], "text": texts}), held_out)
    yield write_random_model(tmp_path / "model"), probe, held_out


class Study:
    """A training of three checkpoints and its evaluation, run by the study's own runner."""

    def __init__(
        self, folder: Path, model: Path, probe: Path, held_out: Path, *, database: str = "mlflow.db"
    ) -> None:
        self.uri = f"sqlite:///{folder / database}"
        self.folders = StepFolders(folder / "study")
        self._folder, self._model, self._probe = folder, model, probe
        self._held_out = held_out
        self.actions: dict[str, Callable[[StepWork], Mapping[str, Any]]] = {}
        self.training = Step(
            name="base",
            kind="training",
            version=1,
            identity={},
            run=partial(self._act, "training"),
            resumable=True,
        )
        self.evaluation = Step(
            name="evaluate-base",
            kind="evaluation",
            version=1,
            identity={},
            run=partial(self._act, "evaluation"),
            follows=self.training,
            resumable=True,
        )
        self._tracking = Tracking(self.uri, study="study", storage=folder)

    def _act(self, kind: str, work: StepWork) -> Mapping[str, Any]:
        return self.actions[kind](work)

    def run(self, checkpoints: int) -> Outcome:
        """The training publishes so many and fails if they are not all."""
        following = threading.Event()

        def train(work: StepWork) -> Mapping[str, Any]:
            self._tracking.open_run(name="base", kind="base", fingerprint=work.step.fingerprint)
            for step in STEPS[:checkpoints]:
                target = checkpoint_folder(work.folder, step)
                if not target.is_dir():
                    aside = shutil.copytree(self._model, self._folder / f"aside-{step}")
                    write_manifest(aside)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    aside.rename(target)
            if checkpoints < len(STEPS):
                assert following.wait(timeout=60)
                raise RuntimeError("no more")
            return {}

        def evaluate(work: StepWork) -> Mapping[str, Any]:
            following.set()
            run = FollowedRun(
                name="base",
                kind="base",
                fingerprint=self.training.fingerprint,
                folder=work.folder_of(self.training),
                steps=STEPS,
                probes=(("ko-en", self._probe),),
                held_out=(("en", self._held_out),),
                sequence_length=64,
            )
            return evaluate_run(run, work, scheduler, self._tracking)

        graph = Graph([self.evaluation])
        with (
            StudyProgress(graph, Console(file=io.StringIO())) as progress,
            closing(
                EvaluationScheduler(EvaluationRuntime(), self._folder / "scratch")
            ) as scheduler,
        ):
            runner = Runner(graph, self.folders, progress)
            runner.reuse()
            self.actions = {"training": train, "evaluation": evaluate}
            return runner.run(Services(self._tracking), limit=lambda _: 4)

    def points(self) -> dict[str, list[int]]:
        """Metric -> the steps that MLflow has of it; the last one may have come first."""
        run = self._tracking.find_run("base", self.training.fingerprint)
        assert run is not None
        client = MlflowClient(tracking_uri=self.uri)
        return {
            key: sorted(point.step for point in client.get_metric_history(run, key))
            for key in client.get_run(run).data.metrics
        }


@pytest.mark.usefixtures("ray_cluster")
def test_a_failed_training_is_scored_as_far_as_it_came_and_then_the_rest(
    files: tuple[Path, Path, Path], tmp_path: Path
):
    study = Study(tmp_path, *files)
    outcome = study.run(checkpoints=2)
    assert outcome.states == {"base": "failed", "evaluate-base": "failed"}
    assert outcome.errors["evaluate-base"].endswith("base failed before checkpoint 30")
    folder = study.folders.final(study.evaluation)
    half = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    assert sorted(half) == [
        f"{kind}-{step:06d}.parquet" for kind in ("perplexity", "step") for step in (10, 20)
    ]
    left = folder / ".step-000020.parquet.0123"
    left.write_bytes(b"half a file of a killed evaluator")
    shutil.rmtree(tmp_path / "scratch")

    outcome = study.run(checkpoints=3)
    assert outcome.states == {"base": "done", "evaluate-base": "done"}
    assert not left.exists()
    after = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    assert half.items() <= after.items()
    assert len(after) == 6
    assert read_results(folder / "step-000030.parquet").num_rows == QUESTIONS
    counts = outcome.markers["evaluate-base"]["counts"]
    assert (counts["checkpoints"], counts["begun"], counts["scored"]) == (3, 3, 3)
    assert list(counts["perplexity"]) == ["10", "20", "30"]
    points = study.points()
    assert {"eval/ko-en/accuracy", "eval_scores/ko-en/sum", "perplexity/en/bits_per_byte"} <= set(
        points
    )
    assert all(steps == list(STEPS) for steps in points.values()), points

    # As a driver that was killed between publishing and telling MLflow, which knows nothing here.
    (folder / "_complete.json").unlink()
    shutil.rmtree(tmp_path / "scratch")
    told = Study(tmp_path, *files, database="another.db")
    outcome = told.run(checkpoints=3)
    assert outcome.states == {"base": "reused", "evaluate-base": "done"}
    assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == after
    assert outcome.markers["evaluate-base"]["counts"]["begun"] == 3, "nothing was scored again"
    assert told.points() == {key: list(STEPS) for key in points}
