"""Ray Tune as the queue of evaluations, and the job for models from elsewhere."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ccx_ray.errors import UserError
from ccx_ray.evaluation.evaluator import Evaluation, count_attempts, evaluate_checkpoint
from ccx_ray.evaluation.following import coarse_first
from ccx_ray.evaluation.models import CausalModel, WarmModels
from ccx_ray.evaluation.results import read_results
from ccx_ray.evaluation.scheduler import EvaluationScheduler
from ccx_ray.study.spec import EvaluationRuntime
from tests.evaluation_kills import evaluators
from tests.probe_models import PROBES, write_random_model
from tests.ray_nodes import wait_until

ENGLISH = next(path for path in PROBES if path.stem == "ko-culture-cloze_en")
QUESTIONS = 60


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def probe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probes") / "ko-en.json"
    items = json.loads(ENGLISH.read_text("utf-8"))[:QUESTIONS]
    path.write_text(json.dumps(items), "utf-8")
    return path


@pytest.fixture(scope="class")
def scheduler(
    ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EvaluationScheduler]:
    scratch = tmp_path_factory.mktemp("scratch")
    with closing(EvaluationScheduler(EvaluationRuntime(), scratch)) as scheduler:
        yield scheduler


def evaluation(
    model: Path, probe: Path, result: Path, step: int, *, priority: int = 0
) -> Evaluation:
    return Evaluation(
        run="base",
        step=step,
        model_folder=model,
        probes=(("ko-en", probe),),
        result=result,
        priority=priority,
    )


class TestOneEvaluator:
    """Of one scheduler, one after the other."""

    def test_checkpoints_are_scored_as_they_come_by_one_warm_evaluator(
        self,
        scheduler: EvaluationScheduler,
        model_folder: Path,
        probe_file: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ):
        results = {step: tmp_path / f"{step}.parquet" for step in (20, 40, 60)}
        processes = []
        for step, result in results.items():
            submitted = evaluation(model_folder, probe_file, result, step)
            scheduler.submit(submitted).result(timeout=120)
            processes.append([process.pid for process in evaluators(psutil.Process())])
            time.sleep(1)  # the queue is empty meanwhile, as it is between two checkpoints
        printed = capfd.readouterr()
        assert len(processes[0]) == 1
        assert processes[0] == processes[1] == processes[2]
        tables = [read_results(result) for result in results.values()]
        assert [set(table["step"].to_pylist()) for table in tables] == [{20}, {40}, {60}]
        assert tables[0]["token_nats"].equals(tables[2]["token_nats"])
        assert "rial" not in printed.out + printed.err, "Tune's tables would tear up the live table"

    def test_a_killed_evaluator_loses_and_doubles_nothing(
        self, scheduler: EvaluationScheduler, model_folder: Path, probe_file: Path, tmp_path: Path
    ):
        results = [tmp_path / f"{step}.parquet" for step in range(5)]
        futures = [
            scheduler.submit(evaluation(model_folder, probe_file, result, step))
            for step, result in enumerate(results)
        ]
        futures[0].result(timeout=120)
        (running,) = evaluators(psutil.Process())
        running.kill()
        for future in futures:
            future.result(timeout=120)
        assert [read_results(result).num_rows for result in results] == [QUESTIONS] * 5
        attempts = count_attempts(tmp_path)
        assert sum(count["begun"] for count in attempts.values()) in (5, 6)
        assert all(count["scored"] in (1, 2) for count in attempts.values())
        assert running.pid not in [process.pid for process in evaluators(psutil.Process())]

    def test_what_is_published_is_not_computed_again_and_a_mistake_is_told(
        self, scheduler: EvaluationScheduler, model_folder: Path, tmp_path: Path
    ):
        done = tmp_path / "done.parquet"
        done.write_bytes(b"published before")
        broken = tmp_path / "broken.json"
        broken.write_text("[", "utf-8")
        assert scheduler.submit(evaluation(model_folder, broken, done, 1)).done()
        assert done.read_bytes() == b"published before"
        wrong = evaluation(model_folder, broken, tmp_path / "never.parquet", 2)
        with pytest.raises(UserError, match=r"broken\.json, line 1: not JSON"):
            scheduler.submit(wrong).result(timeout=120)


def test_a_backlog_is_scored_in_the_order_of_priorities(
    scheduler: EvaluationScheduler, model_folder: Path, probe_file: Path, tmp_path: Path
):
    steps = list(range(10, 90, 10))
    priorities = coarse_first(steps)
    first = evaluation(model_folder, probe_file, tmp_path / "0.parquet", 0, priority=9)
    futures = [scheduler.submit(first)]  # occupies the evaluator, which takes seconds to start
    for step in steps:
        result = tmp_path / f"{step}.parquet"
        waiting = evaluation(model_folder, probe_file, result, step, priority=priorities[step])
        futures.append(scheduler.submit(waiting))
    base = evaluation(model_folder, probe_file, tmp_path / "base.parquet", 1, priority=-1)
    futures.append(scheduler.submit(base))
    for future in futures:
        future.result(timeout=120)
    published = sorted(tmp_path.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    order = [path.stem for path in published]
    expected = ["0", "base", "80", "40", "20", "60", "10", "30", "50", "70"]
    assert order == expected or order == [*expected[1:], "0"], order


def test_an_orphan_that_publishes_later_changes_nothing(
    model_folder: Path, probe_file: Path, tmp_path: Path
):
    submitted = evaluation(model_folder, probe_file, tmp_path / "step-000060.parquet", 60)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(json.loads(probe_file.read_text("utf-8"))[:5]), "utf-8")
    models = WarmModels("cpu")
    # The orphan has begun: it has seen that there are no results yet.
    orphan = replace(submitted, probes=(("ko-en", other),))
    together = threading.Barrier(2)

    class Slow(WarmModels):
        def load(self, folder: Path) -> CausalModel:
            together.wait()
            together.wait()
            return super().load(folder)

    thread = threading.Thread(
        target=evaluate_checkpoint, args=(orphan, Slow("cpu")), kwargs={"tokens_per_batch": 2048}
    )
    thread.start()
    together.wait()
    evaluate_checkpoint(submitted, models, tokens_per_batch=2048)
    before = submitted.result.read_bytes()
    together.wait()
    thread.join()
    assert submitted.result.read_bytes() == before
    assert read_results(submitted.result).num_rows == QUESTIONS
    assert count_attempts(tmp_path) == {"step-000060": {"begun": 2, "scored": 2}}
    evaluate_checkpoint(submitted, models, tokens_per_batch=2048)
    assert count_attempts(tmp_path) == {"step-000060": {"begun": 2, "scored": 2}}, "done is done"


@pytest.mark.usefixtures("ray_cluster")
def test_the_budget_of_failures_is_kept_and_the_next_evaluation_goes_on(
    model_folder: Path, probe_file: Path, tmp_path: Path
):
    runtime = EvaluationRuntime(max_failures=0)
    with closing(EvaluationScheduler(runtime, tmp_path / "scratch")) as scheduler:
        futures = [
            scheduler.submit(evaluation(model_folder, file, tmp_path / f"{step}.parquet", step))
            for step, file in ((1, probe_file), (2, ENGLISH), (3, probe_file))
        ]
        futures[0].result(timeout=120)
        wait_until(lambda: "2" in count_attempts(tmp_path), seconds=60, what="the second begins")
        (running,) = evaluators(psutil.Process())
        running.kill()
        with pytest.raises(RuntimeError, match=r"step 2, died once; .*\(max_failures: 0\)"):
            futures[1].result(timeout=120)
        futures[2].result(timeout=120)
    assert not (tmp_path / "2.parquet").exists()


@pytest.mark.usefixtures("ray_cluster")
def test_when_tune_ends_before_its_time_another_run_does_what_is_left(
    model_folder: Path, probe_file: Path, tmp_path: Path
):
    results = [tmp_path / f"{step}.parquet" for step in range(5)]
    with closing(EvaluationScheduler(EvaluationRuntime(), tmp_path / "scratch")) as scheduler:
        futures = [
            scheduler.submit(evaluation(model_folder, probe_file, result, step))
            for step, result in enumerate(results)
        ]
        futures[0].result(timeout=120)
        swept = sweep_away_state_of_tune()
        assert swept
        for future in futures:
            future.result(timeout=120)
    assert (tmp_path / "scratch" / "evaluations-1").is_dir(), "one run did it all"
    assert [read_results(result).num_rows for result in results] == [QUESTIONS] * 5


def sweep_away_state_of_tune() -> list[Path]:
    """What a cleaner of temporary files may do; a file in its place keeps Tune from mending it."""
    import ray

    node = ray._private.worker._global_node
    assert node is not None
    artifacts = Path(node.get_session_dir_path()) / "artifacts"
    newest = max(artifacts.iterdir(), key=lambda path: path.stat().st_mtime)
    swept = list(newest.glob("evaluations-0/driver_artifacts"))
    for folder in swept:
        folder.rename(folder.with_name("swept"))
        folder.write_text("no folder", "utf-8")
    return swept


@pytest.mark.usefixtures("ray_cluster")
def test_evaluators_that_cannot_start_fail_what_waits(
    model_folder: Path, probe_file: Path, tmp_path: Path
):
    no_folder = tmp_path / "scratch"
    no_folder.write_text("a file where Tune wants a folder", "utf-8")
    with closing(EvaluationScheduler(EvaluationRuntime(), no_folder)) as scheduler:
        future = scheduler.submit(
            evaluation(model_folder, probe_file, tmp_path / "never.parquet", 1)
        )
        with pytest.raises(RuntimeError, match="evaluators ended"):
            future.result(timeout=60)
