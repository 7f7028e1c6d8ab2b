"""Where a study stands, from its storage alone: running, killed, failed, done."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccx_ray.errors import UserError
from ccx_ray.orchestration.driver import Interrupted
from ccx_ray.orchestration.provenance import hide_credentials
from ccx_ray.orchestration.record import RUN, STATE, STOP
from ccx_ray.status import StudyStatus, read_status
from tests.jobs import call_job
from tests.recorded_study import GRAPH, SPEC, TRIALS, finish, half_done, record

HALF_DONE = "trial-ko-bridge-s0"


def status_job(storage: Path, *arguments: str) -> Any:
    return call_job("status", "--study", "mine", "--storage", str(storage), *arguments)


def states_of(status: StudyStatus) -> dict[str, str]:
    return {step.name: step.state for step in status.steps}


def test_a_running_study_from_another_folder_with_the_storage_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with half_done(tmp_path):
        job = status_job(tmp_path, "--json")
        shown = status_job(tmp_path)
    assert job.returncode == 0, job.stderr
    found = json.loads(job.stdout)
    assert set(found) == {*StudyStatus.__dataclass_fields__, "stages"}
    assert (found["format"], found["study"], found["state"]) == (1, "mine", "running")
    assert found["stages"]["training"] == {"steps": 3, "done": 1, "running": 1, "waiting": 1}
    (trial,) = (one for one in found["trainings"] if one["name"] == HALF_DONE)
    assert (trial["step"], trial["steps"], trial["loss"]) == (12, SPEC.trials.steps, 2.5)
    assert (trial["checkpoints"], trial["scored"], trial["waiting"]) == (
        len(SPEC.trials.checkpoint_steps), 1, 1
    )  # fmt: skip
    assert "running for 0:0" in shown.stdout
    assert "loss 2.500, 640 tokens/s" in shown.stdout
    assert f"--study mine --storage {tmp_path} --stop" in shown.stdout


def test_what_is_left_is_measured(tmp_path: Path) -> None:
    """The running trial takes 2 s a step; the other one the 20 s of the base's start-up, and its
    tokens at the base's speed; both are scored 10 s after their end, as the base was."""
    with half_done(tmp_path):
        status = read_status(tmp_path / "mine")
    first = 2.0 * (SPEC.trials.steps - 12)
    tokens = SPEC.trials.steps * SPEC.trials.sequences_per_step
    second = 20.0 + 100.0 * tokens / (SPEC.base.steps * SPEC.base.sequences_per_step)
    assert status.seconds_left == pytest.approx(first + second + 10.0)
    assert status.seconds_unknown_of == ["analysis", "audit", "exposure"]
    assert status.cost.device_hours == pytest.approx(2 * 12 * 2.0 / 3600), "of two workers"
    assert status.cost.dollars is None, "on CPUs"
    assert status.cost.planned_device_hours_left > 0


def test_a_killed_driver_is_told_from_a_running_one(tmp_path: Path) -> None:
    with half_done(tmp_path):
        pass
    status = read_status(tmp_path / "mine")
    assert status.state == "killed"
    assert states_of(status)[HALF_DONE] == "stopped"
    shown = status_job(tmp_path).stdout
    assert f"python jobs/status.py --study mine --storage {tmp_path} --resume" in shown


def test_on_another_machine_the_heartbeat_tells_whether_the_driver_lives(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with half_done(tmp_path):
        pass
    run = json.loads((folder / RUN).read_text())
    (folder / RUN).write_text(json.dumps({**run, "host": "another-machine"}))
    assert read_status(folder).state == "running"
    state = json.loads((folder / STATE).read_text())
    old = {**state, "heartbeat": "2026-01-01T00:00:00+00:00"}
    (folder / STATE).write_text(json.dumps(old))
    assert read_status(folder).state == "killed"


def test_a_failure_has_its_cause_and_the_command_that_repairs(tmp_path: Path) -> None:
    folder, failed = tmp_path / "mine", GRAPH[HALF_DONE]
    with half_done(tmp_path) as kept, kept:
        kept.settled(failed, "failed", "RuntimeError: loss is not finite at step 12")
        kept.settled(GRAPH["analysis"], "skipped", "")
    status = read_status(folder)
    assert (status.state, status.cause) == ("failed", None)
    assert states_of(status)["analysis"] == "skipped"
    shown = status_job(tmp_path).stdout
    assert f"failed   {HALF_DONE}: RuntimeError: loss is not finite at step 12" in shown
    assert f"traceback: {folder}/errors/{failed.folder_name}.txt" in shown
    assert f"--storage {tmp_path} --resume" in shown


def test_a_run_that_ended_as_a_whole_says_why(tmp_path: Path) -> None:
    error = UserError("runtime.tracking_uri: the server does not answer; start it")
    with pytest.raises(UserError), half_done(tmp_path) as kept, kept:
        raise error
    assert read_status(tmp_path / "mine").cause == str(error)


def test_a_stopped_run_and_one_that_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with pytest.raises(Interrupted), half_done(tmp_path) as kept, kept:
        raise Interrupted.by_request()
    status = read_status(folder)
    assert (status.state, status.cause) == ("stopped", "stopped by jobs/status.py --stop")
    for step in GRAPH.steps.values():
        finish(folder, step.name)
    with record(folder):
        pass
    status = read_status(folder)
    assert (status.state, set(states_of(status).values())) == ("complete", {"done"})
    assert status.seconds_left is None
    report = folder / GRAPH["analysis"].folder_name / "report.html"
    assert f"report:  open {report}" in status_job(tmp_path).stdout


def test_a_run_of_a_part_leaves_the_others_out(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    record(folder, GRAPH.needed_for([GRAPH["tokens-ko"]]))
    states = states_of(read_status(folder))
    assert (states["tokens-ko"], states[TRIALS[0]]) == ("waiting", "left out")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--study", "min"], "has no study 'min'; did you mean mine?"),
        (["--study", "../mine"], "'../mine' is neither the name of a study"),
        (["--study", "mine", "--stop"], "--stop: no driver of study 'mine' is running (killed"),
        (["--study", "mine", "--rerun", "ko-brigde-s0"], "did you mean ko-bridge-s0"),
        (["--study", "mine", "--rerun", "everything"], "the kinds are text, "),
        (["--study", "mine", "--storage", "/no/such"], "study 'mine'; that folder does not exist"),
        (["--study", "empty"], "no run of this study is recorded there; start it with"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], line: str) -> None:
    with half_done(tmp_path):
        pass
    (tmp_path / "empty").mkdir()
    job = call_job("status", "--storage", str(tmp_path), *arguments)
    assert job.returncode == 2
    assert line in job.stderr
    assert job.stderr.count("\n") == 1
    assert not (tmp_path / "mine" / STOP).exists()


def test_no_credential_is_recorded_and_a_resume_asks_for_it(tmp_path: Path) -> None:
    secret = "sec/r@t"
    spec = json.loads(SPEC.model_dump_json())
    spec["runtime"]["tracking_uri"] = f"postgresql://me:{secret}@host/db?password={secret}"
    with half_done(tmp_path):
        record(tmp_path / "mine", spec=hide_credentials(spec))
    files = [path.read_text() for path in (tmp_path / "mine").glob("*.json")]
    assert not any(secret in text or "r@t" in text for text in files)
    job = status_job(tmp_path, "--resume")
    assert job.returncode == 2
    assert job.stderr.startswith("error: --tracking-uri: 'postgresql://***")


def test_status_and_export_of_a_study_import_no_torch():
    """It takes 2 s, and neither computes anything."""
    code = "import ccx_ray.cli.status, ccx_ray.export.bundle, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
