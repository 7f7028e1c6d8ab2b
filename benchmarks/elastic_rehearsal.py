"""Elastic trials on a simulated cluster with GPUs that do not exist, whose nodes join and leave.

``python benchmarks/elastic_rehearsal.py --timeline timeline.json``: the workers of each trial over
time, and whether the trials are those of undisturbed runs.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CHANGES = (2, 4, -1, -2, 3, -1)


def main() -> int:
    """The exit code: 0 when every trial did every step once, with the right rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--timeline", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from tests.elastic_rehearsal import elastic_run, rehearse, write_timeline
    from tests.kill_storm import compare
    from tests.training_runs import train_here

    good = True
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rehearsal = rehearse(
            folder, trials=arguments.trials, steps=arguments.steps, changes=CHANGES
        )
        for key, value in rehearsal.timeline().items():
            print(key, value)
        if arguments.timeline:
            write_timeline(rehearsal, arguments.timeline)
        for run in rehearsal.runs:
            alone = elastic_run(
                folder / f"alone-{run.seed}", folder, seed=run.seed, steps=arguments.steps
            )
            train_here(alone)
            comparison = compare(run, alone)
            print(run.name, comparison)
            good = good and comparison.each_step_once and comparison.same_rows
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
