"""Workers of a training come and go on a real cluster of several nodes."""

from pathlib import Path

import pytest

from ccx_ray.training.run_time_files import GROUPS, INCIDENTS, read_restarts
from tests.elastic_rehearsal import NODE, QUICK, elastic_run, is_at_work, rehearse
from tests.kill_storm import compare
from tests.ray_nodes import ray_nodes, start_driver, wait_until
from tests.training_driver import pickled
from tests.training_runs import train_here


@pytest.mark.storm
def test_two_one_and_four_workers_in_one_training(tmp_path: Path) -> None:
    """A node is announced to go, three come; all that changes is the order of additions."""
    run = elastic_run(tmp_path / "run", tmp_path, steps=1000, workers=(1, 4))
    log = tmp_path / "driver.log"
    with ray_nodes(NODE, NODE) as cluster:
        driver = start_driver(cluster, pickled([run]), log, **QUICK)
        try:
            wait_until(lambda: is_at_work(run, 2), seconds=120, what="2 workers")
            leaving = cluster.nodes[-1]
            cluster.drain(leaving, seconds=60)
            wait_until(lambda: is_at_work(run, 1), seconds=120, what="1 worker")
            cluster.remove(leaving)
            for _ in range(3):
                cluster.add(**NODE)
            wait_until(lambda: is_at_work(run, 4), seconds=120, what="4 workers")
            assert driver.wait(timeout=400) == 0, log.read_text("utf-8")
        finally:
            driver.kill()
            driver.wait()
    starts = read_restarts(run.folder, GROUPS)
    print(starts)
    sizes = [start["workers"] for start in starts]
    assert (sizes[0], sizes[1], sizes[-1]) == (2, 1, 4)
    # No state is written without a reason, so what they went on from was written on notice.
    assert all(start["resumed_from"] > 0 for start in starts[1:])
    # Either the notice or the resize away from the leaving node comes first.
    assert {incident["kind"] for incident in read_restarts(run.folder, INCIDENTS)} <= {"preemption"}

    alone = elastic_run(tmp_path / "alone", tmp_path, steps=1000, workers=1)
    train_here(alone)
    comparison = compare(run, alone)
    print(comparison)
    assert comparison.each_step_once
    assert comparison.same_rows
    assert comparison.largest_loss_difference < 1e-5


@pytest.mark.storm
def test_trials_share_nodes_that_join_and_leave(tmp_path: Path) -> None:
    """``benchmarks/storms.py elastic`` takes longer, with more trials and nodes."""
    rehearsal = rehearse(tmp_path, trials=2, steps=1000, changes=(1, 2, -1))
    print(rehearsal.timeline())
    sizes = [[s["workers"] for s in read_restarts(run.folder, GROUPS)] for run in rehearsal.runs]
    assert any(2 in of_one for of_one in sizes), "no trial used the third node"
    for run in rehearsal.runs:
        assert {incident["kind"] for incident in read_restarts(run.folder, INCIDENTS)} <= {
            "preemption"
        }
        alone = elastic_run(tmp_path / f"alone-{run.seed}", tmp_path, seed=run.seed, steps=1000)
        train_here(alone)
        comparison = compare(run, alone)
        assert comparison.each_step_once
        assert comparison.same_rows
        assert comparison.largest_loss_difference < 1e-5
