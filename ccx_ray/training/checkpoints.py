"""What a training leaves on disk while it runs: evaluated checkpoints and the state to resume from.

``checkpoints/step-000020/`` is a Hugging Face folder (config, fp32 safetensors, tokenizer);
``resume/step-000020/`` holds parameters and AdamW moments by name, the history, and what the next
step needs. Either may be a pointer to files that lie elsewhere (``remote_folders.py``). Invariants:
a folder that is there is whole and carries its files' hashes; neither knows how many workers wrote
it; a resume state is written before the checkpoint of the same step and an older one removed after
it, so at every instant one whole state is there.

Random numbers need no state of their own: every step seeds them from (seed, step, rank).
"""

import json
import logging
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ccx_ray.errors import UserError
from ccx_ray.storage.object_stores import ACCESS, one_line
from ccx_ray.storage.published_folders import publish_verified, remove_leftovers, remove_published
from ccx_ray.storage.publishing import publish_json
from ccx_ray.storage.remote_folders import fetch_folder, read_pointer, read_remote_file
from ccx_ray.storage.retries import RETRY_SECONDS
from ccx_ray.storage.verified_folders import DamagedFolderError
from ccx_ray.training.history import StepRecord, read_history, write_history

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

CHECKPOINTS, RESUME = "checkpoints", "resume"
DAMAGED = "damaged-"
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


def resume_folder(run_folder: Path, step: int) -> Path:
    """Where the state after ``step`` optimizer steps is, or will be."""
    return run_folder / RESUME / _step_name(step)


def published_steps(run_folder: Path) -> list[int]:
    """The optimizer steps whose checkpoints are there, whole, in order."""
    return _steps_in(run_folder / CHECKPOINTS)


def resume_steps(run_folder: Path) -> list[int]:
    """The optimizer steps whose resume states are there, in order."""
    return _steps_in(run_folder / RESUME)


def publish_checkpoint(
    run_folder: Path,
    step: int,
    model: "PreTrainedModel",
    tokenizer_folder: Path,
    state: "Mapping[str, Tensor]",
    *,
    storage: str | None = None,
    retry_seconds: float = RETRY_SECONDS,
) -> None:
    """Write a Hugging Face folder of model and tokenizer, and make it appear at once.

    Args:
        state: as ``TrainingEngine.state`` gave it; of the model only the config is taken.
        storage: as in ``publish_verified``.
    """
    from transformers.utils.logging import disable_progress_bar

    from ccx_ray.training.model import save_model

    disable_progress_bar()  # of writing the weights, which would tear up the driver's own

    def write(aside: Path) -> None:
        for file in sorted(tokenizer_folder.iterdir()):
            # A step's completion marker begins with an underscore.
            if file.is_file() and not file.name.startswith((".", "_")):
                shutil.copyfile(file, aside / file.name)
        save_model(model, state, aside)

    publish_verified(
        checkpoint_folder(run_folder, step), write, storage=storage, retry_seconds=retry_seconds
    )


def publish_resume_state(
    run_folder: Path,
    point: ResumePoint,
    state: "Mapping[str, Tensor]",
    history: Sequence[StepRecord],
    *,
    storage: str | None = None,
    retry_seconds: float = RETRY_SECONDS,
) -> None:
    """Write the state after ``point.step`` steps; older ones stay until they are pruned.

    Args:
        storage: as in ``publish_verified``.
    """
    from safetensors.torch import save_file

    def write(aside: Path) -> None:
        save_file(dict(state), aside / "state.safetensors")
        write_history(aside / "history.parquet", history)
        publish_json(aside / "point.json", asdict(point))

    publish_verified(
        resume_folder(run_folder, point.step), write, storage=storage, retry_seconds=retry_seconds
    )


def find_resume_point(
    run_folder: Path, *, fingerprint: str, stream_fingerprint: str
) -> ResumePoint | None:
    """The newest undamaged state to resume from, verified by hash; None when there is none.

    A damaged one is renamed to ``resume/damaged-step-...``, where it can be looked at until the
    training is complete, and a warning says what is wrong with it. A remote one is fetched.

    Raises:
        UserError: it belongs to another training, was trained on another stream, or lies in an
            object store that cannot be read.
    """
    for step in reversed(resume_steps(run_folder)):
        point = resume_point_at(run_folder, step)
        if point is not None:
            _refuse_other(run_folder, point, fingerprint, stream_fingerprint)
            return point
    return None


