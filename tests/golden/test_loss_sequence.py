"""A change that is no change of the computation leaves the loss sequence as it is.

Summation order differs between processors and between versions of torch, so losses are compared
to 1e-5; a changed seed, order, schedule or decay is off by more than 1e-3 after a few steps.
To accept an intended change: ``python tests/golden/test_loss_sequence.py``, and say why in the
commit.
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("loss_sequence.json")


def loss_sequence(folder: Path) -> list[float]:
    from tests.training_runs import tiny_run, train_here

    return train_here(tiny_run(folder / "run", folder / "inputs", steps=12))


def test_loss_sequence(tmp_path: Path) -> None:
    assert loss_sequence(tmp_path) == pytest.approx(json.loads(GOLDEN.read_text()), rel=1e-5)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(json.dumps(loss_sequence(Path(scratch)), indent=2) + "\n")
