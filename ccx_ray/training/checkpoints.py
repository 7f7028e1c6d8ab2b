"""Checkpoints to evaluate and resume states of a training, in the run's folder, and their writer.

``checkpoints/step-000020/`` is a Hugging Face folder (config, fp32 safetensors, tokenizer);
``resume/step-000020/`` holds parameters and AdamW moments by name, the history, and what the next
step needs. Either may be a pointer to files that lie elsewhere (``remote_folders.py``). Invariants:
a folder that is there is whole and carries its files' hashes; neither knows how many workers wrote
it; one write is under way at a time, in the order in which they were asked for; a resume state is
written before the checkpoint of the same step and an older one removed after it, so at every
instant one whole state is there; a write that fails is raised once, at the next call, and harms
nothing that was published before.

Random numbers need no state of their own: every step seeds them from (seed, step, rank).
"""

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ccx_ray.errors import UserError
from ccx_ray.storage.hashing import DamagedFolderError, verify_folder
from ccx_ray.storage.object_stores import ACCESS, RETRY_SECONDS, one_line
from ccx_ray.storage.publishing import publish_json
from ccx_ray.storage.remote_folders import (
    fetch_folder,
    publish_verified,
    read_pointer,
    read_unverified,
    remove_leftovers,
    remove_published,
)
from ccx_ray.training.history import StepRecord, read_history, write_history
from ccx_ray.training.run import TrainingRun

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

CHECKPOINTS, RESUME = "checkpoints", "resume"
DAMAGED = "damaged-"
POINT = "point.json"
LOSSES = "losses.parquet"
SUMMARY = "summary.json"
"""A training's last file, which says that it is complete: the counts that ``train`` returns."""


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """``point.json`` of a resume state; the tensors lie beside it."""

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
    return run_folder / CHECKPOINTS / f"step-{step:06d}"


def resume_folder(run_folder: Path, step: int) -> Path:
    """Where the state after ``step`` optimizer steps is, or will be."""
    return run_folder / RESUME / f"step-{step:06d}"


