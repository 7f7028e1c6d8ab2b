"""Ray Train policies: how many workers a training has, and what happens when some are lost.

Both run in the controller, Ray Train's own process of each training. Ray's elastic policy asks for
all workers that a run may have, so of many runs the first takes everything and the others wait;
Ray's failure policy knows a lost node only by one flag, and retries what a user's mistake causes.

Invariants: a running group is resized only after it had the chance to save its state; a training
never has more than its share nor less than its minimum; what a lost node causes is never charged
to the program, what the program causes never to the nodes.
"""

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import ray
from ray.exceptions import RayActorError
from ray.train import (
    ControllerError,
    FailureConfig,
    PreemptionError,
    ScalingConfig,
    TrainingFailedError,
)

from ccx_ray.errors import UserError, last_line
from ccx_ray.orchestration.ray_internals import (
    FailureDecision,
    FailurePolicy,
    NoopDecision,
    QuietScalingPolicy,
    ResizeDecision,
    ScalingDecision,
    WorkerGroupPollStatus,
    WorkerGroupStartupTimeoutError,
    WorkerGroupState,
    WorkerHealthCheckFailedError,
    is_any_lost,
    resources_of_worker,
    usable_nodes,
)
from ccx_ray.training.capacity import fair_share, group_size, read_share, workers_that_fit
from ccx_ray.training.checkpoints import resume_steps
from ccx_ray.training.run_time_files import (
    FailureBudget,
    Kind,
    drop_save_request,
    request_save,
    run_time_folder,
)
from ccx_ray.training.stall import stall_note

logger = logging.getLogger(__name__)

RESIZE_INTERVAL = "CCX_RAY_RESIZE_INTERVAL_S"
RESIZE_INTERVAL_SECONDS = 30.0
"""How often, and how soon after a start of the workers, another number of them is considered. A
restart costs about 15 s, so a shorter interval would train less, not more."""
SAVE_SECONDS = 60.0
"""How long a resize waits for the state that it asked for."""
NODE_DEATH_SECONDS = 45.0
"""How long to wait until Ray knows of a dead node: it does after 5 missed health checks 3 s apart;
the surviving workers know of the broken connection at once."""
LOST_PEER_WORDS = ("gloo", "nccl", "connection", "broken pipe", "socket", "timed out", "timeout")


class NodeLeavingError(RuntimeError):
    """Raised by a worker whose node is about to be taken away, after the state has been saved."""


_running: list[WorkerGroupState] = []
"""The newest workers of this controller, which the scaling policy tells the failure policy."""


class FairSharePolicy(QuietScalingPolicy):
    """The largest allowed number of workers within the training's share of the cluster."""

    def __init__(
        self,
        scaling_config: ScalingConfig,
        *,
        run_folder: Path,
        counts: Sequence[int],
        reserved: Sequence[Mapping[str, float]],
        asks_for_nodes: bool,
    ) -> None:
        super().__init__(scaling_config, most_workers=counts[-1], asks_for_nodes=asks_for_nodes)
        self._run_folder = run_folder
        self._counts = counts  # allowed numbers of workers, rising
        self._reserved = reserved  # what runs beside the trainings
        self._resources = resources_of_worker(scaling_config)
        self._interval = float(os.environ.get(RESIZE_INTERVAL, RESIZE_INTERVAL_SECONDS))
        self._failed_starts = -1
        self._looked = float("-inf")
        self._asked: float | None = None
        """When a state was requested that has not been written yet."""
        self._newest = 0

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        self.ask_for_nodes()
        self._drop_request()
        self._failed_starts += 1
        return self._resize(self._size(failed_starts=self._failed_starts))

    def make_decision_for_running_worker_group(
        self, worker_group_state: WorkerGroupState, worker_group_status: WorkerGroupPollStatus
    ) -> ScalingDecision:
        self.ask_for_nodes()
        _running[:] = [worker_group_state]
        self._failed_starts = -1
        now = time.monotonic()
        if len(self._counts) == 1:
            return NoopDecision()
        if self._asked is not None:
            saved = _newest_state(self._run_folder) > self._newest
            if not saved and now - self._asked < SAVE_SECONDS:
                return NoopDecision()
            self._drop_request()
            size = self._size()
            return NoopDecision() if size == worker_group_state.num_workers else self._resize(size)
        if now - max(worker_group_state.start_time, self._looked) < self._interval:
            return NoopDecision()
        self._looked = now
        size = self._size()
        if size != worker_group_state.num_workers:
            logger.warning("%d workers -> %d", worker_group_state.num_workers, size)
            self._newest = _newest_state(self._run_folder)
            self._asked = now
            request_save(self._run_folder)
        return NoopDecision()

    def _size(self, *, failed_starts: int = 0) -> int:
        nodes = [node["Resources"] for node in usable_nodes()]
        room = workers_that_fit(nodes, self._resources, reserved=self._reserved)
        share = fair_share(room, **read_share(run_time_folder(self._run_folder)))
        return group_size(self._counts, share, failed_starts=failed_starts)

    def _resize(self, size: int) -> ResizeDecision:
        return ResizeDecision(num_workers=size, resources_per_worker=self._resources)

    def _drop_request(self) -> None:
        self._asked = None
        drop_save_request(self._run_folder)


