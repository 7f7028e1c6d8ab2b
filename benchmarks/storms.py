"""The storms of the tests for longer: parts of a real cluster are killed, nodes come and go.

    python benchmarks/storms.py training --kills 12 --steps 6000
    python benchmarks/storms.py elastic --trials 4 --steps 4000
    python benchmarks/storms.py evaluation --kills 6 --study laptop --set trials.steps=60

``training``: one trial on two workers, while workers, controller, driver and raylets are killed in
turn. ``elastic``: trials on nodes with GPUs that do not exist, which join and leave.
``evaluation``: the grid of a study, while its drivers and evaluators are killed.
Each prints what was done and how the results differ from those of an undisturbed run; the exit code
is 0 where they do not.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NODES = (2, 4, -1, -2, 3, -1)
"""That join, or leave, one change after the other."""


def training(arguments: argparse.Namespace, folder: Path) -> bool:
    """Kills of every part of one training."""
    from tests.kill_storm import compare, train_under_kills

    storm = train_under_kills(
        folder, kills=arguments.kills, steps=arguments.steps, seed=arguments.seed
    )
    print(f"{len(storm.kills)} kills")
    comparison = compare(storm.run, storm.undisturbed)
    print(comparison)
    return comparison.identical


def elastic(arguments: argparse.Namespace, folder: Path) -> bool:
    """Nodes that join and leave under several trainings."""
    from tests.elastic_rehearsal import elastic_run, rehearse
    from tests.kill_storm import compare
    from tests.training_runs import train_here

    steps = arguments.steps
    rehearsal = rehearse(folder, trials=arguments.trials, steps=steps, changes=NODES)
    for key, value in rehearsal.timeline().items():
        print(key, value)
    good = True
    for run in rehearsal.runs:
        alone = elastic_run(folder / f"alone-{run.seed}", folder, seed=run.seed, steps=steps)
        train_here(alone)
        comparison = compare(run, alone)
        print(run.name, comparison)
        good = good and comparison.each_step_once and comparison.same_rows
    return good


def evaluation(arguments: argparse.Namespace, folder: Path) -> bool:
    """Kills of drivers and evaluators of a study."""
    from tests.evaluation_kills import Storm, compare, copy_prepared

    undisturbed, disturbed = folder / "undisturbed", folder / "storm"
    Storm(arguments.study, undisturbed, arguments.set, 0).run()
    copy_prepared(undisturbed, disturbed)
    storm = Storm(arguments.study, disturbed, arguments.set, arguments.seed)
    try:
        storm.rage(arguments.kills)
        storm.calm()
    finally:
        storm.end()
    comparison = compare(disturbed, undisturbed)
    print(f"{len(storm.kills)} kills\n{comparison}")
    return comparison.identical and len(storm.kills) == arguments.kills


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = {"training": training, "elastic": elastic, "evaluation": evaluation}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4000, help="of each training")
    parser.add_argument("--trials", type=int, default=4, help="of elastic")
    parser.add_argument("--study", default="laptop", help="of evaluation: name or file")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept; a temporary folder when absent")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        good = parts[arguments.part](arguments, arguments.folder or Path(scratch))
        print(f"{time.monotonic() - began:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
