"""A study of a minute on real text, and ways to run and read it, for the integration tests."""

import gzip
import itertools
import json
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ccx_ray.analysis.declaration import DECLARATION
from ccx_ray.orchestration.record import RUN, STATE
from tests.jobs import PROJECT, call_job, job_command, run_job
from tests.prometheus import Prometheus

TRIALS = ("ko-bridge-s0", "ko-nobridge-s0")
DOCUMENTS, PAIRS, QUESTIONS = 250, 400, 24


def write_tiny_study(folder: Path, **changes: Any) -> Path:
    """Cut small files out of the bundled text and write a study over them; returns its YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("mono/en", DOCUMENTS), ("mono/ko", DOCUMENTS), ("parallel/en-ko", PAIRS)):
        with gzip.open(PROJECT / "data" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as source:
            lines = list(itertools.islice(source, count))
        if name == "mono/en":
            records = [json.loads(line) for line in lines]
            lines = [
                json.dumps({**record, "text": record["text"][:2000]}) + "\n" for record in records
            ]
        target = folder / f"{name.replace('/', '-')}.jsonl"
        target.write_text("".join(lines), encoding="utf-8")
    for side in ("en", "ko"):
        items = json.loads((PROJECT / "data/probes" / f"ko-culture-cloze_{side}.json").read_text())
        (folder / f"probes-{side}.json").write_text(
            json.dumps(items[:QUESTIONS], ensure_ascii=False), encoding="utf-8"
        )
    tree: dict[str, Any] = {
        "name": "tiny",
        "description": "A minute of everything.",
        "base_language": {"code": "en", "name": "English", "monolingual": ["mono-en.jsonl"]},
        "languages": [
            {
                "code": "ko",
                "name": "Korean",
                "monolingual": ["mono-ko.jsonl"],
                "parallel": ["parallel-en-ko.jsonl"],
                "probes": {"english": "probes-en.json", "target": "probes-ko.json"},
            }
        ],
        "tokenizer": {"vocabulary_size": 1024, "megabytes_per_language": 0.2},
        "model": {
            "hidden_size": 64,
            "layers": 2,
            "attention_heads": 2,
            "key_value_heads": 1,
            "intermediate_size": 128,
        },
        "sequence_length": 64,
        "base": {
            "steps": 20,
            "sequences_per_step": 8,
            "checkpoints": 1,
            "optimizer": {"learning_rate": 0.002},
        },
        "trials": {
            "seeds": [0],
            "steps": 90,
            "sequences_per_step": 8,
            "checkpoints": 3,
            "optimizer": {"learning_rate": 0.001},
        },
        "analysis": {"bootstrap_samples": 200},
        "runtime": {
            "base": {"sequences_per_device": 8, "cpus_per_worker": 0.75},
            "trials": {"sequences_per_device": 8, "cpus_per_worker": 0.75},
        },
        **changes,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def study_arguments(study: Path | str, storage: Path, *arguments: str) -> list[str]:
    return ["--study", str(study), "--storage", str(storage), *arguments]


def command(job: str, study: Path | str, storage: Path, *arguments: str) -> list[str]:
    """The command line of a job on a study file."""
    return job_command(job, *study_arguments(study, storage, *arguments))


def run_study_job(
    job: str, study: Path | str, storage: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a job on a study in a process of its own, as a user does."""
    return run_job(job, *study_arguments(study, storage, *arguments))


def call_study_job(
    job: str, study: Path | str, storage: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a job on a study in this process: one that starts no cluster."""
    return call_job(job, *study_arguments(study, storage, *arguments))


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a finished tiny study holds, read from its storage."""

    storage: Path

    def folder(self, step: str) -> Path:
        """The newest finished folder of a step."""
        folders = [
            marker.parent
            for marker in (self.storage / "tiny").glob(f"{step}-*/_complete.json")
            if marker.parent.name.rpartition("-")[0] == step
        ]
        assert folders, f"{step} has not finished"
        return max(folders, key=lambda path: (path / "_complete.json").stat().st_mtime)

    def losses(self, run: str) -> list[float]:
        losses: list[float] = pq.read_table(self.folder(run) / "losses.parquet")["loss"].to_pylist()
        return losses

    def answers(self, run: str) -> pa.Table:
        """All per-question rows of a run, in order."""
        files = sorted(self.folder(f"evaluate-{run}").glob("step-*.parquet"))
        table = pa.concat_tables([pq.read_table(file) for file in files])
        return table.sort_by(
            [("step", "ascending"), ("probe", "ascending"), ("question", "ascending")]
        )

    def mlflow_runs(self, kind: str) -> list[Any]:
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{self.storage / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("tiny")
        assert experiment is not None
        return list(
            client.search_runs(
                [experiment.experiment_id], filter_string=f"tags.`ccx.kind` = '{kind}'"
            )
        )

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{self.storage / 'mlflow.db'}")
        return [(point.step, point.value) for point in client.get_metric_history(run_id, key)]


@dataclass(frozen=True, kw_only=True)
class FinishedStudy:
    """The tiny study, run whole as a Ray job on a cluster that asks for a token."""

    study: Path
    """Its YAML."""
    results: Results
    job: subprocess.CompletedProcess[str]
    """First with a storage inside the job, which is refused, and then with one outside."""
    stranger: subprocess.CompletedProcess[str]
    """A job submitted without the token."""
    prometheus: Prometheus | None
    """It scraped the cluster all the while."""
    no_prometheus: str
    """Why there is none."""

    def copy_steps(
        self, storage: Path, *, without: Collection[str], keep: Collection[str] = ()
    ) -> Results:
        """A storage with the finished steps but those of some kinds, and without MLflow's runs.

        Args:
            keep: names of steps that are copied whatever their kind.
        """
        for path in (self.results.storage / "tiny").glob("*/_complete.json"):
            marker = json.loads(path.read_text("utf-8"))
            if marker["kind"] not in without or path.parent.name.rpartition("-")[0] in keep:
                shutil.copytree(path.parent, storage / "tiny" / path.parent.name)
        for record in () if without else (RUN, STATE, DECLARATION):
            shutil.copy(self.results.storage / "tiny" / record, storage / "tiny" / record)
        return Results(storage=storage)
