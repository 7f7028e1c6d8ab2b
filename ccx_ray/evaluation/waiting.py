"""The queue of evaluations: those that wait, those that run, and their futures. Plain, no Ray.

Order: what was begun before comes first, then by priority, then by arrival.

Invariants: every submitted evaluation's future is resolved exactly once, whatever dies; an
evaluation is given out to one evaluator at a time; a lost node counts against
``max_preemptions``, any other death of an evaluator against ``max_failures``.
"""

import heapq
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from ccx_ray.evaluation.evaluator import Evaluation
from ccx_ray.study.spec import EvaluationRuntime

Death = Literal["failure", "preemption"]
"""Of an evaluator at work: by itself, or with its node."""


@dataclass(kw_only=True)
class _Open:
    """An evaluation that waits or runs."""

    future: Future[None] = field(default_factory=Future)
    arrival: int
    deaths: Counter[Death] = field(default_factory=Counter)
    running: bool = False


class WaitingEvaluations:
    """Every method may be called by any thread."""

    def __init__(self, runtime: EvaluationRuntime) -> None:
        self._limits: dict[Death, int] = {
            "failure": runtime.max_failures,
            "preemption": runtime.max_preemptions,
        }
        self._changed = threading.Condition()
        self._waiting: list[tuple[bool, int, int, Evaluation]] = []
        """A heap: not begun before, priority, arrival."""
        self._open: dict[Evaluation, _Open] = {}
        self._arrived = 0
        self._closed = False
        self._end: RuntimeError | None = None

    def put(self, evaluation: Evaluation) -> Future[None]:
        """Let it wait, unless it does or runs already; its future."""
        with self._changed:
            if self._end is not None:
                raise RuntimeError(str(self._end)) from self._end.__cause__
            assert not self._closed, "submit after close"
            if evaluation not in self._open:
                self._open[evaluation] = _Open(arrival=self._arrived)
                self._arrived += 1
                self._push(evaluation, begun=False)
            return self._open[evaluation].future

    def wait(self) -> None:
        """Until something waits or runs, or nothing ever will."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._open))

    def take(self) -> Evaluation | None:
        """The next one, which runs from now on; None when none waits."""
        with self._changed:
            while self._waiting:
                fresh, _, _, evaluation = heapq.heappop(self._waiting)
                mine = self._open[evaluation]
                if not fresh or mine.future.set_running_or_notify_cancel():
                    mine.running = True
                    return evaluation
                del self._open[evaluation]  # its future was cancelled
            return None

    def resolve(self, evaluation: Evaluation, error: BaseException | None) -> None:
        """It has been done, or will never be."""
        with self._changed:
            future = self._open.pop(evaluation).future
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def died(self, evaluation: Evaluation, death: Death, cause: str) -> None:
        """Its evaluator is gone: it is the next to be done, unless that has happened too often."""
        with self._changed:
            mine = self._open[evaluation]
            mine.running = False
            mine.deaths[death] += 1
            again = mine.deaths[death] <= self._limits[death]
            if again:
                self._push(evaluation, begun=True)
        if not again:
            self.resolve(evaluation, _spent(evaluation, death, self._limits[death], cause))

    def requeue_running(self) -> bool:
        """Let what runs wait again, because nothing is left to run it; whether anything waits."""
        with self._changed:
            for evaluation in [one for one, mine in self._open.items() if mine.running]:
                self._push(evaluation, begun=True)
            return bool(self._waiting)

    def close(self) -> None:
        """Cancel what has never begun."""
        with self._changed:
            self._closed = True
            unbegun = [entry[-1] for entry in self._waiting if entry[0]]
            self._waiting = [entry for entry in self._waiting if not entry[0]]
            heapq.heapify(self._waiting)
            cancelled = [self._open.pop(evaluation).future for evaluation in unbegun]
            self._changed.notify_all()
        for future in cancelled:
            future.cancel()

    @property
    def finished(self) -> bool:
        """Closed, and nothing is left: what runs may still come back by ``died``."""
        with self._changed:
            return self._closed and not self._open

    def abandon(self, cause: BaseException | None) -> None:
        """Nothing that is still open will ever be done, and nothing more is taken."""
        end = RuntimeError("the evaluators ended before this evaluation")
        end.__cause__ = cause
        with self._changed:
            self._end = end
            left = [mine.future for mine in self._open.values()]
            self._open.clear()
            self._waiting.clear()
        for future in left:
            future.set_exception(end)

    def _push(self, evaluation: Evaluation, *, begun: bool) -> None:
        mine = self._open[evaluation]
        mine.running = False
        heapq.heappush(self._waiting, (not begun, evaluation.priority, mine.arrival, evaluation))
        self._changed.notify_all()


def _spent(evaluation: Evaluation, death: Death, limit: int, cause: str) -> RuntimeError:
    if death == "preemption":
        advice = f"its node was lost each time (runtime.evaluation.max_preemptions: {limit})"
    else:
        advice = (
            f"a likely cause is a lack of memory: lower runtime.evaluation.tokens_per_batch "
            f"(max_failures: {limit})"
        )
    times = "once" if limit == 0 else f"{limit + 1} times"
    return RuntimeError(
        f"the evaluator of {evaluation.run}, step {evaluation.step}, died {times}; "
        f"{advice}: {cause}"
    )
