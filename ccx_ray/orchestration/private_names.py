"""The private parts of Ray that are used here, and a check that an installed version has them.

``ray_internals.py`` uses them (``cluster.py`` a logger's name, ``scheduler.py`` one attribute of a
Tune trial). They may move in any release, so ``pyproject.toml`` allows the tested minor version
alone. To move on: install the new one, run ``tests/integration/test_private_names.py``, mend what
it names, and raise the bound and ``RAY_TESTED``.
"""

import importlib
import inspect
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ccx_ray.errors import UserError

RAY_TESTED = "2.60.0"
_STATE, _PROTOCOL = "ray._private.state", "ray.core.generated.gcs_pb2:PlacementGroupTableData"
_TRAIN, _TRAINER = "ray.train.v2._internal", "ray.train.v2.api.data_parallel_trainer"
_FAILURE = f"{_TRAIN}.execution.failure_handling"
_SCALING = f"{_TRAIN}.execution.scaling_policy"
_GROUP = f"{_TRAIN}.execution.worker_group"
_CONTEXT = f"{_TRAIN}.execution.context"
_AUTOSCALER = "asking the autoscaler for nodes only where there may be one"
_FAIR_SHARE = "each training's fair share of the cluster"
_FREEING = "freeing what a dead controller had reserved"
_BUDGET = "separate budgets of failures and preemptions"
_LOST_NODES = "telling a worker's own failure from a lost node"
_PREEMPTION = "noticing an announced preemption"
_HEAD_NODE = "telling a head node from Ray's other servers"
_IDLE = "leaving out two processes a training that have nothing to do"

RAY_NAMES = {
    "ray.core.generated.gcs_service_pb2_grpc:NodeInfoGcsServiceStub": _HEAD_NODE,
    f"{_STATE}:actors(actor_id, job_id, actor_state_name)": _LOST_NODES,
    f"{_STATE}:state.get_draining_nodes()": "starting no workers on nodes about to go away",
    f"{_STATE}:state._connect_and_get_accessor()": _FREEING,
    "ray._raylet:GlobalStateAccessor.get_placement_group_table": _FREEING,
    f"{_PROTOCOL}.CREATOR_ACTOR_ID_FIELD_NUMBER": _FREEING,
    f"{_PROTOCOL}.PLACEMENT_GROUP_ID_FIELD_NUMBER": _FREEING,
    f"{_TRAIN}.exceptions:WorkerGroupStartupTimeoutError": _BUDGET,
    f"{_TRAIN}.exceptions:WorkerHealthCheckFailedError.health_check_failure": _LOST_NODES,
    f"{_CONTEXT}:get_train_context()": _PREEMPTION,
    f"{_CONTEXT}:TrainContext.preemption_context": _PREEMPTION,
    f"{_CONTEXT}:PreemptionContext.preemption_info": _PREEMPTION,
    f"{_FAILURE}:FailureDecision.RETRY": _BUDGET,
    f"{_FAILURE}:FailureDecision.RAISE": _BUDGET,
    f"{_FAILURE}:FailurePolicy.make_decision(self, training_failed_error)": _BUDGET,
    f"{_SCALING}:NoopDecision()": _FAIR_SHARE,
    f"{_SCALING}:ResizeDecision(num_workers, resources_per_worker)": _FAIR_SHARE,
    f"{_SCALING}:ScalingPolicy.make_decision_for_non_running_worker_group(self)": _FAIR_SHARE,
    f"{_SCALING}:ScalingPolicy.make_decision_for_running_worker_group"
    "(self, worker_group_state, worker_group_status)": _FAIR_SHARE,
    f"{_SCALING}:ScalingPolicy._get_num_workers_for_resource_request(self)": _AUTOSCALER,
    f"{_SCALING}:ScalingPolicy._send_resource_request(self)": _AUTOSCALER,
    f"{_SCALING}:ScalingPolicy._maybe_send_resource_request(self)": _AUTOSCALER,
    f"{_SCALING}:ScalingPolicy._cancel_resource_request(self)": _AUTOSCALER,
    "ray.train:ScalingConfig._resources_per_worker_not_none": _FAIR_SHARE,
    f"{_GROUP}:WorkerGroupPollStatus": _FAIR_SHARE,
    f"{_GROUP}:WorkerGroupState.start_time": _FAIR_SHARE,
    f"{_GROUP}:WorkerGroupState.num_workers": _FAIR_SHARE,
    f"{_GROUP}:WorkerGroupState.workers": _LOST_NODES,
    f"{_GROUP}:Worker.actor": _LOST_NODES,
    f"{_GROUP}:Worker.metadata": _LOST_NODES,
    f"{_GROUP}:ActorMetadata.node_id": _LOST_NODES,
    f"{_GROUP}:RayTrainWorker.get_metadata": _LOST_NODES,
    f"{_TRAINER}:DatasetsCallback": _IDLE,
    f"{_TRAINER}:PlacementGroupCleanerCallback": _IDLE,
    "ray.train.torch:TorchTrainer._create_default_callbacks(self)": _IDLE,
    "ray.train.torch:TorchTrainer."
    "_initialize_and_run_controller(self, controller_init_kwargs)": "scaling and failure policies",
    f"{_TRAINER}:TrainController.__init__.scaling_policy": "scaling and failure policies",
    f"{_TRAINER}:TrainController.__init__.failure_policy": "scaling and failure policies",
    "ray.train.torch.config:"
    "_TorchBackend.on_start(self, worker_group, backend_config)": "gloo on GPUs that do not exist",
    "ray.data._internal.logging:": "keeping a message of every dataset out of the terminal",
    "ray.tune.experiment:Trial.pickled_error_file": "the error that ended an evaluation",
}
"""``module:name`` of each, with its parameters where it is called or overridden, and its use."""


def check_private_names(package: str, *, tested: str, names: Mapping[str, str]) -> None:
    """Check that every name of a table like ``RAY_NAMES`` is there and takes the parameters that it
    took; ``UserError`` names the first that has moved, both versions, and what mends it."""
    for name, use in names.items():
        problem = _problem(name)
        if problem:
            raise UserError(
                f"{package} {version(package)}: the private {name} {problem}; it is used for "
                f"{use}; install the tested version: pip install '{package}=={tested}'"
            )


def _problem(name: str) -> str | None:
    module, _, path = name.partition(":")
    path, is_called, parameters = path.partition("(")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        return f"cannot be imported ({error})"
    for part in filter(None, path.split(".")):
        if not _has(found, part):
            return f"no longer exists: there is no {part!r}"
        found = getattr(found, part, None)
    if is_called:
        takes = ", ".join(inspect.signature(found).parameters)
        if takes != parameters.removesuffix(")"):
            return f"now takes ({takes})"
    return None


def _has(owner: object, name: str) -> bool:
    """Whether ``owner`` has an attribute, or is a class whose objects are given one."""
    if hasattr(owner, name) or name in getattr(owner, "__annotations__", ()):
        return True
    if inspect.isfunction(owner):
        return name in inspect.signature(owner).parameters
    try:
        return inspect.isclass(owner) and f"self.{name} = " in inspect.getsource(owner)
    except TypeError:  # a compiled class
        return False
