"""A grid whose driver and evaluators are killed in turn, against one that nothing happened to.

``python benchmarks/evaluation_kills.py --kills 6 --study laptop --set trials.steps=60``: each kill,
how often a checkpoint was scored, and whether results, perplexities and MLflow are the same.
Corpora and base are made once; the grid is run twice.
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
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--study", default="laptop", help="name or file")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept; a temporary folder when absent")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from tests.evaluation_kills import Storm, compare, copy_prepared

    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        undisturbed, disturbed = folder / "undisturbed", folder / "storm"
        began = time.monotonic()
        Storm(arguments.study, undisturbed, arguments.set, 0).run()
        print(f"undisturbed: {time.monotonic() - began:.0f} s, corpora and base included")
        copy_prepared(undisturbed, disturbed)
        storm = Storm(arguments.study, disturbed, arguments.set, arguments.seed)
        began = time.monotonic()
        try:
            storm.rage(arguments.kills)
            storm.calm()
        finally:
            storm.end()
        print(f"{len(storm.kills)} kills, {time.monotonic() - began:.0f} s, the grid alone")
        comparison = compare(disturbed, undisturbed)
    print(comparison)
    return 0 if comparison.identical and len(storm.kills) == arguments.kills else 1


if __name__ == "__main__":
    sys.exit(main())
