"""Tasks of a step on Ray Data. All that computes is elsewhere.

Invariants: a result does not depend on how many tasks ran, where, or in which order they ended; a
user's mistake that a task meets is raised to the caller as it is. It comes back as a row and not as
the task's exception, of which Ray writes five lines of advice and three tracebacks to the terminal.
Tasks read and write the step's folder, which every node mounts.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import ray
import ray.data

from ccx_ray.errors import UserError
from ccx_ray.orchestration.tasks import WorkLog

BACKGROUND_NICENESS = 19
"""Ray starts all its workers with 15 (``RAY_worker_niceness``)."""
MISTAKE = "ccx_ray mistake"
"""Column that holds a pickled ``UserError``."""


def run_tasks(
    log: WorkLog,
    tasks: int,
    function: Callable[[int], dict[str, Any]],
    /,
    *,
    cpus_per_task: float,
    gpus_per_task: float = 0.0,
    background: bool = False,
    observe: Callable[[Mapping[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the tasks that are not finished; see ``tasks.RunTasks``.

    Args:
        background: in processes that count for no CPU and give way to all others, on half of the
            CPUs at most. Tasks that count keep a node full, one after another, and a training that
            needs more of it than one of them waits for the last: a base waited 99 s on two cores.
        observe: told the result of each task as it ends.

    Finished tasks are not repeated, also after a kill of the driver; the work of a worker that dies
    is done again by another one.
    """
    left = log.begin(tasks)

    def run(position: int) -> Iterator[pa.Table]:
        if background:
            os.setpriority(os.PRIO_PROCESS, 0, BACKGROUND_NICENESS)
        log.publish(left[position], function(left[position]))
        yield pa.table({"task": [left[position]]})

    resources: dict[str, Any] = {"num_cpus": cpus_per_task, "num_gpus": gpus_per_task}
    if background:
        # Processes of an environment of their own, because niceness cannot be taken back.
        resources |= {"num_cpus": 0, "runtime_env": {"env_vars": {"CCX_BACKGROUND": "1"}}}
        at_once = max(1, int(ray.cluster_resources()["CPU"] / 2))
        resources["compute"] = ray.data.TaskPoolStrategy(size=at_once)
    for table in tables_in_order(len(left), run, small=True, **resources):
        if observe is not None:
            for number in table["task"].to_pylist():
                observe(log.result(number))
    return [log.result(number) for number in range(tasks)]


def tables_in_order(
    tasks: int,
    function: Callable[[int], Iterator[pa.Table]],
    *,
    small: bool = False,
    **resources: Any,
) -> Iterator[pa.Table]:
    """The tables that ``function`` yields for every task number, in their order.

    One plain Ray Data task a number over items that are there already: a reading operator would
    want a CPU of its own, which trials that train at the same time do not leave.

    Args:
        small: the tables are a few bytes, and come as the tasks end instead of in their order, so
            that a mistake is told at once. Ray Data need not keep memory for them then, for which
            it starts one task alone and leaves gaps behind the others: 8 tasks of a second on two
            CPUs took 5.5 s with that, and 4.1 s without.
        resources: of a task, by Ray's names for them (``num_cpus``).
    """

    def run(batch: dict[str, Any]) -> Iterator[pa.Table]:
        for number in batch["item"].tolist():
            yield from with_mistake(function, number)

    if not tasks:
        return
    numbers = ray.data.from_items(list(range(tasks)), override_num_blocks=tasks)
    tables = numbers.map_batches(run, batch_size=None, **resources)
    tables.context.execution_options.preserve_order = not small
    tables.context.print_on_execution_start = False
    tables.context.op_resource_reservation_enabled = not small
    for table in tables.iter_batches(batch_size=None, batch_format="pyarrow"):
        raise_mistake(table)
        yield table


def with_mistake(function: Callable[[int], Iterator[pa.Table]], number: int) -> Iterator[pa.Table]:
    """The tables of a task; for a ``UserError`` that ends it, a row for ``raise_mistake``."""
    try:
        yield from function(number)
    except UserError as error:
        yield pa.table({MISTAKE: [pickle.dumps(error)]})


def raise_mistake(table: pa.Table) -> None:
    """Raise the ``UserError`` that ended a task; Ray may have put the task's own rows beside it."""
    if MISTAKE in table.column_names:
        raise next(pickle.loads(row) for row in table[MISTAKE].to_pylist() if row is not None)
