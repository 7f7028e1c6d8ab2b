"""Ray Tune as the queue of evaluations, and the job for models from elsewhere."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import load_probe
from ccx_ray.evaluation.results import read_results
from ccx_ray.evaluation.scheduler import Evaluation, EvaluationScheduler
from ccx_ray.study.spec import EvaluationRuntime
from tests.probe_models import PROBES, write_random_model
from tests.tiny_study import PROJECT


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


def evaluation(model: Path, result: Path, step: int, probe: int = 0) -> Evaluation:
    return Evaluation(
        run="base",
        step=step,
        model_folder=model,
        probes=((PROBES[probe].stem, PROBES[probe]),),
        result=result,
    )


def evaluators() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if "ray::Evaluator" in str(p.info)]


@pytest.mark.usefixtures("ray_cluster")
def test_evaluations_are_scored_as_they_come_on_one_warm_actor(model_folder: Path, tmp_path: Path):
    scheduler = EvaluationScheduler(EvaluationRuntime(), tmp_path / "scratch")
    first = scheduler.submit(evaluation(model_folder, tmp_path / "1.parquet", 1))
    first.result(timeout=120)
    warm = []
    for step in (2, 3, 4):
        time.sleep(1.5)  # the queue is empty meanwhile, as it is between two checkpoints
        started = time.monotonic()
        scheduler.submit(evaluation(model_folder, tmp_path / f"{step}.parquet", step)).result(120)
        warm.append(time.monotonic() - started)
    scheduler.close()
    rows = [read_results(tmp_path / f"{step}.parquet") for step in (1, 2, 3, 4)]
    assert [set(table["step"].to_pylist()) for table in rows] == [{1}, {2}, {3}, {4}]
    assert rows[0]["scores"].equals(rows[3]["scores"])
    print(f"warm evaluations took {warm}")


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_evaluator_loses_and_doubles_nothing(model_folder: Path, tmp_path: Path):
    scheduler = EvaluationScheduler(EvaluationRuntime(), tmp_path / "scratch")
    results = [tmp_path / f"{step}.parquet" for step in range(6)]
    futures = [
        scheduler.submit(evaluation(model_folder, result, step, probe=2))
        for step, result in enumerate(results)
    ]
    futures[0].result(120)
    running = evaluators()
    assert running
    running[0].kill()
    for future in futures:
        future.result(timeout=180)
    scheduler.close()
    questions = len(load_probe(PROBES[2], "p").items)
    assert [read_results(result).num_rows for result in results] == [questions] * 6


@pytest.mark.usefixtures("ray_cluster")
def test_what_is_published_is_not_computed_again_and_a_mistake_is_told(
    model_folder: Path, tmp_path: Path
):
    done = tmp_path / "done.parquet"
    done.write_bytes(b"published before")
    scheduler = EvaluationScheduler(EvaluationRuntime(), tmp_path / "scratch")
    assert scheduler.submit(evaluation(model_folder, done, 1)).done()
    assert done.read_bytes() == b"published before"
    broken = tmp_path / "broken.json"
    broken.write_text("[", "utf-8")
    wrong = Evaluation(
        run="base",
        step=2,
        model_folder=model_folder,
        probes=(("broken", broken),),
        result=tmp_path / "never.parquet",
    )
    with pytest.raises(UserError, match=r"broken\.json, line 1: not JSON"):
        scheduler.submit(wrong).result(timeout=120)
    scheduler.close()


def evaluate(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(PROJECT / "jobs" / "evaluate.py")
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )


def test_the_job_writes_every_score(model_folder: Path, tmp_path: Path):
    out = tmp_path / "out.json"
    files = [str(PROBES[0]), str(PROBES[1])]
    done = evaluate("--model", str(model_folder), "--probes", *files, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "precision float32" in done.stderr
    content = json.loads(out.read_text("utf-8"))
    assert content["scoring"] == "reference"
    assert [probe["file"] for probe in content["probes"]] == files
    for probe in content["probes"]:
        assert probe["questions"] == len(probe["items"]) == 268
        assert probe["correct"] == sum(item["correct"] for item in probe["items"])
        item = probe["items"][7]
        assert set(item) == {"index", "scores", "ranking", "correct", "tied"}
        assert item["scores"][item["ranking"][0]] == min(item["scores"])
        assert f"{probe['accuracy']:.1%}" in done.stdout


def test_the_job_refuses_in_one_line(model_folder: Path, tmp_path: Path):
    probes = ("--probes", str(PROBES[0]))
    out = ("--out", str(tmp_path / "out.json"))
    for arguments, expected in (
        (("--model", str(tmp_path / "none"), *probes, *out), "is not an existing folder"),
        (("--model", str(tmp_path), *probes, *out), ": no config (config.json)"),
        (
            ("--model", str(model_folder), "--probes", str(tmp_path / "no.json"), *out),
            "no.json: cannot be read",
        ),
        (
            ("--model", str(model_folder), *probes, "--out", str(tmp_path / "no" / "out.json")),
            "--out: ",
        ),
    ):
        started = time.monotonic()
        done = evaluate(*arguments)
        assert time.monotonic() - started < 10
        assert done.returncode == 2
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
