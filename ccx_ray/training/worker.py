"""The training loop of one worker, from the newest state to the last step. Plain: no Ray.

Invariants: optimizer step ``s`` (counted from 1) consumes the stream's rows
``[(s-1) * B, s * B)``; every number that a step uses is a function of the step and of the state
before it, so a run that was killed and resumed on the CPU repeats an undisturbed one bit for bit.

Shape suffixes: B sequences, T tokens of a sequence.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from ccx_ray.corpus.stream import Stream, read_batches
from ccx_ray.storage import publish_json
from ccx_ray.training.checkpoints import (
    LOSSES,
    SUMMARY,
    ResumePoint,
    find_resume_point,
    load_resume_state,
    prune_resume_states,
    publish_checkpoint,
    publish_resume_state,
    published_steps,
)
from ccx_ray.training.engine import TrainingEngine
from ccx_ray.training.history import StartupClock, StepRecord, write_history
from ccx_ray.training.model import build_model, load_model
from ccx_ray.training.run import Notice, TrainingRun, accumulation_steps
from ccx_ray.training.schedule import learning_rate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
        self.device_name = (
            torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        )
        self.clock = clock
        self.stream = Stream.open(run.stream_folder)
        self.history: list[StepRecord] = []
        self.resumed_from = 0
        self.engine = self._start(device)
        self._saved = time.monotonic()
        clock.mark("model")

    def train(
        self,
        observe: Callable[[StepRecord], None],
        notice: Callable[[], Notice] = lambda: Notice.NONE,
    ) -> bool:
        """Train to the last step and leave ``losses.parquet`` and ``summary.json``.

        Args:
            observe: called on rank 0 after every step.
            notice: called on every rank after every step; one rank's answer counts for all.

        Returns:
            Whether the last step is done; False after a notice to leave.
        """
        training = self.run.training
        batches = self._batches()
        for step in range(self.resumed_from + 1, training.steps + 1):
            began = time.perf_counter()
            record = self._step(step, next(batches), began)
            self.history.append(record)
            if step == self.resumed_from + 1:
                self.clock.mark("first_step")
            if self.rank == 0:
                observe(record)
            due = step in training.checkpoint_steps
            asked = notice()
            leave = self.engine.agree(asked is Notice.LEAVE)
            old = time.monotonic() - self._saved > self.run.runtime.resume_seconds
            save = self.engine.agree(asked is Notice.SAVE or old)
            if due or save or leave:
                self._save(step)
            if leave and step < training.steps:
                return False
        if self.rank == 0:
            self._finish()
        return True

    def _start(self, device: torch.device) -> TrainingEngine:
        run, stream = self.run, self.stream
        point = find_resume_point(
            run.folder, fingerprint=run.fingerprint, stream_fingerprint=stream.fingerprint
        )
        if run.initial_model is None:
            model = build_model(
                run.model,
                vocabulary_size=stream.vocabulary_size,
                eos_id=stream.eos_id,
                pad_id=stream.pad_id,
                seed=run.seed,
            )
        else:
            model = load_model(run.initial_model, vocabulary_size=stream.vocabulary_size)
        state: dict[str, torch.Tensor] = {}
        if point is not None:
            state, self.history = load_resume_state(run.folder, point)
            self.resumed_from = point.step
            _set_parameters(model, state)
        engine = TrainingEngine(
            model,
            pad_id=stream.pad_id,
            optimizer=run.training.optimizer,
            runtime=run.runtime,
            accumulation=accumulation_steps(
                run.training.sequences_per_step,
                sequences_per_device=run.runtime.sequences_per_device,
                workers=self.workers,
            ),
            device=device,
        )
        if point is not None:
            engine.load_moments(state, point.step)
            # Killed between the two: the state was written, its checkpoint was not.
            if point.step in run.training.checkpoint_steps and self.rank == 0:
                self._publish_checkpoint(point.step, model)
        return engine

    def _batches(self) -> Iterator[np.ndarray]:
        rows = self.run.training.sequences_per_step
        return islice(
            read_batches(
                self.stream,
                first_row=self.resumed_from * rows,
                rows_per_step=rows,
                rank=self.rank,
                world_size=self.workers,
                reader=self.run.reader,
            ),
            self.run.training.steps - self.resumed_from,
        )

    def _step(self, step: int, batch_BT: np.ndarray, began: float) -> StepRecord:
        training = self.run.training
        rows = training.sequences_per_step
        torch.manual_seed(step_seed(self.run.seed, step, self.rank))
        rate = learning_rate(step, steps=training.steps, optimizer=training.optimizer)
        loss, norm, predicted = self.engine.step(torch.tensor(batch_BT, dtype=torch.long), rate)
        return StepRecord(
            step=step,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=predicted,
            first_row=(step - 1) * rows,
            last_row=step * rows,
            seconds=time.perf_counter() - began,
        )

    def _save(self, step: int) -> None:
        state = self.engine.state()
        if self.rank == 0:
            run = self.run
            point = ResumePoint(
                step=step,
                rows=step * run.training.sequences_per_step,
                seed=run.seed,
                fingerprint=run.fingerprint,
                stream_fingerprint=self.stream.fingerprint,
            )
            publish_resume_state(run.folder, point, state, self.history)
            if step in run.training.checkpoint_steps:
                self._publish_checkpoint(step, self.engine.model)
            prune_resume_states(run.folder, before=step)
        self._saved = time.monotonic()

    def _publish_checkpoint(self, step: int, model: "PreTrainedModel") -> None:
        if step not in published_steps(self.run.folder):
            publish_checkpoint(self.run.folder, step, model, self.run.tokenizer_folder)

    def _finish(self) -> None:
        run, history = self.run, self.history
        write_history(run.folder / LOSSES, history)
        seconds = sum(record.seconds for record in history)
        tokens = run.training.steps * run.training.sequences_per_step * self.stream.sequence_length
        publish_json(
            run.folder / SUMMARY,
            {
                "steps": run.training.steps,
                "resumed_from": self.resumed_from,
                "loss": history[-1].loss,
                "parameters": sum(p.numel() for p in self.engine.model.parameters()),
                "tokens": tokens,
                "predicted_tokens": sum(record.tokens for record in history),
                "tokens_per_second": tokens / seconds,
                "training_seconds": seconds,
                "startup_seconds": sum(self.clock.parts.values()),
                "startup": self.clock.parts,
                "checkpoints": published_steps(run.folder),
                "workers": self.workers,
                "initial_model": run.initial_model.name if run.initial_model else None,
            },
        )


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seeds the random numbers of one step on one worker, so that none need be kept."""
    sequence = np.random.SeedSequence([seed, step, rank])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _set_parameters(model: "PreTrainedModel", state: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[f"parameter/{name}"])
