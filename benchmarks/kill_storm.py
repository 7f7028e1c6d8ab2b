"""A trial on two workers while workers, controller, driver and raylets are killed in turn.

``python benchmarks/kill_storm.py --kills 12 --steps 6000``: each kill, what it cost, and whether
parameters, losses and rows are those of a run that nothing happened to.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> int:
    """The exit code: 0 when nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept; a temporary folder when absent")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from tests.kill_storm import compare, rage_over

    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        began = time.monotonic()
        storm = rage_over(folder, kills=arguments.kills, steps=arguments.steps, seed=arguments.seed)
        print(f"{len(storm.kills)} kills, {time.monotonic() - began:.0f} s in all")
        comparison = compare(storm.run, storm.undisturbed)
    print(comparison)
    return 0 if comparison.identical else 1


if __name__ == "__main__":
    sys.exit(main())
