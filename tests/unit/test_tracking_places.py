"""Where MLflow keeps runs: odd paths, moved storage, deleted experiments, two at once, refusals."""

import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ccx_ray.errors import UserError
from ccx_ray.tracking.places import (
    check_tracking_server,
    default_tracking_uri,
    without_password,
)
from ccx_ray.tracking.runs import Tracking


def log_a_text(storage: Path) -> str:
    """Open the study's experiment in a storage and keep a text; returns the run's id."""
    tracking = Tracking(default_tracking_uri(storage), study="tiny", storage=storage)
    run = tracking.open_run(name="base", kind="base", fingerprint="f")
    tracking.log_text(run, "words", "said.txt")
    return run


@pytest.mark.parametrize("name", ["50%20 of #한국", "what?"])
def test_a_storage_may_have_any_name(name: str, tmp_path: Path) -> None:
    storage = tmp_path / name
    storage.mkdir()
    run = log_a_text(storage)
    assert (storage / "mlflow.db").stat().st_size > 0
    (text,) = storage.glob("mlartifacts/tiny/*/artifacts/said.txt")
    assert text.read_text() == "words"
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is written elsewhere"
    client = MlflowClient(default_tracking_uri(storage))
    assert [one.path for one in client.list_artifacts(run)] == ["said.txt"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with a run and a text."""
    storage = tmp_path_factory.mktemp("opened") / "old"
    storage.mkdir()
    # In another process, because MLflow remembers for a process where a run's artifacts are.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(log_a_text, storage).result()
    return storage


def test_artifacts_follow_a_storage_that_moved(opened: Path, tmp_path: Path) -> None:
    storage = tmp_path / "new"
    shutil.copytree(opened, storage)
    before = sorted(opened.rglob("*"))
    tracking = Tracking(default_tracking_uri(storage), study="tiny", storage=storage)
    run = tracking.open_run(name="base", kind="base", fingerprint="f")
    tracking.log_text(run, "more", "later.txt")
    (folder,) = storage.glob("mlartifacts/tiny/*/artifacts")
    assert sorted(path.name for path in folder.iterdir()) == ["later.txt", "said.txt"]
    names = [one.path for one in MlflowClient(tracking.uri).list_artifacts(run)]
    assert sorted(names) == ["later.txt", "said.txt"]
    assert sorted(opened.rglob("*")) == before, "nothing is written to the old place"


def test_a_deleted_experiment_is_named(opened: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    shutil.copytree(opened, storage)
    client = MlflowClient(default_tracking_uri(storage))
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(UserError, match=r"^MLflow: the experiment 'tiny' was deleted; restore it"):
        Tracking(default_tracking_uri(storage), study="tiny", storage=storage)


def test_two_studies_may_open_a_new_database_at_the_same_moment(
    project: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from ccx_ray.tracking.places import default_tracking_uri\n"
        "from ccx_ray.tracking.runs import Tracking\n"
        "import mlflow.store.tracking.sqlalchemy_store\n"
        "storage = Path(sys.argv[2]); print('ready', flush=True); input()\n"
        "Tracking(default_tracking_uri(storage), study=sys.argv[1], storage=storage)\n"
    )
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", code, study, str(tmp_path)], cwd=project, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for study in ("one", "two")
    ]  # fmt: skip
    for driver in drivers:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write("\n")
        driver.stdin.flush()
    for driver in drivers:
        _, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, errors
    client = MlflowClient(default_tracking_uri(tmp_path))
    assert {"one", "two"} <= {found.name for found in client.search_experiments()}


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:////no/such/folder/mlflow.db", "cannot be opened (unable to open database file)"),
        ("postgresql://me:s3cr%40t@127.0.0.1:1/runs", "the database postgresql://me:***@127.0.0.1"),
        ("ftp://127.0.0.1/runs", "'ftp' is not a tracking server; the kinds are http://"),
        ("127.0.0.1:5000", "'127.0.0.1' is not a tracking server; the kinds are http://"),
        ("http://127.0.0.1:port", "the tracking server http://127.0.0.1:port does not answer (non"),
        ("http://127.0.0.1:1/a b", "does not answer (URL can't contain control characters"),
        # Reported with MLflow (mlflow#7851): what divides a URI, unescaped in a password.
        ("postgresql://me:s3cr[t@127.0.0.1:1/runs", "me:***@127.0.0.1:1/runs holds '['"),
        ("postgresql://me:x@s3cr@127.0.0.1:1/runs", "me:***@127.0.0.1:1/runs holds '@', which"),
        ("http://me:s3cr#t@127.0.0.1:1", "the password of http://me:***@127.0.0.1:1 holds '#'"),
        ("postgresql://me:s3cr#t@127.0.0.1:1/runs", "postgresql://me:***@127.0.0.1:1/runs cannot"),
        ("postgresql://me:s3cr/t@127.0.0.1:1/runs", "postgresql://me:***@127.0.0.1:1/runs cannot"),
        ("postgresql://127.0.0.1:1/runs?password=s3cr", "/runs?password=*** cannot be opened"),
    ],
)
def test_a_place_that_cannot_be_is_refused_in_one_line(uri: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        check_tracking_server(uri)
    (line,) = str(refused.value).splitlines()
    assert line.startswith("runtime.tracking_uri: ")
    assert message in line
    assert "s3cr" not in line


def test_a_server_of_another_kind_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(UserError, match=r"does not answer \(SSH-2\.0-OpenSSH_9\.9\); start it"):
            check_tracking_server(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_a_password_is_left_out_as_written_and_as_meant() -> None:
    uri = "postgresql://me:s3cr%40t@host/runs"
    assert without_password(f"{uri} s3cr@t", uri) == "postgresql://me:***@host/runs ***"
