"""The training loop of one worker, from the newest state to the last step. Plain: no Ray.

Invariants: optimizer step ``s`` (counted from 1) consumes the stream's rows
``[(s-1) * B, s * B)``; every number that a step uses is a function of the step and of the state
before it, so a run that was killed and resumed on the CPU repeats an undisturbed one bit for bit.

Shape suffixes: B sequences, T tokens of a sequence.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from ccx_ray.corpus.packing.stream import Stream, read_batches
from ccx_ray.errors import UserError
from ccx_ray.storage.publishing import publish_json
from ccx_ray.storage.remote_folders import fetch_checkpoint
from ccx_ray.training.checkpoints import (
    LOSSES,
    SUMMARY,
    CheckpointError,
    CheckpointWriter,
    ResumePoint,
    find_resume_point,
    load_resume_state,
    published_steps,
    resume_point_at,
)
from ccx_ray.training.engine import TrainingEngine
from ccx_ray.training.history import (
    StartupClock,
    StepRecord,
    TrainingStoppedError,
    check_may_skip,
    count_updates,
    find_problem,
    history_after_skip,
    write_history,
)
from ccx_ray.training.model import build_model, load_model
from ccx_ray.training.read_ahead import ReadRows, read_ahead
from ccx_ray.training.run import TrainingRun, learning_rate
from ccx_ray.training.sharded_state import start_state
from ccx_ray.training.stall import COMPUTING, StallWatch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


Observe = Callable[[StepRecord], None]
Ask = Callable[[], tuple[bool, bool]]


class Worker:
    """One rank of a training."""

    def __init__(
        self,
        run: TrainingRun,
        *,
        rank: int,
        workers: int,
        device: torch.device,
        clock: StartupClock,
    ) -> None:
        torch.set_num_threads(run.runtime.threads_per_worker)
        self.run = run
        self.rank = rank
        self.workers = workers
        self.device = device
        on_gpu = device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(device) if on_gpu else device.type
        self.clock = clock
        self.stream = Stream.open(run.stream_folder)
        self.history: list[StepRecord] = []
        seconds = run.runtime.stall_seconds
        self._stall = StallWatch(run.folder, rank=rank, workers=workers, seconds=seconds)
        self._writer: CheckpointWriter | None = None
        try:
            self.engine = self._start()
        except BaseException:
            self._stall.stop()
            raise
        self.resumed_from = len(self.history)
        self._saved = time.monotonic()
        clock.mark("model")

    def train(self, observe: Observe, notice: Ask = lambda: (False, False)) -> bool:
        """Train to the last step and leave ``losses.parquet`` and ``summary.json``.

        Args:
            observe: called on rank 0 after every step.
            notice: ``NoticeBoard.read``, called on every rank after every step; one rank's answer
                counts for all.

        Returns:
            Whether the last step is done; False after a notice to leave.

        Raises:
            TrainingStoppedError: a bad step that the study file says to stop at.
            CheckpointError: a state could not be written.
        """
        try:
            with self._writer or nullcontext(), self._rows() as rows:
                complete = self._loop(rows, observe, notice)
            if complete and self._writer is not None:
                self._write_summary(self._writer.blocked_seconds)
            return complete
        finally:
            self._stall.stop()

    def _loop(self, rows: Iterator[ReadRows], observe: Observe, notice: Ask) -> bool:
        training, runtime = self.run.training, self.run.runtime
        for step in range(self.resumed_from + 1, training.steps + 1):
            record = self._step(step, rows)
            bad = find_problem(self.history, record, training.watch)
            if bad is None:
                self.history.append(record)
            else:
                self._skip(record, bad)
            if step == self.resumed_from + 1:
                self.clock.mark("first_step")
            if self.rank == 0:
                observe(self.history[-1])
            leave, save = notice()
            old = time.monotonic() - self._saved > runtime.resume_seconds
            leave, save = self.engine.agree([leave, leave or save or old])
            due = step in training.checkpoint_steps
            if due or save:
                self._save(step, checkpoint=due)
            if leave and step < training.steps:
                return False
        return True

    def _start(self) -> TrainingEngine:
        run, stream = self.run, self.stream
        point = self._agreed(
            lambda: find_resume_point(
                run.folder, fingerprint=run.fingerprint, stream_fingerprint=stream.fingerprint
            )
        )
        passes, rest = divmod(run.training.sequences_per_step, run.runtime.sequences_per_device)
        assert not rest and passes % self.workers == 0, "``worker_counts`` allows no such number"
        engine = TrainingEngine(
            self._initial_model(),
            pad_id=stream.pad_id,
            eos_id=stream.eos_id,
            optimizer=run.training.optimizer,
            runtime=run.runtime,
            accumulation=passes // self.workers,
            document_masks=run.training.document_masks,
            device=self.device,
        )
        # A batch that does not fit is to fail now, not in the night; what it changed is
        # overwritten by the state that the training starts from.
        engine.preflight(stream.sequence_length)
        state, self.history = self._state_at(point)
        engine.load_state(state, count_updates(self.history))
        if self.rank == 0:
            self._writer = CheckpointWriter(run, engine.model)
            if point is not None and point.step in run.training.checkpoint_steps:
                # It may have been killed between the two: its state written, its checkpoint not.
                self._writer.write_checkpoint(point.step, state)
        return engine

    def _agreed(self, find: Callable[[], ResumePoint | None]) -> ResumePoint | None:
        """What rank 0 finds, for all ranks; only it looks, because damaged states are renamed."""
        found: list[ResumePoint | Exception | None] = [None]
        if self.rank == 0:
            try:
                found[0] = find()
            except (UserError, CheckpointError) as error:
                found[0] = error
        if self.workers > 1:
            dist.broadcast_object_list(found, src=0, device=self.device)
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def _state_at(self, point: ResumePoint | None) -> "tuple[dict[str, Tensor], list[StepRecord]]":
        """What to load, and the history up to it; None: the beginning."""
        if point is None:
            return start_state(self._initial_model()), []
        return load_resume_state(self.run.folder, point)

    def _initial_model(self) -> "PreTrainedModel":
        """Built anew whenever it is needed, instead of kept in memory."""
        run, stream = self.run, self.stream
        size = stream.vocabulary_size
        if run.initial_model is not None:
            return load_model(fetch_checkpoint(run.initial_model), vocabulary_size=size)
        special = {"eos_id": stream.eos_id, "pad_id": stream.pad_id}
        return build_model(run.model, vocabulary_size=size, seed=run.seed, **special)

    def _rows(self) -> AbstractContextManager[Iterator[ReadRows]]:
        rows_per_step = self.run.training.sequences_per_step
        first_row = self.resumed_from * rows_per_step
        batches = read_batches(
            self.stream,
            first_row=first_row,
            rows_per_step=rows_per_step,
            rank=self.rank,
            world_size=self.workers,
            reader=self.run.reader,
        )
        return read_ahead(
            batches,
            steps=self.run.training.steps - self.resumed_from,
            first_row=first_row + self.rank * rows_per_step // self.workers,
            rows_per_step=rows_per_step,
            pin_memory=self.device.type == "cuda",
        )

    def _step(self, step: int, rows: Iterator[ReadRows]) -> StepRecord:
        training = self.run.training
        count = training.sequences_per_step
        began = time.perf_counter()
        self._stall.at(step, "reading rows")
        tokens_BT, checksum = next(rows)
        data_seconds = time.perf_counter() - began
        self._stall.at(step, COMPUTING)
        rate = learning_rate(step, steps=training.steps, optimizer=training.optimizer)
        loss, norm, predicted = self.engine.step(tokens_BT, rate)
        return StepRecord(
            step=step,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=predicted,
            first_row=(step - 1) * count,
            last_row=step * count,
            seconds=time.perf_counter() - began,
            data_seconds=data_seconds,
            rows_checksum=self.engine.total(checksum),
            workers=self.workers,
        )

    def _skip(self, record: StepRecord, bad: tuple[str, str]) -> None:
        """Go back to the last checkpoint's state, and go on after the bad step."""
        run = self.run
        skips = sum(bool(step.problem) for step in self.history)
        check_may_skip(record, bad, run.training.watch, skips, name=run.name)
        anchor = max((s for s in run.training.checkpoint_steps if s < record.step), default=0)
        point = self._agreed(lambda: self._anchor_point(anchor)) if anchor else None
        state, _ = self._state_at(point)
        self.engine.load_state(state, count_updates(self.history[:anchor]))
        self.history = history_after_skip(self.history, record, bad[1], anchor=anchor)

    def _anchor_point(self, step: int) -> ResumePoint:
        assert self._writer is not None
        self._writer.flush()
        point = resume_point_at(self.run.folder, step)
        if point is None:
            raise TrainingStoppedError(
                f"{self.run.folder}: the state of step {step} is damaged or missing, so the "
                "bad step cannot be skipped; delete the folder to train from the start"
            )
        return point

    def _save(self, step: int, *, checkpoint: bool) -> None:
        if self._writer is not None:
            # Before the next one is taken, or two would be in memory.
            self._stall.at(step, "saving")
            self._writer.flush()
        self._stall.at(step, COMPUTING)
        state = self.engine.state()
        if self._writer is not None:
            point = ResumePoint(
                step=step,
                rows=step * self.run.training.sequences_per_step,
                seed=self.run.seed,
                fingerprint=self.run.fingerprint,
                stream_fingerprint=self.stream.fingerprint,
            )
            self._writer.write(point, state, self.history, checkpoint=checkpoint)
        self._saved = time.monotonic()

    def _write_summary(self, blocked_seconds: float) -> None:
        """Write ``losses.parquet``, then ``summary.json``, which says that all is there."""
        run, history = self.run, self.history
        write_history(run.folder / LOSSES, history)
        seconds = sum(record.seconds for record in history)
        tokens = run.training.steps * run.training.sequences_per_step * self.stream.sequence_length
        publish_json(
            run.folder / SUMMARY,
            {
                "steps": run.training.steps,
                "updates": count_updates(history),
                "skipped": {record.step: record.problem for record in history if record.problem},
                "resumed_from": self.resumed_from,
                "loss": history[-1].loss,
                "parameters": self.engine.parameters,
                "tokens": tokens,
                "predicted_tokens": sum(record.tokens for record in history),
                "tokens_per_second": tokens / seconds,
                "training_seconds": seconds,
                "data_wait_share": sum(record.data_seconds for record in history) / seconds,
                "checkpoint_blocked_seconds": blocked_seconds,
                "peak_memory_bytes": self.engine.peak_memory(),
                "startup_seconds": sum(self.clock.parts.values()),
                "startup": self.clock.parts,
                "checkpoints": published_steps(run.folder),
                "workers": self.workers,
                "initial_model": run.initial_model.name if run.initial_model else None,
            },
        )