def published_steps(run_folder: Path, kind: str = CHECKPOINTS) -> list[int]:
    """The optimizer steps whose checkpoints are there, whole, in order."""
    folder = run_folder / kind
    # Not by ``glob``, which sees nothing in a folder that cannot be read.
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = (re.fullmatch(r"step-(\d{6,})", name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def resume_steps(run_folder: Path) -> list[int]:
    """The optimizer steps whose resume states are there, in order."""
    return published_steps(run_folder, RESUME)


def fill_checkpoint(
    folder: Path, model: "PreTrainedModel", tokenizer_folder: Path, state: "Mapping[str, Tensor]"
) -> None:
    """Write a Hugging Face folder of the tokenizer, the model's config and ``state``."""
    from transformers.utils.logging import disable_progress_bar

    from ccx_ray.training.model import save_model

    disable_progress_bar()  # of writing the weights, which would tear up the driver's own
    for file in sorted(tokenizer_folder.iterdir()):
        # A step's completion marker begins with an underscore.
        if file.is_file() and not file.name.startswith((".", "_")):
            shutil.copyfile(file, folder / file.name)
    save_model(model, state, folder)


def fill_resume_state(
    folder: Path, point: ResumePoint, state: "Mapping[str, Tensor]", history: Sequence[StepRecord]
) -> None:
    """Write the state after ``point.step`` steps, and the history up to it."""
    from safetensors.torch import save_file

    save_file(dict(state), folder / "state.safetensors")
    write_history(folder / "history.parquet", history)
    publish_json(folder / POINT, asdict(point))


def find_resume_point(
    run_folder: Path, *, fingerprint: str, stream_fingerprint: str, verify: bool = True
) -> ResumePoint | None:
    """The newest undamaged state to resume from, as ``resume_point_at`` reads it; None: there is
    none. ``UserError`` when it belongs to another training or was trained on another stream."""
    for step in reversed(resume_steps(run_folder)):
        point = resume_point_at(run_folder, step, verify=verify)
        if point is None:
            continue
        for name, found, expected in (
            ("stream", point.stream_fingerprint, stream_fingerprint),
            ("training", point.fingerprint, fingerprint),
        ):
            if found != expected:
                raise UserError(
                    f"{resume_folder(run_folder, step)}: was written with {name} {found}, this run "
                    f"has {name} {expected}; restore that {name}, or delete {run_folder} to train "
                    "from the start"
                )
        return point
    return None


def resume_point_at(run_folder: Path, step: int, *, verify: bool = True) -> ResumePoint | None:
    """The state after ``step`` steps; None: there is none, or it is damaged.

    Args:
        verify: fetch a remote state, hash all files, and rename a damaged state to
            ``resume/damaged-step-...``, where it can be looked at until the training is complete;
            else ``point.json`` alone is read.

    Raises:
        UserError: it lies in an object store that cannot be read.
    """
    folder = resume_folder(run_folder, step)
    if not folder.is_dir():
        return None
    try:
        if verify:
            content = (fetch_folder(folder) / POINT).read_bytes()
        else:
            content = read_unverified(folder, POINT)
        point = ResumePoint(**json.loads(content))
        if point.step != step:
            raise DamagedFolderError(f"{POINT}: is of step {point.step}")
    except (DamagedFolderError, FileNotFoundError, ValueError, TypeError) as error:
        if verify:
            damaged = error if isinstance(error, DamagedFolderError) else f"{POINT}: {error!r}"
            set_damaged_aside(folder, damaged, "the previous state is used")
        return None
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({one_line(error)}); give {ACCESS}") from None
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
    """Remove all but the newest ``keep`` states, and the newest one of a checkpoint's step, where a
    training goes back to after a bad step."""
    steps = resume_steps(run_folder)
    of_checkpoints = [step for step in steps if step in checkpoint_steps]
    for step in steps:
        if step not in (*steps[-keep:], *of_checkpoints[-1:]):
            remove_published(resume_folder(run_folder, step))


def prune_resume_states(run_folder: Path) -> None:
    """Remove all resume states, also damaged and half-written ones: the training is complete."""
    damaged = (run_folder / CHECKPOINTS).glob(f"{DAMAGED}*")
    for path in [*(run_folder / RESUME).glob("[!.]*"), *damaged]:
        remove_published(path)
    remove_leftover_writes(run_folder)
    with suppress(OSError):  # not empty: what an object store did not delete is still named there
        (run_folder / RESUME).rmdir()


def remove_leftover_writes(run_folder: Path) -> None:
    """Delete, wherever it lies, what was being written when an earlier attempt died."""
    for name in (CHECKPOINTS, RESUME):
        remove_leftovers(run_folder / name)


def set_damaged_aside(folder: Path, damaged: object, remedy: str) -> None:
    """Rename a damaged checkpoint or state, so that it is kept and not used, and say so."""
    aside, number = folder.with_name(DAMAGED + folder.name), 1
    while aside.exists():
        number += 1
        aside = folder.with_name(f"{DAMAGED}{folder.name}-{number}")
    folder.rename(aside)
    logger.warning("%s: damaged (%s); kept as %s, %s", folder, damaged, aside.name, remedy)


class CheckpointError(RuntimeError):
    """A checkpoint or resume state that could not be written, however often it was tried."""


class CheckpointWriter:
    """Writes snapshots in a thread; a context, which ends when all is written.

    At most one snapshot is held. A caller that calls ``flush`` before it takes the next one never
    has two in memory, and waits no longer for it. An earlier write that failed is raised by the
    next call, as ``CheckpointError``, and what that was to begin has not begun.
    """

    def __init__(
        self, run: TrainingRun, model: "PreTrainedModel", *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._run = run
        self._model = model  # of its config and names; the weights come from each snapshot
        self._retry_seconds = retry_seconds  # of waiting for a full disk or a store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._pending: Future[None] | None = None
        self.blocked_seconds = 0.0
        """Seconds that callers have waited for writes."""
        remove_leftover_writes(run.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.flush()
        except CheckpointError as failure:
            if exception[0] is None:
                raise
            logger.error("%s", failure)  # the error under way came first
        finally:
            self._thread.shutdown()

    def write(
        self,
        point: ResumePoint,
        state: "Mapping[str, Tensor]",
        history: Sequence[StepRecord],
        *,
        checkpoint: bool,
    ) -> None:
        """Begin to write a resume state, and the checkpoint of its step if it has one.

        Args:
            state: as ``TrainingEngine.state`` gave it; nobody may change its tensors any more.
        """
        records = list(history)

        def work() -> None:
            self._publish(
                resume_folder(self._run.folder, point.step),
                lambda folder: fill_resume_state(folder, point, state, records),
            )
            if checkpoint:
                self._publish_checkpoint(point.step, state)
            try:
                retain_resume_states(
                    self._run.folder,
                    keep=self._run.runtime.keep_resume_states,
                    checkpoint_steps=self._run.training.checkpoint_steps,
                )
            except OSError as error:  # too many states harm nobody
                logger.warning("%s: old state not deleted: %s", self._run.folder, one_line(error))

        self.flush()
        self._pending = self._thread.submit(work)

    def write_checkpoint(self, step: int, state: "Mapping[str, Tensor]") -> None:
        """Begin to write a checkpoint whose training was killed after it had written the state.

        Nothing is written when a whole one is there; a damaged one is set aside.
        """
        self.flush()
        self._pending = self._thread.submit(self._publish_checkpoint, step, state)

    def flush(self) -> None:
        """Wait until everything is written."""
        began = time.perf_counter()
        pending, self._pending = self._pending, None
        try:
            if pending is not None:
                pending.result()
        finally:
            self.blocked_seconds += time.perf_counter() - began

    def _publish_checkpoint(self, step: int, state: "Mapping[str, Tensor]") -> None:
        folder, tokenizer = checkpoint_folder(self._run.folder, step), self._run.tokenizer_folder
        self._publish(
            folder, lambda f: fill_checkpoint(f, self._model, tokenizer, state), unless_whole=True
        )

    def _publish(
        self, folder: Path, fill: Callable[[Path], None], *, unless_whole: bool = False
    ) -> None:
        storage, seconds = self._run.checkpoint_storage, self._retry_seconds
        try:
            if not (unless_whole and _is_whole(folder)):
                publish_verified(folder, fill, storage=storage, retry_seconds=seconds)
        except Exception as error:
            steps = resume_steps(self._run.folder)
            onwards = f"from step {steps[-1]}" if steps else "from the start"
            place = f" of {storage}" if storage else ""
            raise CheckpointError(
                f"{folder}: cannot be written ({type(error).__name__}: {one_line(error)}); "
                f"free space{place} or fix the access, and give the same command again; the "
                f"training continues {onwards}"
            ) from error


def _is_whole(folder: Path) -> bool:
    """Whether an undamaged checkpoint is there; a remote one is verified where it is used."""
    if not folder.is_dir():
        return False
    try:
        if read_pointer(folder) is None:
            verify_folder(folder)
    except DamagedFolderError as error:
        set_damaged_aside(folder, error, "written anew")
        return False
    return True
