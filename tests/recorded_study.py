"""A study that a driver has recorded, with steps in every state, for the tests of its status."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ccx_ray.orchestration.driver import driver_lock
from ccx_ray.orchestration.graph import Graph
from ccx_ray.orchestration.record import RunRecord
from ccx_ray.orchestration.step_folders import MARKER
from ccx_ray.run import about_run
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study
from ccx_ray.study_graph import study_graph

SPEC, ROOT = load_study("laptop", ["name=mine", "trials.languages=[ko]", "trials.seeds=[0]"])
GRAPH = study_graph(SPEC, InputFiles(ROOT))
TRAINING = {"training_seconds": 100.0, "startup_seconds": 20.0}
TRIALS = ("trial-ko-bridge-s0", "trial-ko-nobridge-s0")


def finish(folder: Path, name: str, seconds: int = 30) -> None:
    """The completion marker of a step that took so long."""
    step = GRAPH[name]
    counts: dict[str, Any] = {}
    if step.kind == "training":
        tokens = SPEC.base.steps * SPEC.base.sequences_per_step * SPEC.sequence_length
        counts = {**TRAINING, "tokens_per_second": tokens / 100.0}
    times = {"started": "2026-01-01T00:00:00+00:00"}
    times["finished"] = f"2026-01-01T00:{seconds // 60:02d}:{seconds % 60:02d}+00:00"
    target = folder / step.folder_name / MARKER
    target.parent.mkdir(parents=True, exist_ok=True)
    publish_json(target, {"kind": step.kind, "counts": counts, **times})


def train(folder: Path, name: str, step: int, *, seconds: float, checkpoints: int = 0) -> None:
    """The files of a training that has made so many steps, of so many seconds each."""
    run = folder / GRAPH[name].folder_name
    run.mkdir(parents=True, exist_ok=True)
    steps = SPEC.trials.steps if name.startswith("trial-") else SPEC.base.steps
    progress = {"step": step, "steps": steps, "loss": 2.5, "tokens_per_second": 640.0}
    progress["device_seconds"] = 2 * step * seconds
    publish_json(run / "progress.json", progress)
    line = "\n" + json.dumps({"step": step, "metrics": {"step_seconds": seconds}}) + "\n"
    (run / ".steps.jsonl").write_text(line * 60 + '{"step": 61, "metr')
    for checkpoint in SPEC.trials.checkpoint_steps[:checkpoints]:
        (run / "checkpoints" / f"step-{checkpoint:06d}").mkdir(parents=True)


def record(folder: Path, wanted: Graph = GRAPH, **about: Any) -> RunRecord:
    """The record of a run that begins now, of the whole study or of a part."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {**about_run(SPEC, ROOT, [GRAPH["analysis"]], flops_per_token=1e6), **about}
    return RunRecord(folder, GRAPH, wanted.steps, whole)


@contextmanager
def half_done(storage: Path) -> Iterator[RunRecord]:
    """Corpora and base are done, one trial trains and is scored, and its driver lives: this process
    holds the lock."""
    folder = storage / "mine"
    with driver_lock(folder):
        kept = record(folder)
        for step in GRAPH.steps.values():
            if step.kind not in ("training", "evaluation", "analysis", "exposure", "audit"):
                finish(folder, step.name)
        finish(folder, "base")
        finish(folder, "evaluate-base", 40)
        trial, evaluation = GRAPH[TRIALS[0]], GRAPH["evaluate-ko-bridge-s0"]
        kept.started(trial)
        kept.started(evaluation)
        train(folder, trial.name, 12, seconds=2.0, checkpoints=2)
        scored = folder / evaluation.folder_name
        scored.mkdir()
        (scored / f"step-{SPEC.trials.checkpoint_steps[0]:06d}.parquet").touch()
        kept.write()
        yield kept
