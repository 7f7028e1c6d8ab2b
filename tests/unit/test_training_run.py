from dataclasses import replace
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.study.training_spec import OptimizerSpec
from ccx_ray.training.run import check_runtime, learning_rate
from ccx_ray.training.size import peak_flops
from tests.training_runs import tiny_run

OPTIMIZER = OptimizerSpec(learning_rate=2e-3, warmup_steps=10, final_learning_rate_share=0.1)


@pytest.mark.parametrize("workers", [3, (3, 3), 8])
def test_a_size_that_does_not_divide_is_refused(
    tmp_path: Path, workers: int | tuple[int, int]
) -> None:
    """8 sequences a step, 2 in a pass."""
    run = tiny_run(tmp_path / "run", tmp_path, workers=workers, sequences_per_device=2)
    with pytest.raises(UserError, match=r"^runtime\.base\.workers: 8 sequences per step"):
        check_runtime(run)
    with pytest.raises(UserError, match=r"^runtime\.trials\.workers: "):
        check_runtime(replace(run, initial_model=tmp_path))


def test_a_range_of_workers_leaves_out_what_does_not_divide(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run", tmp_path, workers=(1, 4), sequences_per_device=2)
    check_runtime(run)
    assert run.runtime.worker_counts(8) == (1, 2, 4)


def test_utilization_is_known_for_known_devices_only() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3", "bf16") == 989.5e12
    assert peak_flops("NVIDIA GeForce RTX 4090", "bf16") is None
    assert peak_flops("cpu", "fp32") is None


def test_the_peak_of_another_device_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCX_RAY_PEAK_TFLOPS", "165.2")
    assert peak_flops("NVIDIA GeForce RTX 4090", "bf16") == pytest.approx(165.2e12)
    assert peak_flops("NVIDIA H100 80GB HBM3", "bf16") == 989.5e12


def rates(steps: int, optimizer: OptimizerSpec = OPTIMIZER) -> list[float]:
    return [learning_rate(s, steps=steps, optimizer=optimizer) for s in range(1, steps + 1)]


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    assert rates(100)[:10] == pytest.approx([2e-4 * s for s in range(1, 11)])


def test_cosine_falls_from_the_peak_to_the_final_share() -> None:
    decay = rates(100)[9:]
    assert decay == sorted(decay, reverse=True)
    assert decay[45] == pytest.approx(2e-3 * 0.55)
    assert decay[-1] == pytest.approx(2e-4)


def test_without_warm_up_the_first_step_is_already_on_the_cosine() -> None:
    flat = OptimizerSpec(learning_rate=1.0, warmup_steps=0, final_learning_rate_share=1.0)
    assert rates(5, flat) == pytest.approx([1.0] * 5)


def test_a_run_shorter_than_its_warm_up_never_reaches_the_peak() -> None:
    assert max(rates(5)) == pytest.approx(1e-3)
