"""The private parts of Ray and Ray Train that are used here, behind plain functions and classes.

No other module touches a private name of Ray; ``private_names.py`` lists them with their use.
"""

import socket
from collections.abc import Collection, Mapping
from typing import Any

import ray
import ray.train
from ray.core.generated import gcs_pb2
from ray.train.torch import TorchTrainer
from ray.train.torch.config import _TorchBackend as TorchBackend
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2._internal.execution.failure_handling import FailureDecision, FailurePolicy
from ray.train.v2._internal.execution.scaling_policy import (
    NoopDecision,
    ResizeDecision,
    ScalingDecision,
    ScalingPolicy,
)
from ray.train.v2._internal.execution.worker_group import WorkerGroupPollStatus, WorkerGroupState
from ray.util.placement_group import PlacementGroup, remove_placement_group

__all__ = [
    "FailureDecision",
    "FailurePolicy",
    "NoopDecision",
    "ResizeDecision",
    "ScalingDecision",
    "TorchBackend",
    "WorkerGroupPollStatus",
    "WorkerGroupStartupTimeoutError",
    "WorkerGroupState",
    "WorkerHealthCheckFailedError",
]

CONNECT_SECONDS = 5.0


def usable_nodes() -> list[dict[str, Any]]:
    """Ray's nodes that are alive and not about to be taken away."""
    draining = ray._private.state.state.get_draining_nodes()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in draining]


def is_any_lost(node_ids: Collection[str]) -> bool:
    """Whether a node is dead. One that Ray does not know of yet is asked by a connection, because
    Ray takes a node for dead half a minute later."""
    alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    return any(node not in alive or not _accepts_connections(alive[node]) for node in node_ids)


def node_of_actor(actor_id: str) -> str | None:
    """The id of the node that an actor (hex) was last on, when Ray knows."""
    found: Mapping[str, Any] = ray._private.state.actors(actor_id)
    return found.get("Address", {}).get("NodeID") or None


def remove_placement_groups(creator: str) -> None:
    """Free what the actor ``creator`` (hex) had reserved; ends what still runs on it."""
    # Ray's public table does not say who made a group.
    accessor = ray._private.state.state._connect_and_get_accessor()
    for message in accessor.get_placement_group_table():
        group = gcs_pb2.PlacementGroupTableData.FromString(message)
        if group.creator_actor_id.hex() == creator:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))


def is_preemption_announced() -> bool:
    """Whether Ray Train has told this worker that a node of its group will be taken away. (What
    ``ray.train.get_preemption_info`` says after a barrier of all workers at every step.)"""
    return get_train_context().preemption_context.preemption_info is not None


def resources_of_worker(scaling: ray.train.ScalingConfig) -> dict[str, float]:
    """What one worker takes of a node, defaults filled in."""
    resources: dict[str, float] = scaling._resources_per_worker_not_none
    return resources


class PolicyTrainer(TorchTrainer):  # type: ignore[misc]
    """Ray Train with policies of our own, and without two processes that have nothing to do.

    One serves Ray Data shards, of which no training has any; one frees the placement group of a
    controller that died, which ``remove_placement_groups`` does. Each takes 3 s of a core to import
    its libraries, and the workers wait for both.
    """

    def __init__(
        self,
        *arguments: Any,
        scaling_policy: ScalingPolicy,
        failure_policy: FailurePolicy,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self._policies = {"scaling_policy": scaling_policy, "failure_policy": failure_policy}

    def _create_default_callbacks(self) -> list[Any]:
        idle = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
        return [c for c in super()._create_default_callbacks() if type(c).__name__ not in idle]

    def _initialize_and_run_controller(self, **arguments: Any) -> ray.train.Result:
        return super()._initialize_and_run_controller(**{**arguments, **self._policies})


class QuietScalingPolicy(ScalingPolicy):  # type: ignore[misc]
    """A scaling policy that asks the autoscaler for nodes only where there may be one.

    The coordinator that takes the requests is one more process: 3 s of a core, for nothing where
    no nodes can be added.
    """

    def __init__(
        self, scaling: ray.train.ScalingConfig, *, most_workers: int, asks_for_nodes: bool
    ) -> None:
        super().__init__(scaling)
        self._most_workers = most_workers
        self._asks_for_nodes = asks_for_nodes

    def ask_for_nodes(self) -> None:
        """To be called by every decision; asks again when the last request has expired."""
        self._maybe_send_resource_request()

    def _get_num_workers_for_resource_request(self) -> int:
        return self._most_workers

    def _send_resource_request(self) -> None:
        if self._asks_for_nodes:
            super()._send_resource_request()

    def _maybe_send_resource_request(self) -> None:
        if self._asks_for_nodes:
            super()._maybe_send_resource_request()

    def _cancel_resource_request(self) -> None:
        if self._asks_for_nodes:
            super()._cancel_resource_request()


def _accepts_connections(node: Mapping[str, Any]) -> bool:
    """Whether a node's own process answers."""
    place = (node["NodeManagerAddress"], node["NodeManagerPort"])
    try:
        socket.create_connection(place, timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
