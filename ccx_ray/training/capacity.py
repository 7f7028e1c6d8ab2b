"""How many workers a cluster holds, and how many of them are one training's fair share. Plain.

Invariant: the shares of the trainings of one driver never add up to more than the cluster holds,
except that none is ever less than the training's own minimum; so what one gives up, another gets.
"""

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import RuntimeSpec

Resources = Mapping[str, float]
SHARE = "share.json"

logger = logging.getLogger(__name__)

_sharing: list[Path] = []
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Share:
    """Among how many trainings of the driver the cluster is divided; kept in a file of each."""

    trainings: int = 1
    position: int = 0
    """Of this one among them, from 0: the first ones get what division leaves over."""

    def of(self, capacity: int) -> int:
        """This training's part of ``capacity`` workers."""
        part, rest = divmod(capacity, self.trainings)
        return part + (self.position < rest)


def write_share(folder: Path, share: Share) -> None:
    """Leave ``share`` in ``folder`` for the controller, which is another process."""
    folder.mkdir(parents=True, exist_ok=True)
    publish_json(folder / SHARE, asdict(share))


@contextmanager
def sharing_the_cluster(folder: Path) -> Iterator[None]:
    """Divide the cluster among the trainings of this process, while the body trains in ``folder``.

    Tells the controllers of all of them, by a file in the folder of each.
    """
    _join(folder)
    try:
        yield
    finally:
        _join(folder, leave=True)


def _join(folder: Path, *, leave: bool = False) -> None:
    with _lock:
        _sharing.remove(folder) if leave else _sharing.append(folder)
        for position, other in enumerate(_sharing):
            write_share(other, Share(trainings=len(_sharing), position=position))


def read_share(folder: Path) -> Share:
    """What ``write_share`` left; the whole cluster when there is nothing."""
    try:
        return Share(**json.loads((folder / SHARE).read_text("utf-8")))
    except FileNotFoundError:
        return Share()


def workers_that_fit(
    nodes: Iterable[Resources], demand: Resources, *, reserved: Sequence[Resources] = ()
) -> int:
    """Workers that fit on the nodes at once, each whole on one node.

    Args:
        nodes: resources of each usable node.
        demand: of one worker, by resource; what is 0 is not asked for.
        reserved: demands of what runs beside the workers, one each; they are taken off the first
            node that holds them, as Ray fills its nodes.
    """
    room = [dict(node) for node in nodes]
    for taken in reserved:
        node = next((node for node in room if _fits(node, taken)), None)
        for name, amount in taken.items() if node is not None else ():
            node[name] = node.get(name, 0.0) - amount  # type: ignore[index, union-attr]
    needs = {name: amount for name, amount in demand.items() if amount}
    # 1e-9: 1.5 / 0.75 must be two workers whatever the rounding.
    return sum(
        max(0, int(min(node.get(name, 0.0) / amount for name, amount in needs.items()) + 1e-9))
        for node in room
    )


def group_size(counts: Sequence[int], share: int, *, failed_starts: int = 0) -> int:
    """The largest of the allowed ``counts`` (rising) within ``share``, never less than the first.

    Args:
        failed_starts: how often in a row a group of this size did not get its resources; each
            makes it one count smaller, because something unknown holds them.
    """
    fitting = [count for count in counts if count <= share] or [counts[0]]
    return fitting[max(0, len(fitting) - 1 - failed_starts)]


def check_evaluators(runtime: RuntimeSpec, nodes: Sequence[Resources], *, may_grow: bool) -> None:
    """Find evaluators that no node could ever hold, or that would leave no room for a trial.

    They keep what they were given as long as the study runs, so a trial that finds no room beside
    them would wait for good, and so would they for a room that there is not.

    Args:
        nodes: resources of each node that is alive.
        may_grow: the cluster may get larger nodes, so that the mistake is only a warning.

    Raises:
        UserError: the evaluators cannot be placed.
    """
    demand, trial = runtime.evaluation.demand, runtime.trials
    evaluators = [demand] * runtime.evaluation.evaluators
    worker = {"CPU": trial.cpus_per_worker, "GPU": trial.gpus_per_worker}
    room = workers_that_fit(nodes, worker, reserved=evaluators)
    if not workers_that_fit(nodes, demand):
        problem = (
            f"an evaluator takes {_amount(demand)}, and the largest node has {_largest(nodes)}"
        )
    elif room < trial.min_workers:
        problem = (
            f"{len(evaluators)} of {_amount(demand)} leave room for {room} workers of a trial "
            f"({_amount(worker)} each, at least {trial.min_workers}) on nodes of {_largest(nodes)}"
        )
    else:
        return
    if not may_grow:
        raise UserError(f"runtime.evaluation: {problem}; lower what evaluators or workers take")
    logger.warning(
        "runtime.evaluation: %s; the study waits for nodes that are large enough", problem
    )


def training_slots(runtime: RuntimeSpec, nodes: Sequence[Resources], *, may_grow: bool) -> int:
    """How many trials the cluster holds now beside the evaluators, at least one.

    Each is counted with its fewest workers; what is left over makes groups larger. On a cluster
    that may grow two more are let through: Ray's autoscaler adds nodes for what waits, and this
    function is asked again. Each waiting trial costs a controller process, so not all of them are.
    """
    trial = runtime.trials
    workers = workers_that_fit(
        nodes,
        {"CPU": trial.cpus_per_worker, "GPU": trial.gpus_per_worker},
        reserved=[runtime.evaluation.demand] * runtime.evaluation.evaluators,
    )
    return max(1, workers // trial.min_workers) + (2 if may_grow else 0)


def _amount(demand: Resources) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in demand.items() if amount)


def _largest(nodes: Sequence[Resources]) -> str:
    return _amount({name: max(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")})


def _fits(node: Resources, demand: Resources) -> bool:
    return all(node.get(name, 0.0) + 1e-9 >= amount for name, amount in demand.items())
