"""A grid of trials, run by the study's own runner, one of which cannot go on."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.runner import Outcome, Runner, Services, StepWork
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.tracking.runs import Tracking
from ccx_ray.training.checkpoints import resume_steps
from ccx_ray.training.history import read_history
from ccx_ray.training.metrics import PROGRESS
from ccx_ray.training.run_time_files import GROUPS, read_restarts
from ccx_ray.training.trainer import train
from tests.training_runs import tiny_run, write_stream, write_tokenizer

TRIALS, AT_ONCE = 3, 2
"""One fails beside another, and one begins after it."""
STEPS, ROWS = 40, 8
BAD_STEP = 20


def write_inputs(folder: Path) -> Path:
    """A stream whose every step reads a row group of its own; returns its Parquet file."""
    write_tokenizer(folder / "tokenizer")
    stream = write_stream(folder / "stream", rows=STEPS * ROWS)
    path = stream / "rows-00000.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=ROWS)
    description = json.loads((stream / "stream.json").read_text("utf-8"))
    (stream / "stream.json").write_text(json.dumps({**description, "row_group_size": ROWS}))
    return path


def damaged(content: bytes, path: Path, step: int) -> bytes:
    """The file with the rows of one step overwritten."""
    column = pq.ParquetFile(path).metadata.row_group(step - 1).column(0)
    start = min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
    end = start + column.total_compressed_size
    return content[:start] + b"\xff" * (end - start) + content[end:]


def run_grid(storage: Path, inputs: Mapping[str, Path]) -> Outcome:
    def action(work: StepWork) -> Mapping[str, Any]:
        return train(
            tiny_run(
                work.folder,
                inputs[work.step.name],
                name=work.step.name,
                fingerprint=work.step.fingerprint,
                steps=STEPS,
                max_failures=1,
            )
        )

    graph = Graph(
        Step(
            name=name,
            kind="training",
            version=1,
            identity={"trial": name},
            run=action,
            resumable=True,
            pool="training",
        )
        for name in inputs
    )
    tracking = Tracking(f"sqlite:///{storage}/mlflow.db", study="grid", storage=storage)
    with StudyProgress(graph, Console(file=io.StringIO())) as progress:
        runner = Runner(graph, StepFolders(storage), progress)
        runner.reuse()
        return runner.run(Services(tracking), limit=lambda _: AT_ONCE)


@pytest.mark.storm
def test_one_failing_trial_stops_no_other_and_a_rerun_repairs_it(
    tmp_path: Path, ray_cluster: None
) -> None:
    names = [f"ko-bridge-s{seed}" for seed in range(TRIALS)]
    bad = names[1]
    inputs = {name: tmp_path / ("bad" if name == bad else "good") for name in names}
    write_inputs(tmp_path / "good")
    rows = write_inputs(tmp_path / "bad")
    whole = rows.read_bytes()
    rows.write_bytes(damaged(whole, rows, BAD_STEP))
    storage = tmp_path / "storage"
    storage.mkdir()

    outcome = run_grid(storage, inputs)
    assert outcome.states == {name: "failed" if name == bad else "done" for name in names}
    print(outcome.errors[bad])
    assert f"{bad}: training failed for good: OSError: " in outcome.errors[bad]
    assert outcome.errors[bad].endswith("(max_failures: 1)")
    (folder,) = storage.glob(f"{bad}-*")
    assert json.loads((folder / PROGRESS).read_text("utf-8"))["step"] < BAD_STEP
    assert resume_steps(folder) == [STEPS // 3]
    assert [start["resumed_from"] for start in read_restarts(folder, GROUPS)] == [0, STEPS // 3]

    rows.write_bytes(whole)
    repaired = run_grid(storage, inputs)
    assert repaired.states == {name: "done" if name == bad else "reused" for name in names}
    assert repaired.markers[bad]["counts"]["resumed_from"] == STEPS // 3
    ours, theirs = (
        [record.loss for record in read_history(storage.joinpath(f) / "losses.parquet")]
        for f in (folder.name, next(storage.glob(f"{names[0]}-*")).name)
    )
    assert ours == theirs, "the same rows from the same seed"
