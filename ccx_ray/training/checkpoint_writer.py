"""Asynchronous writing of checkpoints and resume states, by one thread of rank 0.

Invariants: one write is under way at a time, in the order in which they were asked for; of one
step the resume state is there before the checkpoint, and states are removed after both; a write
that fails is raised once, at the next call, and harms nothing that was published before.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ccx_ray.storage.hashing import DamagedFolderError, verify_folder
from ccx_ray.storage.object_stores import RETRY_SECONDS, one_line
from ccx_ray.storage.published_folders import publish_verified
from ccx_ray.storage.remote_folders import read_pointer
from ccx_ray.training.checkpoints import (
    ResumePoint,
    checkpoint_folder,
    fill_checkpoint,
    fill_resume_state,
    remove_leftover_writes,
    resume_folder,
    resume_steps,
    retain_resume_states,
    set_damaged_aside,
)
from ccx_ray.training.history import StepRecord
from ccx_ray.training.run import TrainingRun

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


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
            self._retain()

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
        run = self._run
        folder = checkpoint_folder(run.folder, step)
        self._publish(
            folder,
            lambda aside: fill_checkpoint(aside, self._model, run.tokenizer_folder, state),
            unless_whole=True,
        )

    def _publish(
        self, folder: Path, fill: Callable[[Path], None], *, unless_whole: bool = False
    ) -> None:
        run = self._run
        storage, seconds = run.checkpoint_storage, self._retry_seconds
        try:
            if not (unless_whole and _is_whole(folder)):
                publish_verified(folder, fill, storage=storage, retry_seconds=seconds)
        except Exception as error:
            steps = resume_steps(run.folder)
            onwards = f"from step {steps[-1]}" if steps else "from the start"
            place = f" of {storage}" if storage else ""
            raise CheckpointError(
                f"{folder}: cannot be written ({type(error).__name__}: {one_line(error)}); "
                f"free space{place} or mend the access to it, and start again; the training goes "
                f"on {onwards}"
            ) from error

    def _retain(self) -> None:
        run = self._run
        try:
            retain_resume_states(
                run.folder,
                keep=run.runtime.keep_resume_states,
                checkpoint_steps=run.training.checkpoint_steps,
            )
        except OSError as error:  # too many states harm nobody
            logger.warning("%s: an old state stays: %s", run.folder, one_line(error))


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
