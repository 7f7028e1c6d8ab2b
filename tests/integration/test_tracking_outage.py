"""An MLflow server that fails in the middle of a run: one line, and the same command goes on."""

import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console

from ccx_ray.cli.command import exit_code
from ccx_ray.cli.outcome import print_outcome
from ccx_ray.errors import TrackingError
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.runner import Runner, Services, StepWork
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.run import StudyRun
from ccx_ray.study.loading import load_study
from ccx_ray.tracking import client, runs
from ccx_ray.tracking.client import PatientClient
from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import MetricLog, Tracking
from ccx_ray.training import metrics
from ccx_ray.training.metrics import STEP_LINES, MetricFollower
from tests.mlflow_proxy import Proxy, mlflow_server

PASSWORD = "s3cr@t"


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(server_folder: Path) -> Iterator[int]:
    with mlflow_server(server_folder) as port:
        yield port


@pytest.fixture
def proxy(server: int) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LOG_SECONDS", 0.1)
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(runs, "ANSWER_SECONDS", 1.0)


def uri_of(proxy: Proxy) -> str:
    return f"http://me:s3cr%40t@127.0.0.1:{proxy.port}"


def write_steps(folder: Path, first: int, last: int) -> None:
    with (folder / STEP_LINES).open("a") as file:
        for step in range(first, last + 1):
            line = {"step": step, "metrics": {"loss": 10.0 - step, "workers": 1.0}}
            file.write(json.dumps(line) + "\n")


def points(port: int, run: str, key: str = "train/loss") -> list[tuple[int, float]]:
    """What the server itself has, one by one."""
    history = MlflowClient(f"http://127.0.0.1:{port}").get_metric_history(run, key)
    return sorted((point.step, point.value) for point in history)


class SmallStudy:
    """A training whose server fails while it runs, its evaluation, and a text beside them."""

    def __init__(self, folder: Path, uri: str, breaks: Callable[[], None]) -> None:
        self.folder, self.uri, self.breaks = folder, uri, breaks
        self.trained = 0
        self.broken = threading.Event()
        base = self._step("base", self._train, resumable=True)
        self.graph = Graph(
            [base, self._step("evaluate-base", self._record, base), self._step("text", self._text)]
        )

    def _step(self, name: str, run: Any, *needs: Step, resumable: bool = False) -> Step:
        return Step(
            name=name, kind="write", version=1, identity={"folder": self.folder.name}, run=run,
            needs={"inputs": {one.name: one for one in needs}}, resumable=resumable,
        )  # fmt: skip

    def _train(self, work: StepWork) -> Mapping[str, Any]:
        run = work.tracking.open_run(name="base", kind="base", fingerprint=work.step.fingerprint)
        with MetricFollower(work.folder, tracking_uri=work.tracking.uri, mlflow_run_id=run):
            if not (work.folder / "model").exists():
                write_steps(work.folder, 1, 3)
                deadline = time.monotonic() + 60
                while len(MlflowClient(self.uri).get_metric_history(run, "train/loss")) < 3:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                self.breaks()
                self.broken.set()
                write_steps(work.folder, 4, 600)
                self.trained += 1
                (work.folder / "model").write_text("weights")
        work.tracking.finish(run)
        return {"run": run}

    def _record(self, work: StepWork) -> Mapping[str, Any]:
        work.record({"accuracy": 0.5})
        return {}

    def _text(self, work: StepWork) -> Mapping[str, Any]:
        assert self.broken.wait(60)
        (work.folder / "rejected.txt").write_text("words")
        return self._record(work)

    def run(self) -> tuple[StudyRun, str]:
        """As ``run_study`` does it; the run, and what the progress said."""
        said = io.StringIO()
        with StudyProgress(self.graph, Console(file=said)) as progress:
            runner = Runner(self.graph, StepFolders(self.folder), progress)
            runner.reuse()
            tracking = Tracking(self.uri, study=self.folder.name, storage=self.folder)
            outcome = runner.run(Services(tracking), limit=lambda _: None)
        study, _ = load_study("laptop")
        run = StudyRun(
            study=study, graph=self.graph, outcome=outcome, folders=runner.folders,
            tracking_uri=self.uri, seconds=1,
        )  # fmt: skip
        return run, said.getvalue()


