"""A whole study as a user runs it: once, again, killed and continued, and one trial anew."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from ccx_ray.status import read_status
from ccx_ray.training.checkpoints import resume_steps
from ccx_ray.training.run_time_files import GROUPS, read_restarts
from tests.jobs import call_job, environment, job_command
from tests.tiny_study import (
    TRIALS,
    FinishedStudy,
    Results,
    call_study_job,
    command,
    run_study_job,
)

TRAINED = ("training", "evaluation", "analysis")
"""Kinds of steps that need the base or come after it."""


@pytest.fixture(scope="module")
def study(finished_study: FinishedStudy) -> Path:
    return finished_study.study


@pytest.fixture(scope="module")
def undisturbed(finished_study: FinishedStudy) -> Results:
    return finished_study.results


@pytest.fixture(scope="module")
def continued(
    study: Path, finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory
) -> Results:
    """Trials and the rest on a local cluster, whose driver is killed while trials train."""
    storage = tmp_path_factory.mktemp("continued")
    finished_study.copy_steps(storage, without=TRAINED, keep=("base", "evaluate-base"))
    with (storage / "driver.log").open("w") as log:
        driver = subprocess.Popen(
            command("full_study", study, storage), stdout=log, stderr=log, env=environment()
        )
        try:
            deadline = time.monotonic() + 300
            while not list((storage / "tiny").glob("trial-*/checkpoints/step-000030")):
                assert driver.poll() is None, (storage / "driver.log").read_text()
                assert time.monotonic() < deadline, (storage / "driver.log").read_text()
                time.sleep(0.02)
        finally:
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
    status = read_status(storage / "tiny")
    assert status.state == "killed"
    assert {s.state for s in status.steps if s.name.startswith("trial-")} == {"stopped"}
    assert max(s.step for s in status.trainings) > 0, "as of a second before the kill at most"
    assert not list((storage / "tiny").glob("trial-*/_complete.json")), "killed too late"
    done = run_study_job("full_study", study, storage)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "report.html" in done.stdout
    return Results(storage=storage)


def test_every_trial_has_loss_curves_and_evaluations_in_mlflow(undisturbed: Results):
    (parent,) = undisturbed.mlflow_runs("study")
    (base,) = undisturbed.mlflow_runs("base")
    (audit,) = undisturbed.mlflow_runs("audit")
    assert audit.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert audit.data.metrics["audit/ko-s0/token_difference"] == 0
    assert audit.data.metrics["audit/ko/forbidden_characters"] == 0
    trials = {run.info.run_name: run for run in undisturbed.mlflow_runs("trial")}
    assert set(trials) == set(TRIALS)
    for run in (base, *trials.values()):
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.info.status == "FINISHED"
    for name, run in trials.items():
        assert run.data.tags["ccx.condition"] == name.split("-")[1]
        losses = undisturbed.history(run.info.run_id, "train/loss")
        assert [step for step, _ in losses] == list(range(1, 91))
        assert [value for _, value in losses] == undisturbed.losses(f"trial-{name}")
        for probe in ("ko-en", "ko-ko"):
            accuracy = undisturbed.history(run.info.run_id, f"eval/{probe}/accuracy")
            assert sorted(step for step, _ in accuracy) == [30, 60, 90]  # the last may come first


def test_the_report_and_its_numbers_are_there(undisturbed: Results):
    folder = undisturbed.folder("analysis")
    assert "ko" in (folder / "report.html").read_text("utf-8")
    json.loads((folder / "results.json").read_text("utf-8"), parse_constant=pytest.fail)


def test_the_same_command_again_computes_nothing(study: Path, undisturbed: Results):
    before = {p: p.stat().st_mtime_ns for p in undisturbed.storage.rglob("*") if p.is_file()}
    again = run_study_job("full_study", study, undisturbed.storage)
    assert again.returncode == 0, again.stderr
    assert " done" not in again.stdout.splitlines()[1]
    after = {p: p.stat().st_mtime_ns for p in undisturbed.storage.rglob("*") if p.is_file()}
    changed = {p.name for p in after.keys() | before.keys() if after.get(p) != before.get(p)}
    assert changed <= {"driver.lock", "run.json", "run-state.json"}
    status = call_job("status", "--study", "tiny", "--storage", str(undisturbed.storage))
    assert status.stdout.startswith("study tiny: complete ")
    assert str(undisturbed.folder("analysis") / "report.html") in status.stdout
    assert "report.html" in again.stdout
    assert " CPU worker hours of training, of which 0.00 in this run" in again.stdout


def test_a_killed_and_continued_study_equals_an_undisturbed_one(
    undisturbed: Results, continued: Results
):
    for trial in TRIALS:
        assert continued.losses(f"trial-{trial}") == undisturbed.losses(f"trial-{trial}")
        assert continued.answers(trial).equals(undisturbed.answers(trial))


def test_no_step_is_doubled_in_mlflow_after_a_kill(undisturbed: Results, continued: Results):
    expected = {run.info.run_name: run for run in undisturbed.mlflow_runs("trial")}
    found = continued.mlflow_runs("trial")
    assert sorted(run.info.run_name for run in found) == sorted(expected)
    for run in found:
        same = expected[run.info.run_name].info.run_id
        for key in (
            "train/loss",
            "eval/ko-en/accuracy",
            "eval/ko-ko/accuracy",
            "eval_scores/ko-ko/mutual_information",
            "perplexity/ko/bits_per_byte",
        ):
            assert continued.history(run.info.run_id, key), key
            assert sorted(continued.history(run.info.run_id, key)) == sorted(
                undisturbed.history(same, key)
            )


def test_a_rerun_makes_a_new_run_and_keeps_the_old(study: Path, continued: Results):
    (old,) = [r for r in continued.mlflow_runs("trial") if r.info.run_name == "ko-bridge-s0"]
    old_folder, old_analysis = continued.folder("trial-ko-bridge-s0"), continued.folder("analysis")
    losses = continued.losses("trial-ko-bridge-s0")
    done = run_study_job(
        "run_trial", study, continued.storage, "--trial", "ko-bridge-s0", "--rerun"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [r for r in continued.mlflow_runs("trial") if r.info.run_name == "ko-bridge-s0"]
    assert len(runs) == 2
    (new,) = [run for run in runs if run.info.run_id != old.info.run_id]
    (kept,) = [run for run in runs if run.info.run_id == old.info.run_id]
    assert kept.data.tags["ccx.superseded_by"] == new.info.run_id
    assert len(continued.history(kept.info.run_id, "train/loss")) == 90
    new_folder, new_analysis = continued.folder("trial-ko-bridge-s0"), continued.folder("analysis")
    assert old_folder.is_dir()
    assert new_folder != old_folder
    assert new_analysis != old_analysis
    marker = json.loads((new_analysis / "_complete.json").read_text("utf-8"))
    evaluation = continued.folder("evaluate-ko-bridge-s0").name.rpartition("-")[2]
    assert marker["upstream"]["evaluate-ko-bridge-s0"] == evaluation
    # Nothing but chance is left out of a rerun's identity, and on the CPU there is no chance.
    assert continued.losses("trial-ko-bridge-s0") == losses


def test_the_audit_and_the_ledger_answer_for_a_finished_study(study: Path, undisturbed: Results):
    audit = call_study_job("audit", study, undisturbed.storage)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "no limit exceeded" in audit.stdout
    crossed = call_study_job(
        "audit", study, undisturbed.storage, "--set", "audit.rejected_share=0.0"
    )
    assert crossed.returncode == 3
    assert "1 of 14 limits exceeded" in crossed.stdout
    consumed = call_study_job("exposure", study, undisturbed.storage, "--trial", TRIALS[0])
    assert consumed.returncode == 0, consumed.stdout + consumed.stderr
    assert {"english", "target", "monolingual"} <= set(consumed.stdout.split())
    unknown = ("--trial", TRIALS[0], "--documents", "no-such-id")
    refused = call_study_job("exposure", study, undisturbed.storage, *unknown)
    assert refused.returncode == 2
    assert refused.stderr.strip().startswith("error: --documents: 'no-such-id'")


def test_an_interrupted_training_leaves_a_state_and_the_same_command_goes_on_from_it(
    finished_study: FinishedStudy, tmp_path: Path
):
    """Ctrl-C while a base trains that would take hours; resumed and stopped by jobs/status.py,
    from another folder and with the storage alone."""
    study, results = finished_study.study, finished_study.copy_steps(tmp_path, without=TRAINED)
    endless = ("--set", "base.steps=200000", "base.optimizer.warmup_steps=10")
    pretrain = command("pretrain_base", study, results.storage, *endless)
    folder, reached = interrupt_base(
        pretrain, results.storage, lambda driver: driver.send_signal(signal.SIGINT), groups=1
    )
    (state,) = resume_steps(folder)
    assert state >= reached
    by_name = ["--study", "tiny", "--storage", str(results.storage)]

    def stop(driver: "subprocess.Popen[str]") -> None:
        shown = json.loads(call_job("status", *by_name, "--json").stdout)
        assert (shown["state"], shown["process"]) == ("running", driver.pid)
        assert next(s["step"] for s in shown["trainings"] if s["name"] == "base") > state
        stopped = call_job("status", *by_name, "--stop")
        assert stopped.returncode == 0, stopped.stderr
        assert stopped.stdout.startswith("study tiny: stopped ")

    resume = job_command("status", *by_name, "--resume")
    interrupt_base(resume, results.storage, stop, groups=2, cwd=tmp_path)
    assert [start["resumed_from"] for start in read_restarts(folder, GROUPS)] == [0, state]
    runs = [run for run in results.mlflow_runs("base") if run.info.status == "KILLED"]
    assert len(runs) == 1, "MLflow knows that it was interrupted"


def interrupt_base(
    driving: Sequence[str],
    storage: Path,
    interrupt: "Callable[[subprocess.Popen[str]], None]",
    *,
    groups: int,
    cwd: Path | None = None,
) -> tuple[Path, int]:
    """Interrupt a driver when so many groups of workers have trained its base, the last of them a
    few steps; the base's folder, and the step."""
    driver = subprocess.Popen(
        driving, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(),
        cwd=cwd,
    )  # fmt: skip
    deadline, first, step = time.monotonic() + 300, None, 0
    while first is None or step < first + 5:
        assert driver.poll() is None, driver.stderr and driver.stderr.read()
        assert time.monotonic() < deadline
        for path in (storage / "tiny").glob("base-*/progress.json"):
            folder, step = path.parent, json.loads(path.read_text("utf-8"))["step"]
            if not (folder / "_complete.json").exists() and first is None:
                starts = read_restarts(folder, GROUPS)
                first = step if len(starts) == groups else None
        time.sleep(0.1)
    started = psutil.Process(driver.pid).children(recursive=True)
    interrupt(driver)
    _, errors = driver.communicate(timeout=60)
    _, orphans = psutil.wait_procs(started, timeout=15)
    assert not orphans, "nothing of a local cluster outlives its driver"
    assert driver.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM), errors
    assert "give the same command again to continue" in errors
    return folder, step
