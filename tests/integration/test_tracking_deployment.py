"""The tracking server of ``deploy/`` with PostgreSQL and an S3 store, going away in the middle."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from ccx_ray.analysis.study_views import TRAININGS, view_tags
from ccx_ray.errors import TrackingError
from ccx_ray.study.loading import load_study
from ccx_ray.tracking import runs
from ccx_ray.tracking.datasets import Dataset
from ccx_ray.tracking.runs import MetricLog, Tracking
from tests.deployed_server import (
    ADMIN_PASSWORD,
    DATABASE_PASSWORD,
    RECIPE,
    DeployedServer,
    example,
)
from tests.documentation import commands_that_are
from tests.failing_store import CREDENTIALS, s3_server
from tests.jobs import PROJECT, call_job
from tests.postgresql import Postgres, postgresql

PASSWORDS = {"admin": ADMIN_PASSWORD, "kim": "a long password", "lee": "another long one"}
KIM = ("kim", PASSWORDS["kim"])
STUDY = "pilot"
"""Which deploy/README.md names."""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgresql() as server:
        server.create("mlflow", DATABASE_PASSWORD)
        yield server


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """A client of the S3 server, past the tracking server."""
    import boto3

    with s3_server() as port:
        yield boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip


@pytest.fixture(scope="module")
def server(
    database: Postgres, store: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeployedServer]:
    """With the users kim and lee, the first made by the command of README.md."""
    store_port = int(store.meta.endpoint_url.rpartition(":")[2])
    server = DeployedServer(
        tmp_path_factory.mktemp("server"), database_port=database.port, store_port=store_port
    )
    store.create_bucket(Bucket=server.bucket)
    try:
        with ThreadPoolExecutor() as pool:
            starting = pool.submit(server.start)
            import_module("mlflow.server.auth.client")  # meanwhile, because it takes seconds
        print(f"the first start of the server took {starting.result():.1f} s")
        with pytest.MonkeyPatch.context() as patch:
            act_as(patch, "admin")
            run_command_of_readme("create_user", server)
            accounts(server).create_user("lee", PASSWORDS["lee"])
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def as_kim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is kim's, who has no key of the store."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "MLFLOW_TRACKING_"))]:
        monkeypatch.delenv(name)
    act_as(monkeypatch, "kim")


def act_as(patch: pytest.MonkeyPatch, user: str, password: str | None = None) -> None:
    patch.setenv("MLFLOW_TRACKING_USERNAME", user)
    patch.setenv("MLFLOW_TRACKING_PASSWORD", password or PASSWORDS[user])


def accounts(server: DeployedServer) -> Any:
    from mlflow.server import get_app_client

    return get_app_client("basic-auth", server.uri)


def run_command_of_readme(naming: str, server: DeployedServer) -> None:
    """Run what the command of deploy/README.md that names this runs."""
    (words,) = (one.words for one in commands_that_are("on the server") if naming in one.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        exec(os.path.expandvars(words[2]), {})


@pytest.fixture
def tracking(server: DeployedServer, tmp_path: Path) -> Tracking:
    return Tracking(server.uri, study=STUDY, storage=tmp_path)


EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=5"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts?path=0"


@pytest.mark.parametrize("path", [EXPERIMENTS, ARTIFACTS, "/", "/graphql"])
def test_a_request_without_a_password_is_refused(server: DeployedServer, path: str):
    assert server.status(path) == 401
    assert server.status(path, account=("kim", "a wrong password")) == 401


@pytest.mark.parametrize("path", [EXPERIMENTS, ARTIFACTS])
def test_a_request_to_another_name_is_refused(server: DeployedServer, path: str):
    assert server.status(path, account=KIM, Host="another.example") == 403
    (name,) = example()["MLFLOW_HOSTS"].split(",")
    assert server.status(path, account=KIM, Host=name) == 200
    assert server.status(path, account=KIM) == 200, "127.0.0.1 with its port"


def test_a_browser_behind_the_proxy_may_search_and_another_page_may_not(server: DeployedServer):
    (name,) = example()["MLFLOW_HOSTS"].split(",")

    def search(origin: str) -> int:
        headers = {"Host": name, "Origin": origin, "Content-Type": "application/json"}
        body = b'{"experiment_ids": ["0"]}'
        return server.status("/ajax-api/2.0/mlflow/runs/search", account=KIM, body=body, **headers)

    assert search(f"https://{name}") == 200
    assert search("https://another.example") == 403


def test_a_study_is_kept_and_read_back_through_the_server(
    server: DeployedServer, tracking: Tracking, store: Any, tmp_path: Path
):
    study, _ = load_study(STUDY)
    stream = Dataset(name="stream-ko-s0-bridge", digest="0123abcd", uri="s3://text/stream",
                     size={"num_rows": 5}, context="training")  # fmt: skip
    probe = Dataset(name="probe-ko-en", digest="4567cdef", uri="s3://text/probe",
                    size={"num_questions": 8}, context="evaluation")  # fmt: skip
    tags = view_tags(study)
    tracking.tag_experiment(tags)
    run = tracking.open_run(
        name="ko-bridge-s0", kind="trial", fingerprint="f1", tags={"ccx.language": "ko"},
        parameters={"steps": 30},
    )  # fmt: skip
    tracking.log_datasets(run, [stream, probe])
    model = tracking.models(run).log(
        30, name="ko-bridge-s0", parameters={"sha256": "ab"}, tags={"ccx.kind": "trial"}
    )
    log = tracking.metrics(run)
    log.log(30, {"eval/ko-en/accuracy": 0.75}, model=model,
            datasets={"eval/ko-en/accuracy": probe})  # fmt: skip
    log.close()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "large.bin").write_bytes(os.urandom(3_000_000))
    tracking.log_artifacts(run, tmp_path)
    tracking.log_text(run, "문화", "said.txt")
    tracking.finish(run)

    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    assert tags.items() <= experiment.tags.items()
    (found,) = client.search_runs([experiment.experiment_id], "tags.`ccx.language` = 'ko'")
    assert (found.info.run_id, found.info.status) == (run, "FINISHED")
    assert found.data.params["steps"] == "30"
    assert {one.dataset.name for one in found.inputs.dataset_inputs} == {stream.name, probe.name}
    (logged,) = client.search_logged_models([experiment.experiment_id])
    assert (logged.model_id, logged.params["step"]) == (model, "30")
    (metric,) = logged.metrics or ()
    assert (metric.value, metric.dataset_name) == (0.75, probe.name)
    kept = {item["Key"] for item in store.list_objects_v2(Bucket=server.bucket)["Contents"]}
    place = f"{server.below}/{experiment.experiment_id}/{run}/artifacts"
    assert {f"{place}/said.txt", f"{place}/figures/large.bin"} == kept
    back = Path(client.download_artifacts(run, "", str(tmp_path)))
    assert (back / "said.txt").read_text("utf-8") == "문화"
    large = (back / "figures" / "large.bin").read_bytes()
    assert large == (tmp_path / "figures" / "large.bin").read_bytes()

    shown = call_job("ui", "--study", STUDY, "--tracking-uri", server.uri)
    assert shown.returncode == 0, shown.stderr
    assert f"{server.uri}/#/experiments/{experiment.experiment_id}/runs" in shown.stdout
    assert TRAININGS in shown.stdout
    assert not list(server.works_in.iterdir()), "the server writes nothing where it is started"
    assert not Path(server.settings["HOME"]).exists()


def calls_that_write(tracking: Tracking, run: str, storage: Path) -> dict[str, Callable[[], Any]]:
    def metrics() -> None:
        log = tracking.metrics(run)
        log.log(1, {"train/loss": 3.5})
        log.close()

    return {
        "a run": lambda: tracking.open_run(name="base", kind="base", fingerprint="other"),
        "metrics": metrics,
        "a model": lambda: tracking.models(run).log(1, name="base", parameters={}, tags={}),
        "an artifact": lambda: tracking.log_text(run, "words", "words.txt"),
        "a tag": lambda: tracking.tag_experiment({"ccx.mine": "yes"}),
        "a study": lambda: Tracking(tracking.uri, study=STUDY, storage=storage),
    }


def test_a_user_without_rights_gets_one_line(
    server: DeployedServer, tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tracking.open_run(name="of kim", kind="trial", fingerprint="of kim")
    calls = calls_that_write(tracking, run, tmp_path)
    for user, password, reason in (
        ("lee", None, "HTTP 403 Forbidden"),
        ("lee", "a wrong password", "HTTP 401 Unauthorized"),
    ):
        act_as(monkeypatch, user, password)
        for what, call in calls.items():
            with pytest.raises(TrackingError) as refused:
                call()
            assert str(refused.value) == (
                f"runtime.tracking_uri: MLflow at {server.uri} fails ({reason}); fix it, or "
                "give another --tracking-uri; finished work is kept, and the same command continues"
            ), what
    act_as(monkeypatch, "lee")
    assert tracking.find_run("trial", "of kim") == run, "others may read"
    act_as(monkeypatch, "admin")
    run_command_of_readme("grant_user_permission", server)
    act_as(monkeypatch, "lee")
    for call in calls.values():
        call()
    assert MlflowClient(server.uri).get_run(run).data.metrics == {"train/loss": 3.5}


class Training(threading.Thread):
    """Logs a step every 10 ms."""

    def __init__(self, log: MetricLog) -> None:
        super().__init__(daemon=True)
        self.step = 0
        self.longest = 0.0
        """Seconds that a call took at most."""
        self._log = log
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.wait(0.01):
            began = time.monotonic()
            self._log.log(self.step + 1, values(self.step + 1))
            self.longest = max(self.longest, time.monotonic() - began)
            self.step += 1

    def end(self) -> None:
        self._ends.set()
        self.join(300)
        assert not self.is_alive()


def values(step: int) -> Mapping[str, float]:
    return {"train/loss": 10.0 - step / 8, "train/learning_rate": step / 16}


def wait_for_points(client: MlflowClient, run: str, beyond: int) -> None:
    """Until a step beyond this one has arrived."""
    deadline = time.monotonic() + 60
    while max((p.step for p in client.get_metric_history(run, "train/loss")), default=0) <= beyond:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("away", [5.0, pytest.param(60.0, marks=pytest.mark.storm)])
def test_a_server_that_is_killed_and_comes_back_loses_and_doubles_no_point(
    server: DeployedServer, tracking: Tracking, monkeypatch: pytest.MonkeyPatch, away: float
):
    """Away for so many seconds, and until it has started."""
    monkeypatch.setattr(runs, "FLUSH_SECONDS", 0.05)  # so that it is killed at an answer
    client = MlflowClient(server.uri)
    run = tracking.open_run(name="killed", kind="trial", fingerprint=f"killed-{away}")
    log = tracking.metrics(run)
    training = Training(log)
    training.start()
    wait_for_points(client, run, beyond=20)
    server.kill()
    before, killed = training.step, time.time()
    time.sleep(away)
    started = server.start()
    back, during = time.time(), training.step
    away = back - killed
    wait_for_points(client, run, beyond=during)
    training.end()
    log.close()
    again = tracking.metrics(run)  # of a driver that goes on from a checkpoint
    for step in range(before, training.step + 1):
        again.log(step, values(step))
    again.close()
    print(
        f"away {away:.1f} s, of which {started:.1f} s to start; {during - before} of "
        f"{training.step} steps meanwhile; the longest call took {training.longest:.2f} s"
    )
    assert during - before > 20 * away, "the training goes on"
    for key in values(0):
        history = client.get_metric_history(run, key)
        points = sorted((point.step, point.value) for point in history)
        assert points == [(step, values(step)[key]) for step in range(1, training.step + 1)]
        stamps = sorted(point.timestamp / 1000 for point in history)
        meanwhile = [killed, *(stamp for stamp in stamps if killed < stamp < back), back]
        assert max(b - a for a, b in pairwise(meanwhile)) < away / 2, "of when they were measured"


def test_a_database_that_is_stopped_and_comes_back_loses_and_doubles_no_point(
    server: DeployedServer, database: Postgres, tracking: Tracking
):
    run = tracking.open_run(name="database", kind="trial", fingerprint="database")
    log = tracking.metrics(run)
    log.log(1, {"train/loss": 3.5})
    log.flush()
    database.stop()
    try:
        log.log(2, {"train/loss": 3.25})
        log.flush()
        with pytest.raises(TrackingError, match=r"\(HTTP 503 Service Unavailable\)") as failed:
            MetricLog(server.uri, run)._client.get_run(run)
        assert "mlflow:" not in str(failed.value)
    finally:
        database.start()
    log.log(3, {"train/loss": 3.0})
    log.close()
    history = MlflowClient(server.uri).get_metric_history(run, "train/loss")
    assert sorted((p.step, p.value) for p in history) == [(1, 3.5), (2, 3.25), (3, 3.0)]


def test_no_password_stands_in_a_command_line_or_the_log(server: DeployedServer):
    assert server.process is not None
    parent = psutil.Process(server.process.pid)
    said = server.log.read_text()
    for process in (parent, *parent.children(recursive=True)):
        said += " ".join(process.cmdline())
    assert "mlflow.server.auth" in said
    secret = {server.settings["MLFLOW_FLASK_SERVER_SECRET_KEY"], *PASSWORDS.values()}
    for password in secret | {DATABASE_PASSWORD, server.settings["MLFLOW_DATABASE"]}:
        assert password not in said
    (config,) = Path(server.settings["RUNTIME_DIRECTORY"]).iterdir()
    assert config.stat().st_mode & 0o077 == 0


def test_the_recipe_names_the_version_and_every_setting():
    readme, script, settings = (
        (RECIPE / name).read_text("utf-8")
        for name in ("README.md", "mlflow-server.sh", "mlflow-server.env.example")
    )
    (version,) = re.findall(r"mlflow\[auth\]==([\d.]+)", readme)
    assert f"\nmlflow=={version}\n" in (PROJECT / "constraints.txt").read_text("utf-8")
    named = set(re.findall(r"\$\{(MLFLOW_\w+):", script))
    assert named <= set(re.findall(r"^(?:# )?(\w+)=", settings, re.M))
    assert not [value for value in example().values() if "#" in value], "no comment for systemd"
