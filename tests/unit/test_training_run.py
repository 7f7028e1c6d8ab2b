from dataclasses import replace
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.training.history import ProgressFile, StepRecord
from ccx_ray.training.run import accumulation_steps, check_runtime
from ccx_ray.training.throughput import model_flops_utilization, peak_flops
from tests.training_runs import tiny_run


@pytest.mark.parametrize(("workers", "accumulation"), [(1, 4), (2, 2), (4, 1)])
def test_the_step_keeps_its_size_at_any_number_of_workers(workers: int, accumulation: int) -> None:
    assert accumulation_steps(16, sequences_per_device=4, workers=workers) == accumulation


@pytest.mark.parametrize("workers", [3, (3, 3), 8])
def test_a_size_that_does_not_divide_is_refused(
    tmp_path: Path, workers: int | tuple[int, int]
) -> None:
    """8 sequences a step, 2 in a pass."""
    run = tiny_run(tmp_path / "run", tmp_path, workers=workers, sequences_per_device=2)
    with pytest.raises(UserError, match=r"^runtime\.base\.workers: among .* 8 sequences a step"):
        check_runtime(run)
    with pytest.raises(UserError, match=r"^runtime\.trials\.workers: "):
        check_runtime(replace(run, initial_model=tmp_path))


def test_a_range_of_workers_leaves_out_what_does_not_divide(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run", tmp_path, workers=(1, 4), sequences_per_device=2)
    check_runtime(run)
    assert run.runtime.worker_counts(8) == (1, 2, 4)


def test_progress_is_readable_and_tells_the_last_step(tmp_path: Path) -> None:
    import json

    progress = ProgressFile(tmp_path, steps=2)
    for step in (1, 2):
        record = StepRecord(
            step=step, loss=2.5, learning_rate=0.1, gradient_norm=1.0, tokens=9,
            first_row=0, last_row=1, seconds=0.5, data_seconds=0.0,
            rows_checksum=0, workers=1,
        )  # fmt: skip
        progress.write(record, tokens_per_second=18.0)
    assert json.loads((tmp_path / "progress.json").read_text()) == {
        "step": 2, "steps": 2, "loss": 2.5, "tokens_per_second": 18.0,
    }  # fmt: skip


def test_utilization_is_known_for_known_devices_only() -> None:
    peak = peak_flops("NVIDIA H100 80GB HBM3", "bf16")
    assert peak == 989.5e12
    assert peak_flops("NVIDIA GeForce RTX 4090", "bf16") is None
    assert peak_flops("cpu", "fp32") is None
    # 113 k tokens/s at 3.49 GFLOP a token is 40 % of an H100.
    share = model_flops_utilization(
        tokens_per_second=113_000, flops_per_token=3.49e9, peak=peak, devices=1
    )
    assert share == pytest.approx(0.4, abs=0.005)