def check_same_training(run_folder: Path, *, fingerprint: str, stream_fingerprint: str) -> None:
    """Refuse what ``find_resume_point`` would, without reading tensors; damage is passed over.

    Raises:
        UserError: the newest state belongs to another training or was trained on another stream.
    """
    for step in reversed(resume_steps(run_folder)):
        folder = resume_folder(run_folder, step)
        try:
            remote = read_pointer(folder)
            name = "point.json"
            content = read_remote_file(remote, name) if remote else (folder / name).read_bytes()
            point = _parse_point(content)
        except (DamagedFolderError, FileNotFoundError):
            continue
        except OSError as error:
            raise _unreadable(folder, error) from None
        _refuse_other(run_folder, point, fingerprint, stream_fingerprint)
        return


def resume_point_at(run_folder: Path, step: int) -> ResumePoint | None:
    """The state after ``step`` steps, verified; None: there is none, or it is damaged (set aside).

    Raises:
        UserError: it lies in an object store that cannot be read.
    """
    folder = resume_folder(run_folder, step)
    if not folder.is_dir():
        return None
    try:
        point = _parse_point((fetch_folder(folder) / "point.json").read_bytes())
        if point.step != step:
            raise DamagedFolderError(f"point.json: is of step {point.step}")
    except DamagedFolderError as error:
        aside = set_damaged_aside(folder)
        logger.warning(
            "%s: damaged (%s); kept as %s, the state before it is taken", folder, error, aside.name
        )
        return None
    except OSError as error:
        raise _unreadable(folder, error) from None
    return point


def load_resume_state(
    run_folder: Path, point: ResumePoint
) -> "tuple[dict[str, Tensor], list[StepRecord]]":
    """Tensors as ``TrainingEngine.state`` gave them, and the history up to the point.

    A state on a disk is not verified again; one in an object store is, on each machine.
    """
    from safetensors.torch import load_file

    folder = fetch_folder(resume_folder(run_folder, point.step), verify=False)
    return load_file(folder / "state.safetensors"), read_history(folder / "history.parquet")


def retain_resume_states(run_folder: Path, *, keep: int, checkpoint_steps: Collection[int]) -> None:
    """Remove all but the newest ``keep`` states and the newest one that a checkpoint belongs to.

    That one is where a training goes back to when it may not be trained through a step.
    """
    steps = resume_steps(run_folder)
    of_checkpoints = [step for step in steps if step in checkpoint_steps]
    for step in steps:
        if step not in (*steps[-keep:], *of_checkpoints[-1:]):
            remove_published(resume_folder(run_folder, step))


def prune_resume_states(run_folder: Path) -> None:
    """Remove all states, damaged ones, and half-written ones: the training is complete."""
    for path in [
        *(run_folder / RESUME).glob("[!.]*"),
        *(run_folder / CHECKPOINTS).glob(f"{DAMAGED}*"),
    ]:
        remove_published(path)
    remove_leftover_writes(run_folder)
    with suppress(OSError):  # not empty: what an object store did not delete is still named there
        (run_folder / RESUME).rmdir()


def remove_leftover_writes(run_folder: Path) -> None:
    """Delete, wherever it lies, what was being written when an earlier attempt died."""
    for name in (CHECKPOINTS, RESUME):
        remove_leftovers(run_folder / name)


def set_damaged_aside(folder: Path) -> Path:
    """Give a folder a name under which it is readable and never taken for what it was."""
    aside, number = folder.with_name(DAMAGED + folder.name), 1
    while aside.exists():
        number += 1
        aside = folder.with_name(f"{DAMAGED}{folder.name}-{number}")
    folder.rename(aside)
    return aside


def _parse_point(content: bytes) -> ResumePoint:
    try:
        return ResumePoint(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise DamagedFolderError(f"point.json: {error!r}") from None


def _refuse_other(
    run_folder: Path, point: ResumePoint, fingerprint: str, stream_fingerprint: str
) -> None:
    for name, found, expected in (
        ("stream", point.stream_fingerprint, stream_fingerprint),
        ("training", point.fingerprint, fingerprint),
    ):
        if found != expected:
            raise UserError(
                f"{resume_folder(run_folder, point.step)}: was written with {name} {found}, this "
                f"run has {name} {expected}; restore that {name}, or delete {run_folder} to train "
                "from the start"
            )


def _unreadable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: cannot be read ({one_line(error)}); give {ACCESS}")


def _step_name(step: int) -> str:
    return f"step-{step:06d}"


def _steps_in(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    found = (re.fullmatch(r"step-(\d{6,})", path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)
