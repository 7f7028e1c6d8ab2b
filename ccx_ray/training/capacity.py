"""How many workers a cluster holds, and how many of them are one training's fair share. Plain.

Invariant: the shares of the trainings of one driver never add up to more than the cluster holds,
except that none is ever less than the training's own minimum; so what one gives up, another gets.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import RuntimeSpec

Resources = Mapping[str, float]
SHARE = "share.json"

logger = logging.getLogger(__name__)

_sharing: list[Path] = []
_lock = threading.Lock()


@contextmanager
def sharing_the_cluster(folder: Path) -> Iterator[None]:
    """Divide the cluster among the trainings of this process, while the body trains in ``folder``.

    Tells the controllers of all of them, which are other processes, by a file in the folder of
    each.
    """
    _tell_shares(_sharing.append, folder)
    try:
        yield
    finally:
        _tell_shares(_sharing.remove, folder)


def _tell_shares(join_or_leave: Callable[[Path], None], folder: Path) -> None:
    with _lock:
        join_or_leave(folder)
        for position, other in enumerate(_sharing):
            other.mkdir(parents=True, exist_ok=True)
            share = {"trainings": len(_sharing), "position": position}
            publish_json(other / SHARE, share)


def read_share(folder: Path) -> dict[str, int]:
    """The arguments of ``fair_share`` for the training in ``folder``; the whole cluster when
    nobody has told it."""
    path = folder / SHARE
    share: dict[str, int] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return share


def fair_share(capacity: int, *, trainings: int = 1, position: int = 0) -> int:
    """The part of ``capacity`` workers of one of ``trainings``; the first ones, by ``position``
    from 0, get what division leaves over."""
    part, rest = divmod(capacity, trainings)
    return part + (position < rest)


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
        for node in room:
            if all(node.get(name, 0.0) + 1e-9 >= amount for name, amount in taken.items()):
                node.update({name: node.get(name, 0.0) - taken[name] for name in taken})
                break
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


def _trial_workers(runtime: RuntimeSpec, nodes: Sequence[Resources]) -> tuple[Resources, int]:
    """What a worker of a trial takes, and how many fit on the nodes beside the evaluators."""
    worker = {"CPU": runtime.trials.cpus_per_worker, "GPU": runtime.trials.gpus_per_worker}
    evaluators = [runtime.evaluation.demand] * runtime.evaluation.evaluators
    return worker, workers_that_fit(nodes, worker, reserved=evaluators)


def check_evaluators(runtime: RuntimeSpec, nodes: Sequence[Resources], *, may_grow: bool) -> None:
    """Find evaluators that no node could ever hold, or that would leave no room for a trial.

    They keep what they were given as long as the study runs, so a trial that finds no room beside
    them would wait for good, and so would they for a room that there is not.

    Args:
        may_grow: the cluster may get larger nodes, so that the mistake is only a warning.

    Raises:
        UserError: the evaluators cannot be placed.
    """
    demand, least = runtime.evaluation.demand, runtime.trials.min_workers
    worker, room = _trial_workers(runtime, nodes)
    largest = _amount({name: max(node.get(name, 0.0) for node in nodes) for name in worker})
    if not workers_that_fit(nodes, demand):
        problem = f"an evaluator takes {_amount(demand)}, and the largest node has {largest}"
    elif room < least:
        problem = (
            f"{runtime.evaluation.evaluators} of {_amount(demand)} leave room for {room} workers "
            f"of a trial ({_amount(worker)} each, at least {least}) on nodes of {largest}"
        )
    else:
        return
    if not may_grow:
        raise UserError(f"runtime.evaluation: {problem}; lower their resources")
    logger.warning("runtime.evaluation: %s; the study waits for larger nodes", problem)


def training_slots(runtime: RuntimeSpec, nodes: Sequence[Resources], *, may_grow: bool) -> int:
    """How many trials the cluster holds now beside the evaluators, at least one.

    Each is counted with its fewest workers; what is left over makes groups larger. On a cluster
    that may grow two more are let through: Ray's autoscaler adds nodes for what waits, and this
    function is asked again. Each waiting trial costs a controller process, so not all of them are.
    """
    _, workers = _trial_workers(runtime, nodes)
    return max(1, workers // runtime.trials.min_workers) + (2 if may_grow else 0)


def _amount(demand: Resources) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in demand.items() if amount)
