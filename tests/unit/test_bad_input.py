"""A user's mistake ends a job with one helpful line and exit code 2, before any compute."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.jobs import PROJECT, environment, job_command
from tests.tiny_study import call_study_job, write_tiny_study


def edited(folder: Path, edit: Any) -> Path:
    path = write_tiny_study(folder)
    tree = yaml.safe_load(path.read_text("utf-8"))
    edit(tree)
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return path


def refused(job: str, study: Path | str, storage: Path, *arguments: str) -> str:
    done = call_study_job(job, study, storage, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    return only_line(done.stderr)


def only_line(stderr: str) -> str:
    (line,) = stderr.strip().splitlines()
    return line


def test_a_typo_is_told_before_what_is_slow_to_import(tmp_path: Path):
    """In a process of its own, which says at its end what it has imported."""
    study = edited(tmp_path, lambda tree: tree["trials"].update(sedes=[0]))
    script, *arguments = job_command("full_study", "--study", str(study))[1:]
    program = f"""
import runpy, sys
sys.argv = {[script, *arguments]!r}
try:
    runpy.run_path({script!r}, run_name="__main__")
finally:
    print(sorted({{"ray", "torch", "transformers", "deepspeed", "mlflow"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "trials.sedes: unknown field" in only_line(done.stderr)
    assert done.stdout.strip() == "[]"


def test_unknown_study(tmp_path: Path):
    assert "'labtop' is neither a shipped study" in refused("full_study", "labtop", tmp_path)


def test_misspelt_field(tmp_path: Path):
    study = edited(tmp_path, lambda tree: tree["trials"].update(sedes=[0]))
    line = refused("full_study", study, tmp_path / "storage")
    assert "tiny.yaml: trials.sedes: unknown field; did you mean 'seeds'?" in line


def test_wrong_type(tmp_path: Path):
    study = edited(tmp_path, lambda tree: tree["trials"].update(steps="many"))
    assert "trials.steps: 'many'" in refused("full_study", study, tmp_path / "storage")


def test_missing_file(tmp_path: Path):
    study = edited(tmp_path, lambda tree: tree["languages"][0].update(monolingual=["no.jsonl"]))
    line = refused("full_study", study, tmp_path / "storage")
    assert "languages.ko.monolingual" in line
    assert "no.jsonl' is not an existing file" in line


def test_language_without_probes(tmp_path: Path):
    study = edited(tmp_path, lambda tree: tree["languages"][0].pop("probes"))
    assert "languages.0.probes: missing" in refused("full_study", study, tmp_path / "storage")


def test_unknown_script(tmp_path: Path):
    isolation = {"remove": ["Latinum"]}
    study = edited(tmp_path, lambda tree: tree["languages"][0].update(isolation=isolation))
    assert "Latinum" in refused("full_study", study, tmp_path / "storage")


def test_unknown_architecture(tmp_path: Path):
    study = edited(tmp_path, lambda tree: tree["model"].update(architecture="qwen99"))
    assert "qwen99" in refused("full_study", study, tmp_path / "storage")


@pytest.mark.parametrize(
    "content",
    ["{", "{}", "[]", "[{}]", '[{"question": "_", "options": ["a"], "answer": "a"}]'],
)
def test_probe_file_of_a_wrong_shape(tmp_path: Path, content: str):
    study = write_tiny_study(tmp_path)
    (tmp_path / "probes-ko.json").write_text(content, encoding="utf-8")
    assert "probes-ko.json" in refused("full_study", study, tmp_path / "storage")


def test_probe_versions_of_different_length(tmp_path: Path):
    study = write_tiny_study(tmp_path)
    path = tmp_path / "probes-ko.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8"))[:-1]), encoding="utf-8")
    assert "probes-ko.json" in refused("full_study", study, tmp_path / "storage")


def test_storage_that_cannot_be_written(tmp_path: Path):
    study = write_tiny_study(tmp_path)
    (tmp_path / "file").write_text("in the way")
    line = refused("full_study", study, tmp_path / "file" / "storage")
    assert "runtime.storage" in line
    assert "cannot be written" in line


def test_unknown_trial(tmp_path: Path):
    study = write_tiny_study(tmp_path)
    line = refused("run_trial", study, tmp_path / "storage", "--trial", "ko-bridge-s9")
    assert "'ko-bridge-s9'" in line
    assert "ko-nobridge-s0" in line
    assert not (tmp_path / "storage").exists()