FAULTS: dict[str, tuple[Callable[[Proxy], None], str]] = {
    "gone": (Proxy.close, "Connection refused"),
    "500": (lambda proxy: setattr(proxy, "status", 500), "HTTP 500 Internal Server Error"),
    "401": (lambda proxy: setattr(proxy, "status", 401), "HTTP 401 Unauthorized"),
    "403": (lambda proxy: setattr(proxy, "status", 403), "HTTP 403 Forbidden"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_in_the_middle_is_one_line(
    fault: str, server: int, proxy: Proxy, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    breaks, reason = FAULTS[fault]
    small = SmallStudy(tmp_path / f"study-{fault}", uri_of(proxy), lambda: breaks(proxy))
    run, progress = small.run()
    print_outcome(run)
    assert exit_code(run) == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line == (
        f"error: runtime.tracking_uri: MLflow at http://me:***@127.0.0.1:{proxy.port} fails "
        f"({reason}); fix it, or give another --tracking-uri; finished work is kept, and the "
        "same command continues"
    )
    assert run.outcome.states == {"base": "failed", "evaluate-base": "skipped", "text": "failed"}
    written = "".join(path.read_text() for path in (small.folder / "errors").iterdir())
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 1 and warned[0].startswith("metrics wait in memory: runtime.tracking_uri")
    everything = said.out + said.err + progress + caplog.text + written
    assert "s3cr" not in everything
    assert "Traceback" not in said.out + said.err + progress + caplog.text

    proxy.heal()
    run, _ = small.run()
    assert exit_code(run) == 0
    assert set(run.outcome.states.values()) == {"done"}
    assert small.trained == 1, "what was trained is kept"
    mlflow_run = run.outcome.markers["base"]["counts"]["run"]
    expected = [(step, 10.0 - step) for step in range(1, 601)]
    assert points(server, mlflow_run) == expected
    found = MlflowClient(f"http://127.0.0.1:{server}")
    assert found.get_run(mlflow_run).info.status == "FINISHED"
    experiment = found.get_experiment_by_name(small.folder.name)
    assert experiment is not None
    names = [one.info.run_name for one in found.search_runs([experiment.experiment_id])]
    assert sorted(names) == ["base", "evaluate-base", small.folder.name, "text"]


def test_a_short_outage_is_waited_for(
    server: int, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 60.0)

    def breaks() -> None:
        proxy.close()
        threading.Timer(1.5, proxy.heal).start()

    small = SmallStudy(tmp_path / "short", uri_of(proxy), breaks)
    run, _ = small.run()
    assert exit_code(run) == 0
    mlflow_run = run.outcome.markers["base"]["counts"]["run"]
    assert points(server, mlflow_run) == [(step, 10.0 - step) for step in range(1, 601)]


def test_an_answer_that_is_lost_doubles_no_point(server: int, proxy: Proxy, tmp_path: Path) -> None:
    tracking = Tracking(uri_of(proxy), study="lost", storage=tmp_path)
    run = tracking.open_run(name="base", kind="base", fingerprint="b")
    log = tracking.metrics(run)
    proxy.losing = "/log-batch"
    log.log(1, {"train/loss": 3.5})
    log.flush()
    assert not proxy.losing
    log.log(2, {"train/loss": 3.0})
    log.close()
    assert points(server, run) == [(1, 3.5), (2, 3.0)]


def test_after_one_wait_in_vain_calls_are_quick_until_one_succeeds(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = Tracking(uri_of(proxy), study="quick", storage=tmp_path)
    proxy.status = 503
    with pytest.raises(TrackingError):
        tracking.find_run("base", "b")
    tracking._client.patience = 600.0
    with pytest.raises(TrackingError, match="HTTP 503"):
        tracking.find_run("base", "b")
    proxy.heal()
    assert tracking.find_run("base", "b") is None
    proxy.status = 503
    threading.Timer(1.5, proxy.heal).start()
    assert tracking.find_run("base", "b") is None


def test_a_database_that_breaks_is_one_line(
    server: int, server_folder: Path, tmp_path: Path
) -> None:
    shutil.copy(server_folder / "mlflow.db", tmp_path)  # a new one would take seconds
    tracking = Tracking(default_tracking_uri(tmp_path), study="database", storage=tmp_path)
    run = tracking.open_run(name="base", kind="base", fingerprint="b")
    log = MetricLog(tracking.uri, run)
    log.log(1, {"train/loss": 3.5})
    log.close()
    (tmp_path / "mlflow.db").write_bytes(b"nothing" * 1000)
    log.log(2, {"train/loss": 3.0})
    with pytest.raises(TrackingError) as failed:
        log.close()
    assert str(failed.value) == (
        f"runtime.tracking_uri: MLflow at {tracking.uri} fails (file is not a database); fix "
        "it, or give another --tracking-uri; finished work is kept, and the same command continues"
    )


def test_a_defect_of_ours_is_no_fault_of_the_place(proxy: Proxy) -> None:
    with pytest.raises(TypeError):
        PatientClient(uri_of(proxy), patience=0.0).get_run()
