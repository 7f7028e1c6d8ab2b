"""What a training leaves on disk while it runs: evaluated checkpoints and the state to resume from.

``checkpoints/step-000020/`` is a Hugging Face folder (config, fp32 safetensors, tokenizer);
``resume/step-000020/`` holds parameters and AdamW moments by name, the history, and what the next
step needs. Invariants: a folder that is there is whole (it is renamed into place); neither knows
how many workers wrote it; a resume state is written before the checkpoint of the same step and an
older one removed after it, so at every instant one whole state is there.

Random numbers need no state of their own: every step seeds them from (seed, step, rank).
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ccx_ray.errors import UserError
from ccx_ray.storage import publish_folder, publish_json
from ccx_ray.training.history import StepRecord, read_history, write_history

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CHECKPOINTS, RESUME = "checkpoints", "resume"
LOSSES = "losses.parquet"
SUMMARY = "summary.json"
"""A training's last file: what it returns, also to a driver that died before it could hear it."""


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """Where a training goes on; the tensors lie beside it."""

    step: int
    """Optimizer steps done; also AdamW's step count and the schedule's position."""
    rows: int
    """Rows of the stream consumed."""
    seed: int
    fingerprint: str
    """Of the training itself."""
    stream_fingerprint: str


def checkpoint_folder(run_folder: Path, step: int) -> Path:
    """Where the checkpoint after ``step`` optimizer steps is, or will be."""
    return run_folder / CHECKPOINTS / _step_name(step)


def published_steps(run_folder: Path) -> list[int]:
    """The optimizer steps whose checkpoints are there, whole, in order."""
    return _steps_in(run_folder / CHECKPOINTS)


def publish_checkpoint(
    run_folder: Path, step: int, model: "PreTrainedModel", tokenizer_folder: Path
) -> None:
    """Write a Hugging Face folder of model and tokenizer, and make it appear at once."""

    def write(aside: Path) -> None:
        for file in sorted(tokenizer_folder.iterdir()):
            # A step's completion marker begins with an underscore.
            if file.is_file() and not file.name.startswith((".", "_")):
                shutil.copyfile(file, aside / file.name)
        model.save_pretrained(aside)

    _publish(checkpoint_folder(run_folder, step), write)


def publish_resume_state(
    run_folder: Path,
    point: ResumePoint,
    state: "dict[str, Tensor]",
    history: Sequence[StepRecord],
) -> None:
    """Write the state after ``point.step`` steps; older ones stay until ``prune_resume_states``."""
    from safetensors.torch import save_file

    def write(aside: Path) -> None:
        save_file(state, aside / "state.safetensors")
        write_history(aside / "history.parquet", history)
        publish_json(aside / "point.json", asdict(point))

    _publish(run_folder / RESUME / _step_name(point.step), write)


def find_resume_point(
    run_folder: Path, *, fingerprint: str, stream_fingerprint: str
) -> ResumePoint | None:
    """The newest state to resume from, None when there is none.

    Raises:
        UserError: it belongs to another training or was trained on another stream.
    """
    steps = _steps_in(run_folder / RESUME)
    if not steps:
        return None
    folder = run_folder / RESUME / _step_name(steps[-1])
    point = ResumePoint(**json.loads((folder / "point.json").read_text("utf-8")))
    for name, found, expected in (
        ("stream", point.stream_fingerprint, stream_fingerprint),
        ("training", point.fingerprint, fingerprint),
    ):
        if found != expected:
            raise UserError(
                f"{folder}: was written with {name} {found}, this run has {name} {expected}; "
                f"restore that {name}, or delete {run_folder} to train from the start"
            )
    return point


def load_resume_state(
    run_folder: Path, point: ResumePoint
) -> "tuple[dict[str, Tensor], list[StepRecord]]":
    """Tensors as ``TrainingEngine.state`` gave them, and the history up to the point."""
    from safetensors.torch import load_file

    folder = run_folder / RESUME / _step_name(point.step)
    return load_file(folder / "state.safetensors"), read_history(folder / "history.parquet")


def prune_resume_states(run_folder: Path, *, before: int | None = None) -> None:
    """Remove the states older than step ``before``, or all when the training is complete."""
    if before is None:
        shutil.rmtree(run_folder / RESUME, ignore_errors=True)
        return
    for step in _steps_in(run_folder / RESUME):
        if step < before:
            shutil.rmtree(run_folder / RESUME / _step_name(step))


def _publish(final: Path, write: Callable[[Path], None]) -> None:
    aside = final.with_name(f".{final.name}.partial")
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(parents=True)
    write(aside)
    publish_folder(aside, final)


def _step_name(step: int) -> str:
    return f"step-{step:06d}"


def _steps_in(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir())
    return sorted(int(name.removeprefix("step-")) for name in names if name.startswith("step-"))