class FailureBudgetPolicy(FailurePolicy):  # type: ignore[misc]
    """Separate budgets for the program's own failures and for nodes that were taken away."""

    def __init__(self, failure_config: FailureConfig, *, budget: FailureBudget) -> None:
        super().__init__(failure_config)
        self._budget = budget

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        error = training_failed_error
        cause = first_cause(error)
        if isinstance(cause, WorkerGroupStartupTimeoutError):
            return FailureDecision.RETRY  # the resources are not there yet: nobody's failure
        if isinstance(cause, UserError):
            return FailureDecision.RAISE
        kind = _kind(error, cause)
        note = stall_note(self._budget.run_folder, seconds=2 * NODE_DEATH_SECONDS)
        text = note or describe_cause(cause)
        if kind == "preemption" and not isinstance(cause, NodeLeavingError | PreemptionError):
            text = f"a node died: {text}"
        logger.warning("%s: %s", kind, text)
        may_go_on = self._budget.charge(kind, text)
        return FailureDecision.RETRY if may_go_on else FailureDecision.RAISE


def first_cause(error: TrainingFailedError) -> Exception:
    """The first cause among the workers' exceptions: a user's mistake, else a worker's own failure,
    else a lost connection."""
    if isinstance(error, ControllerError):
        cause: Exception = error.controller_failure
        return cause
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    return min(failures.values(), key=_rank_of_cause, default=error)


def describe_cause(error: BaseException) -> str:
    """The reason on a line; of a dead process the sentence of Ray's long message that says why, and
    where."""
    if isinstance(error, WorkerHealthCheckFailedError):
        error = error.health_check_failure
    if not isinstance(error, RayActorError):
        return last_line(error)
    text = " ".join(str(error).split())
    why = text.partition("The actor is dead because ")[2] or text
    place = re.search(r"pid: (\d+).*? ip: (\S+)", text)
    where = f" (pid {place[1]} on {place[2]})" if place else ""
    return f"a process died: {why[:200]}{where}"


def _rank_of_cause(error: Exception) -> int:
    if isinstance(error, UserError | NodeLeavingError):
        return 0
    if isinstance(error, WorkerHealthCheckFailedError):
        return 2
    text = str(error).lower()
    lost_peer = isinstance(error, RuntimeError) and any(word in text for word in LOST_PEER_WORDS)
    return 3 if lost_peer else 1


def _kind(error: TrainingFailedError, cause: Exception) -> Kind:
    if isinstance(error, PreemptionError) or isinstance(cause, NodeLeavingError):
        return "preemption"
    if _rank_of_cause(cause) == 1 and not isinstance(error, ControllerError):
        return "failure"
    return "preemption" if _lost_a_node() else "failure"


def _lost_a_node() -> bool:
    """Whether a node of the group is dead; waits until every worker has answered or is dead.

    A worker that was killed on a living node is known at once. One whose node is gone is known to
    be dead when its node is, or before, when the dying node still said so.
    """
    if not _running:
        return False
    waiting = [worker.actor.get_metadata.remote() for worker in _running[0].workers]
    deadline = time.monotonic() + NODE_DEATH_SECONDS
    while waiting and time.monotonic() < deadline:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=1.0)
    return is_any_lost({worker.metadata.node_id for worker in _running[0].workers})


def _newest_state(run_folder: Path) -> int:
    """Optimizer steps of the newest state to resume from, 0 for none."""
    return max(resume_steps(run_folder), default=0)
